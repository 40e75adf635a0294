import pytest
import torch

from src.augmentation import Augmentation
from src.params import Augment

NONE = {"shift": 0.0, "cutout": 0.0, "flip": False, "rotation": 0.0}


def augmented(images, seed=0, **settings):
    """Each image changed; they stay codes of their shape."""
    changed = Augmentation(Augment(**(NONE | settings)), torch.Generator().manual_seed(seed))(images)
    assert (changed.dtype, changed.shape) == (torch.uint8, images.shape)
    return changed


def random_codes(*shape):
    """Images of random codes."""
    return torch.randint(0, 256, shape, dtype=torch.uint8)


def one_white_pixel(count, height=8, width=10):
    """Black images of two channels with one white pixel, in row 3 and column 4."""
    images = torch.zeros(count, 2, height, width, dtype=torch.uint8)
    images[:, :, 3, 4] = 255
    return images


def white_pixels(images):
    """Row and column of the white pixels, all images together."""
    return [tuple(place.tolist()) for place in (images[:, 0] > 0).nonzero()[:, 1:]]


def test_no_settings_change_nothing():
    """Not a bit."""
    images = random_codes(5, 2, 8, 10)
    assert torch.equal(augmented(images), images)


def test_shift_moves_each_image_by_itself_within_its_range():
    """At 0.2: at most 2 of 8 rows and 2 of 10 columns, every offset drawn, and black comes in."""
    images = augmented(one_white_pixel(2000), shift=0.2)
    offsets = {(row - 3, column - 4) for row, column in white_pixels(images)}
    assert offsets == {(row, column) for row in range(-2, 3) for column in range(-2, 3)}
    assert images[:, 1].unique().tolist() == [0, 255]


def test_shift_does_not_wrap_around():
    """What leaves on one side doesn't come back on the other."""
    images = torch.ones(500, 2, 4, 4, dtype=torch.uint8)
    shifted = augmented(images, shift=0.5)
    rows = {int((image[0] > 0).any(1).sum()) for image in shifted}
    assert rows == {2, 3, 4}


def test_flip_mirrors_half_of_the_images():
    """Left and right, channels alike."""
    flipped = white_pixels(augmented(one_white_pixel(1000), flip=True))
    assert set(flipped) == {(3, 4), (3, 5)}
    # Of 1,000 at one half, 450 to 550 is three standard deviations.
    assert 450 < flipped.count((3, 5)) < 550


def test_cutout_blackens_a_box():
    """At 0.5 of 8x10: at most 4x5 pixels, fewer at the edges, each image its own."""
    images = augmented(torch.ones(300, 2, 8, 10, dtype=torch.uint8), cutout=0.5)
    sizes = {tuple(sorted({len(black[:, i].unique()) for i in (0, 1)})) for image in images
             if len(black := (image[0] == 0).nonzero())}  # fmt: skip
    assert max(sizes) == (4, 5)
    assert len(sizes) > 3
    assert images[:, 1].unique().tolist() == [0, 1]


@pytest.mark.parametrize(
    ("degrees", "quarters", "shape"), [(90.0, 1, (3, 2, 9, 9)), (180.0, 2, (3, 2, 6, 9))], ids=["square", "wide"]
)
def test_rotation_by_quarter_turns_is_torchs(monkeypatch, degrees, quarters, shape):
    """Angles worked by hand, the farthest that are drawn; those of images that are not square are kept, too."""
    images = random_codes(*shape)
    monkeypatch.setattr(Augmentation, "_uniform", lambda _, *shape: torch.ones(shape))
    assert torch.equal(augmented(images, rotation=degrees), images.rot90(quarters, (2, 3)))


def test_rotation_fills_with_black():
    """Corners come in from outside; the middle of a white image stays white."""
    images = augmented(torch.full((20, 2, 9, 9), 255, dtype=torch.uint8), rotation=45.0)
    assert (images[:, :, 4, 4] == 255).all()
    assert images[:, :, 0, 0].min() == 0


@pytest.mark.parametrize("setting", [{"shift": 0.3}, {"cutout": 0.4}, {"flip": True}, {"rotation": 20.0}])
def test_same_seed_same_change(setting):
    """And another seed another one."""
    images = random_codes(20, 2, 8, 10)
    assert torch.equal(augmented(images, **setting), augmented(images, **setting))
    assert not torch.equal(augmented(images, **setting), augmented(images, seed=1, **setting))
