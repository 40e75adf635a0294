"""The order of images and classes, and their labels."""

import pytest

from src.sources.listing import natural_key, sorted_classes
from tests.image_files import load, png, problems_of, put, put_images


def test_order_of_names_and_classes():
    """Numbers by value, in names and among labels that are all numbers."""
    assert sorted(["10.png", "2.png", "a.png", "1b.png"], key=natural_key) == ["1b.png", "2.png", "10.png", "a.png"]
    assert sorted_classes({"10", "9", "0"}) == ("0", "9", "10")
    assert sorted_classes({"10.0", "9.5", "-1"}) == ("-1", "9.5", "10.0")
    assert sorted_classes({"10", "9", "x"}) == ("10", "9", "x")


def test_numbers_may_stand_for_class_names(folder):
    """T4's CSV has numbers; source.yaml says what they mean."""
    put_images(folder, 6)
    put(folder, "train.csv", "0.png,2\n1.png,0\n2.png,1\n")
    put(folder, "test.csv", "3.png,2\n4.png,0\n5.png,1\n")
    put(folder, "source.yaml", "class_names: [shirt, dress, bag]\n")
    class_names, _, splits = load(folder)
    assert class_names == ("shirt", "dress", "bag")
    assert splits["train"][1] == [2, 0, 1]


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"train/a/0.png": png(), "test/a/0.png": png()}, "1 class (a); expected two or more"),
        (
            {f"{c}/{i}.png": png() for c in "ab" for i in range(3)} | {"c/0.png": png()},
            "class 'c' has 1 image: too few",
        ),
        ({f"train/{c}/0.png": png() for c in "ab"} | {"test/c/0.png": png()}, "class 'c' has no training images"),
        (
            {"source.yaml": "class_names: [a]\n", "a/0.png": png(), "b/0.png": png()},
            "label 'b' is not a class; expected one of a",
        ),
        (
            {"source.yaml": "class_names: [a, b]\n", "l.csv": "0.png,0\n1.png,2\n", "0.png": png(), "1.png": png()},
            "1.png: label '2' is not a class; expected one of a, b",
        ),
    ],
)
def test_wrong_classes_are_named(folder, files, expected):
    """Labels that are not classes; classes that are too few or too small."""
    for name, content in files.items():
        put(folder, name, content)
    assert expected in problems_of(folder)


@pytest.mark.parametrize(("split", "few", "enough"), [("", 2, 3), ("train/", 1, 2)])
def test_class_that_train_will_refuse_is_said_before(folder, capsys, split, few, enough):
    """Too small to hold one out for validation: known while the images are read, not only after normalizing them."""
    for name, count in (("a", 5), ("b", few), ("c", enough)):
        for i in range(count):
            put(folder, f"{split}{name}/{i}.png", png(i))
        if split:
            put(folder, f"test/{name}/0.png", png(9))
    load(folder)
    warning = "warning: classes with 1 image to train on: 1, 'b'; train can't hold one out for validation: add images"
    assert warning in capsys.readouterr().out
