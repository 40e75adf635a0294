import io

import numpy as np
import pytest
from PIL import Image

from src import near_duplicates
from src.inspection import Pair, inspect_dataset
from src.near_duplicates import LARGEST_BUCKET, TABLES, _HashTables

NAMES = ["cat", "dog", "cow"]


def photographs(count, seed=0, side=32):
    """Random images, smooth as photographs are, and of about as much colour."""
    generator = np.random.default_rng(seed)
    images = []
    for _ in range(count):
        grey, colour = generator.integers(20, 236, (6, 6, 1)), generator.integers(-20, 20, (6, 6, 3))
        small = Image.fromarray((grey + colour).astype(np.uint8))
        images.append(np.asarray(small.resize((side, side), Image.Resampling.BICUBIC)).transpose(2, 0, 1))
    return np.stack(images)


def inspected(train, test, train_labels=None, test_labels=None):
    """What is found; by default, the labels go round."""
    labels = {
        "train": np.arange(len(train)) % 3 if train_labels is None else np.array(train_labels),
        "test": np.arange(len(test)) % 3 if test_labels is None else np.array(test_labels),
    }
    return inspect_dataset({"train": train, "test": test}, labels, NAMES)


def names_of(inspection):
    """A file name for each image."""
    return {split: [f"{i}.png" for i in range(int(counts.sum()))] for split, counts in inspection.counts.items()}


def test_nothing_is_found_in_different_images():
    """No false alarm among 600 images; all metrics are finite numbers."""
    inspection = inspected(photographs(500), photographs(100, seed=1))
    assert not inspection.across_splits
    assert not inspection.two_labels
    assert not list(inspection.warnings(names_of(inspection)))
    metrics = inspection.metrics()
    assert (metrics["train_images"], metrics["test_images"], metrics["classes"]) == (500, 100, 3)
    assert (metrics["smallest_class"], metrics["largest_class"]) == (166, 167)
    assert all(np.isfinite(value) for value in metrics.values())


def test_copies_across_splits_are_named():
    """The test image 2 is the training image 5."""
    train, test = photographs(30), photographs(6, seed=1)
    test[2] = train[5]
    inspection = inspected(train, test)
    assert inspection.across_splits == [Pair(("train", 5), ("test", 2), exact=True)]
    (warning,) = inspection.warnings(names_of(inspection))
    assert warning == (
        "1 pair of the same image in two splits, so scores on them are too good: train: 5.png and test: 2.png"
    )
    assert inspection.metrics()["duplicates_across_splits"] == 1


def test_copies_with_two_labels_are_named():
    """Within a split, where copies with one label are no trouble."""
    train = photographs(30)
    train[7], train[9] = train[4], train[6]
    inspection = inspected(train, photographs(6, seed=1))
    assert inspection.two_labels == []
    train[8] = train[4]
    inspection = inspected(train, photographs(6, seed=1))
    assert inspection.two_labels == [Pair(("train", 4), ("train", 8), exact=True)]
    (warning,) = inspection.warnings(names_of(inspection))
    assert warning == ("1 pair of the same image with two labels, of which one is wrong: train: 4.png and train: 8.png")


def test_of_too_many_images_some_are_compared(monkeypatch):
    """For near-duplicates: found where both were drawn, by their own indices; exact ones always are."""
    monkeypatch.setattr(near_duplicates, "MOST_COMPARED", 40)
    train, test = photographs(60), photographs(20, seed=1)
    drawn = near_duplicates._choose(80, 40)
    left_out = np.setdiff1d(np.arange(80), drawn)
    first, second = drawn[1], drawn[-1]
    assert first < 60 <= second
    test[second - 60] = encoded(train[first])
    test[left_out[-1] - 60] = encoded(train[left_out[0]])
    test[left_out[-2] - 60] = train[left_out[1]]
    found = inspected(train, test).across_splits
    exact = Pair(("train", int(left_out[1])), ("test", int(left_out[-2]) - 60), exact=True)
    near = Pair(("train", int(first)), ("test", int(second) - 60), exact=False)
    assert found == sorted([exact, near], key=lambda pair: pair.first)


def test_three_pairs_are_named():
    """Of three, all; of more, the first three and that there are more."""
    train, test = photographs(30), photographs(6, seed=1)
    test[:3] = train[:3]
    inspection = inspected(train, test)
    (warning,) = inspection.warnings(names_of(inspection))
    assert warning.startswith("3 pairs of the same image in two splits")
    assert warning.endswith(
        ": train: 0.png and test: 0.png; train: 1.png and test: 1.png; train: 2.png and test: 2.png"
    )
    test[3] = train[3]
    inspection = inspected(train, test)
    (warning,) = inspection.warnings(names_of(inspection))
    assert warning.endswith("; train: 2.png and test: 2.png; ...")


def test_near_copies_with_two_labels_may_both_be_right():
    """A face with and without a mask drawn on, for one: the warning asks to look, and doesn't say that one is wrong."""
    train = photographs(30)
    train[8] = encoded(train[4])
    inspection = inspected(train, photographs(6, seed=1))
    (warning,) = inspection.warnings(names_of(inspection))
    assert warning == (
        "1 pair of nearly the same image with two labels, look whether one is wrong: train: 4.png and train: 8.png"
    )


def encoded(image, quality=85):
    """As a JPEG file has it."""
    file = io.BytesIO()
    Image.fromarray(image.transpose(1, 2, 0)).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file)).transpose(2, 0, 1)


def coarsely_encoded(image):
    """As a small JPEG file has it."""
    return encoded(image, quality=50)


def moved(down, right):
    """By a pixel, with the outermost row or column again."""

    def move(image):
        padded = np.pad(image, ((0, 0), (1, 1), (1, 1)), mode="edge")
        _, height, width = image.shape
        return padded[:, 1 - down : 1 - down + height, 1 - right : 1 - right + width]

    move.__name__ = f"moved {down} {right}"
    return move


def brightened(image):
    """By a twenty-fifth."""
    return np.clip(image * 1.04, 0, 255).astype(np.uint8)


CHANGES = [
    encoded,
    coarsely_encoded,
    brightened,
    *(moved(y, x) for y in (-1, 0, 1) for x in (-1, 0, 1) if (y, x) != (0, 0)),
]


@pytest.mark.parametrize("change", CHANGES)
def test_near_copies_are_found(change):
    """An image that was encoded anew, brightened or moved: 48 of 50 or more, and none that isn't one."""
    train, test = photographs(400), photographs(60, seed=1)
    for i in range(50):
        test[i] = change(train[i])
    pairs = inspected(train, test).across_splits
    assert {(pair.first[1], pair.second[1]) for pair in pairs} <= {(i, i) for i in range(50)}
    assert len(pairs) >= 48


def test_large_near_copies_are_found(monkeypatch):
    """Of 80x60 pixels, which are compared at 32x32; in batches of a few images, the same pairs are found."""
    train, test = photographs(60, side=80)[..., :60], photographs(20, seed=1, side=80)[..., :60]
    for i in range(10):
        test[i] = encoded(train[i])
    expected = [Pair(("train", i), ("test", i), exact=False) for i in range(10)]
    assert inspected(train, test).across_splits == expected
    monkeypatch.setattr(near_duplicates, "MOST_NUMBERS", 7 * train[0].size)
    assert inspected(train, test).across_splits == expected


def test_a_shared_background_is_no_copy():
    """Images that differ in a small part alone, as game pieces on one board do, are each other's usual distance."""
    generator = np.random.default_rng(0)
    images = np.repeat(photographs(1), 200, 0)
    for image in images:
        y, x = generator.integers(4, 22, 2)
        image[:, y : y + 6, x : x + 6] = generator.integers(0, 256, (3, 1, 1))
    inspection = inspected(images[:150], images[150:])
    assert not inspection.across_splits
    assert not inspection.two_labels


def test_cost_does_not_grow_with_the_images_that_are_alike():
    """Of thousands that share all cells, each is compared with a few: the comparisons are linear in the images."""
    thumbnails = np.tile(np.linspace(-1, 1, 64, dtype=np.float32) / 4.7, (3000, 1))
    compared = sum(len(i) for i, _ in _HashTables(thumbnails).neighbours(thumbnails))
    assert 0 < compared <= 3000 * LARGEST_BUCKET * TABLES


def test_images_of_one_colour_are_counted():
    """Black on black, for one; they are no copies of each other worth a word."""
    train, test = photographs(30), photographs(6, seed=1)
    train[3:6], test[0] = 0, 255
    inspection = inspected(train, test)
    assert inspection.constant == {"train": [3, 4, 5], "test": [0]}
    assert not inspection.across_splits + inspection.two_labels
    first, second = inspection.warnings(names_of(inspection))
    assert first.startswith("3 of 30 train images are of one colour: 3.png, 4.png, 5.png; dark ink on")
    assert second == "1 of 6 test images are of one colour: 0.png"
    assert inspection.metrics()["images_of_one_colour"] == 4


def test_one_colour_need_not_be_grey():
    """Red all over is one colour; red on the left and blue on the right is two, though each channel has few values."""
    train = photographs(30)
    train[3] = np.array([255, 0, 0], np.uint8)[:, None, None]
    train[4] = train[3]
    train[4, :, :, 16:] = np.array([0, 0, 255], np.uint8)[:, None, None]
    inspection = inspected(train, photographs(6, seed=1))
    assert inspection.constant == {"train": [3], "test": []}


def test_unequal_classes_are_said():
    """From ten times as many on."""
    labels = [0] * 20 + [1] * 2 + [2] * 20
    (warning,) = inspected(photographs(42), photographs(6, seed=1), labels).warnings({})
    assert warning == "class 'dog' has 2 training images, 'cat' has 20"
    labels = [0] * 20 + [1] * 3 + [2] * 20
    assert not list(inspected(photographs(43), photographs(6, seed=1), labels).warnings({}))


def test_classes_that_train_will_refuse_are_said():
    """One training image can't be held out as well, two can; the source's own validation split does without."""
    labels = [0] * 4 + [1] * 1 + [2] * 2
    (warning,) = inspected(photographs(7), photographs(6, seed=1), labels).warnings({})
    assert warning == (
        "classes with 1 training image: 1, 'dog'; train can't hold one out for validation and will refuse them: "
        "add images, or set train.validation_fraction to 0"
    )
    images = {name: photographs(7, seed) for seed, name in enumerate(("train", "validation", "test"))}
    assert not list(inspect_dataset(images, dict.fromkeys(images, np.array(labels)), NAMES).warnings({}))


def test_small_and_grey_images_are_looked_through():
    """8x8 pixels, as scikit-learn's digits, and sides that no thumbnail divides."""
    generator = np.random.default_rng(0)
    for shape in ((1, 8, 8), (1, 5, 13)):
        train, test = (generator.integers(0, 256, (count, *shape), np.uint8) for count in (40, 10))
        test[3] = train[8]
        assert inspected(train, test).across_splits == [Pair(("train", 8), ("test", 3), exact=True)]
