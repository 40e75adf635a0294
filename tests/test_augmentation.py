import pytest
import torch

from src.augmentation import Augmentation
from src.params import Augment

NONE = {"shift": 0.0, "cutout": 0.0, "flip": False, "rotation": 0.0}
BLACK = torch.tensor([-1.0, -2.0])


def augmented(images, seed=0, **settings):
    augment = Augmentation(Augment(**(NONE | settings)), BLACK, torch.Generator().manual_seed(seed))
    return augment(images)


def one_white_pixel(count, height=8, width=10):
    images = BLACK.view(1, 2, 1, 1).repeat(count, 1, height, width)
    images[:, :, 3, 4] = 1
    return images


def white_pixels(images):
    return [tuple(place.tolist()) for place in (images[:, 0] > 0).nonzero()[:, 1:]]


def test_no_settings_change_nothing():
    """Not a bit."""
    images = torch.randn(5, 2, 8, 10)
    assert torch.equal(augmented(images), images)


def test_shift_moves_each_image_by_itself_within_its_range():
    """At 0.2: at most 2 of 8 rows and 2 of 10 columns, every offset drawn, and black comes in."""
    images = augmented(one_white_pixel(2000), shift=0.2)
    offsets = {(row - 3, column - 4) for row, column in white_pixels(images)}
    assert offsets == {(row, column) for row in range(-2, 3) for column in range(-2, 3)}
    assert torch.equal(images[:, 1].unique(), torch.tensor([-2.0, 1.0]))


def test_shift_does_not_wrap_around():
    """What leaves on one side doesn't come back on the other."""
    images = torch.ones(500, 2, 4, 4)
    shifted = augmented(images, shift=0.5)
    rows = {int((image[0] > 0).any(1).sum()) for image in shifted}
    assert rows == {2, 3, 4}


def test_flip_mirrors_half_of_the_images():
    """Left and right, channels alike."""
    flipped = white_pixels(augmented(one_white_pixel(1000), flip=True))
    assert set(flipped) == {(3, 4), (3, 5)}
    assert 400 < flipped.count((3, 5)) < 600


def test_cutout_blackens_a_box():
    """At 0.5 of 8x10: at most 4x5 pixels, fewer at the edges, each image its own."""
    images = augmented(torch.ones(300, 2, 8, 10), cutout=0.5)
    sizes = {tuple(sorted({len(black[:, i].unique()) for i in (0, 1)})) for image in images
             if len(black := (image[0] < 0).nonzero())}  # fmt: skip
    assert max(sizes) == (4, 5)
    assert len(sizes) > 3
    assert images[:, 1].unique().tolist() == [-2.0, 1.0]


def test_rotation_by_90_degrees_is_torchs(monkeypatch):
    """An angle worked by hand: a quarter turn, here of a square image."""
    images = torch.randn(3, 2, 9, 9)
    monkeypatch.setattr(Augmentation, "_uniform", lambda _, *shape: torch.ones(shape))
    torch.testing.assert_close(augmented(images, rotation=90.0), images.rot90(1, (2, 3)), atol=1e-4, rtol=1e-4)


def test_rotation_keeps_angles_in_images_that_are_not_square(monkeypatch):
    """A half turn puts each pixel opposite, whatever the sides are."""
    images = torch.randn(3, 2, 6, 9)
    monkeypatch.setattr(Augmentation, "_uniform", lambda _, *shape: torch.ones(shape))
    torch.testing.assert_close(augmented(images, rotation=180.0), images.rot90(2, (2, 3)), atol=1e-4, rtol=1e-4)


def test_rotation_fills_with_black():
    """Corners come in from outside."""
    images = augmented(BLACK.view(1, 2, 1, 1).repeat(4, 1, 9, 9), rotation=45.0)
    torch.testing.assert_close(images, BLACK.view(1, 2, 1, 1).expand_as(images))


@pytest.mark.parametrize("setting", [{"shift": 0.3}, {"cutout": 0.4}, {"flip": True}, {"rotation": 20.0}])
def test_same_seed_same_change(setting):
    """And another seed another one."""
    images = torch.randn(20, 2, 8, 10)
    assert torch.equal(augmented(images, **setting), augmented(images, **setting))
    assert not torch.equal(augmented(images, **setting), augmented(images, seed=1, **setting))
