"""Folders of images by class."""

import unicodedata

import pytest

from tests.image_files import greys, load, png, problems_of, put, put_classes


def test_train_and_test_trees(folder):
    """Classes sorted; the images in the order of their names' numbers through all classes."""
    put_classes(folder, "dog", "cat", split="train/", count=6)
    put_classes(folder, "dog", "cat", split="test/", count=2)
    class_names, shape, splits = load(folder)
    assert class_names == ("cat", "dog")
    assert shape == (1, 3, 4)
    assert greys(splits["train"][0]) == list(range(12))
    assert splits["train"][1] == [1, 0] * 6
    assert greys(splits["test"][0]) == list(range(4))


def test_tree_without_splits_is_drawn_by_class(folder):
    """A fifth of each class for the test by default; the same every time."""
    put_classes(folder, "a", "b", count=10)
    _, _, splits = load(folder)
    assert len(splits["train"][0]) == 16
    assert splits["test"][1].count(0) == splits["test"][1].count(1) == 2
    again = load(folder, "again")[2]
    assert greys(again["test"][0]) == greys(splits["test"][0])


def test_class_may_be_called_as_a_file_of_dvc(folder):
    """Such files themselves are no part of a dataset: of a class's folder, of an archive."""
    put_classes(folder, "a", "c.dvc")
    put(folder, "a.dvc", "outs:")
    assert load(folder)[0] == ("a", "c.dvc")


def test_empty_class_folder_is_a_problem(folder):
    """It may be a forgotten class."""
    put_classes(folder, "a", "b")
    (folder / "c").mkdir()
    assert "c/: no images; add some or remove the folder" in problems_of(folder)


def test_order_and_class_names_are_the_same_composed_and_decomposed(folder, tmp_path):
    """Of the files' names and of class_names in source.yaml."""
    orders = []
    for form in ("NFC", "NFD"):
        other = tmp_path / "sources" / form
        for split in ("train", "test"):
            for i, name in enumerate(("é", "f", "g", "h")):
                file = f"{split}/{'éb'[i % 2]}/{name}.png"
                put(other, unicodedata.normalize(form, file), png(i))
        put(other, "source.yaml", unicodedata.normalize(form, "class_names: [é, b]"))
        class_names, _, splits = load(other)
        assert class_names == ("é", "b")
        orders.append((greys(splits["train"][0]), splits["train"][1]))
    assert orders[0] == orders[1]


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({f"Train/{c}/0.png": png() for c in "ab"} | {"Test/a/0.png": png()}, "Test/: named like a split"),
        ({f"{s}/{c}/0.png": png() for s in ("train", "val") for c in "ab"}, "val/: named like a split"),
        (
            {f"{c}/{i}.png": png() for c in ("a", "b", ".net") for i in range(2)},
            ".net/: a hidden folder with images; rename it without the dot, or remove it",
        ),
        (
            {f"{s}/{c}/{i}.png": png() for s in ("train", "test") for c in ("a", "b", ".net") for i in range(2)},
            "test/.net/: a hidden folder with images",
        ),
        ({"mine/train/a/0.png": png(), "mine/test/a/0.png": png()}, "mine/: the only folder; move what is in it up"),
        (
            {"train/a/0.png": png(), "train/b/0.png": png()},
            "train/: named like a split; expected both train/ and test/, in small letters, or neither",
        ),
        ({f"{c}/{i}.png": png() for c in "ab" for i in range(3)} | {"x.png": png()}, "x.png: next to the folders"),
        ({f"train/{c}/0.png": png() for c in "ab"} | {"test/x.png": png()}, "test/x.png: outside of the class folders"),
    ],
)
def test_wrong_tree_is_named(folder, files, expected):
    """The folder, and what was expected."""
    for name, content in files.items():
        put(folder, name, content)
    assert expected in problems_of(folder)
