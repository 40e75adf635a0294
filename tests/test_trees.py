"""Folders of images by class."""

import os
import unicodedata

import pytest

from src.sources.images import describe_classes
from src.sources.listing import ImageFile
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


def test_class_folder_that_may_be_missing_labels_is_a_warning(folder, capsys):
    """Where groups of a data frame become folders, the rows without a label become one, too."""
    put_classes(folder, "a", "b", "nan")
    load(folder)
    assert "warning: class 'nan' may mean that there is no label" in capsys.readouterr().out


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
        (
            {f"{c}/{i}.png": png() for c in ("a", "b", ".net") for i in range(2)},
            ".net/: a hidden folder with images; rename it without the dot, or remove it",
        ),
        (
            {f"{s}/{c}/{i}.png": png() for s in ("train", "test") for c in ("a", "b", ".net") for i in range(2)},
            "test/.net/: a hidden folder with images",
        ),
        ({f"test/{c}/{i}.png": png() for c in "ab" for i in range(2)}, "test/: named like a split, and no folder is"),
        (
            {f"{s}/{c}/0.png": png() for s in ("train", "training_set", "test") for c in "ab"},
            "train/ and training_set/: both are named like a train split; keep one, or merge them",
        ),
        (
            {f"{s}/{c}/0.png": png() for s in ("train", "test", "more") for c in "ab"},
            "two layouts at once: test/, train/, and next to them more/; move it away or into them",
        ),
        (
            {f"{s}/{c}/{i}.png": png() for s in ("original", "augmented") for c in "ab" for i in range(2)},
            "images are two folders deep: which level are the classes? In source.yaml, class_level: 1 takes augmented, "
            "original, class_level: 2 takes a, b, class_level: [1, 2] takes augmented/a, augmented/b",
        ),
        (
            {f"Dataset/{c}/{i}.png": png() for c in range(3) for i in range(3)} | {"Examples/x.png": png()},
            "Dataset/ holds folders, Examples/ holds images: which level are the classes? In source.yaml, root: "
            "Dataset takes 0, 1, 2, class_level: 1 takes Dataset, Examples",
        ),
        (
            {f"{day}/{c}/{i}.png": png() for day, c in (("d1", "a"), ("d2", "b"), ("d3", "a")) for i in range(2)},
            "class_level: 1 takes d1, d2, d3, class_level: 2 takes a, b",
        ),
        (
            {f"{s}/{c}/x/{i}.png": png() for s in "cd" for c in ("a", "b") for i in range(2)},
            "images are three folders deep: which level are the classes? In source.yaml, class_level: 1 takes c, d, "
            "class_level: 2 takes a, b, class_level: [1, 2, 3] takes c/a/x",
        ),
        *(
            (
                {f"{name}/{i}.png": png(i) for name in names for i in range(3)},
                f"{', '.join(names)}: folders of images, none of them named like a class; expected a folder per class",
            )
            for names in (
                ("test", "train"),
                ("test_images", "train_images"),
                ("part1", "part2"),
                ("images", "masks"),
                ("eval", "train"),
                ("테스트", "훈련"),
                ("extra", "test", "train"),
                ("gt", "img"),
                ("JPEGImages", "SegmentationClass", "SegmentationObject"),
            )
        ),
        (
            {f"{s}/{c}/0.png": png() for s in ("car", "train") for c in "ab"},
            "two layouts at once: train/, and next to them car/; in source.yaml, root: train takes a, b, or say "
            "class_level: 1",
        ),
        (
            {f"{s}/{c}/{i}.png": png() for s in ("data", "out/train", "out/val") for c in "ab" for i in range(2)},
            "data, out: each holds folders, and some are named like splits: which is the dataset? In source.yaml, "
            "root: data takes a, b; root: out takes train, val",
        ),
        (
            {f"{name}/{i}.png": png(i) for name in ("images", "test") for i in range(3)}
            | {"data/legend.csv": "0.png,a"},
            "expected a folder per class in them; if data/legend.csv has the labels, say table: data/legend.csv in",
        ),
        (
            {f"{c}/{i}.png": png() for c in "ab" for i in range(2)} | {"a/c/0.png": png()},
            "a/ holds images and folders, such as a/c/",
        ),
        ({f"{c}/{i}.png": png() for c in "ab" for i in range(3)} | {"x.png": png()}, "x.png: next to the folders"),
        (
            {f"{s}/{c}/0.png": png() for s in ("train", "test") for c in "ab"} | {"test/x.png": png()},
            "test/x.png: outside of the class folders",
        ),
    ],
)
def test_wrong_tree_is_named(folder, files, expected):
    """The folder, and what was expected."""
    for name, content in files.items():
        put(folder, name, content)
    assert expected in problems_of(folder)


SPLIT_NAMES = [
    ("train", "test"),
    ("Train", "Test"),
    ("training_set", "test_set"),
    ("training_set/training_set", "test_set/test_set"),
    ("seg_train/seg_train", "seg_test/seg_test"),
    ("training-images", "test-images"),
    ("train_data", "test_data"),
    ("trainset", "testset"),
    ("dataset/dataset/training", "dataset/dataset/testing"),
    ("TrainImages", "TestImages"),
]


@pytest.mark.parametrize("names", SPLIT_NAMES, ids="+".join)
def test_splits_are_known_under_their_usual_names(folder, names):
    """With prefixes, suffixes, capitals, folders around them, and doubled: the classes are always the innermost."""
    for split, count in zip(names, (8, 4), strict=True):
        put_classes(folder, "cats", "dogs", split=f"{split}/", count=count // 2)
    class_names, _, splits = load(folder)
    assert class_names == ("cats", "dogs")
    assert {name: len(split[1]) for name, split in splits.items()} == {"train": 8, "test": 4}


@pytest.mark.parametrize("name", ["val", "valid", "validation", "dev", "Validation"])
def test_validation_folder_is_a_split(folder, name):
    """Roboflow's valid, Kaggle's val: its images are those to validate on."""
    for split, count in (("train", 4), (name, 2), ("test", 1)):
        put_classes(folder, "a", "b", split=f"{split}/", count=count)
    splits = load(folder)[2]
    assert {split: len(images[1]) for split, images in splits.items()} == {"train": 8, "validation": 4, "test": 2}


def test_without_a_test_folder_one_is_held_out_of_train(folder, capsys):
    """The validation images stay what they are, and a line says so."""
    put_classes(folder, "a", "b", split="train/", count=10)
    put_classes(folder, "a", "b", split="val/", count=3)
    splits = load(folder)[2]
    assert {split: len(images[1]) for split, images in splits.items()} == {"train": 16, "validation": 6, "test": 4}
    assert "warning: no test split: a part of each class" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["seg_pred", "test", "unlabelled"])
def test_images_without_classes_next_to_splits_are_passed_over(folder, capsys, name):
    """Kaggle's test images have no labels: a line says so, and a test split is held out where there is no other."""
    put_classes(folder, "a", "b", split="train/", count=10)
    for i in range(3):
        put(folder, f"{name}/{i}.png", png(i))
    splits = load(folder)[2]
    assert {split: len(images[1]) for split, images in splits.items()} == {"train": 16, "test": 4}
    assert f"note: {name}/: images without folders of classes; passed over" in capsys.readouterr().out


def test_class_may_be_called_like_a_split(folder):
    """A train is a vehicle: folders of images are classes, whatever their names."""
    put_classes(folder, "train", "bus")
    assert load(folder)[0] == ("bus", "train")


def test_splits_inside_of_the_classes(folder):
    """All of them are named like splits, so they are no classes."""
    for name in ("cats", "dogs"):
        for split, count in (("train", 4), ("test", 2)):
            for i in range(count):
                put(folder, f"{name}/{split}/{i}.png", png(i))
    class_names, _, splits = load(folder)
    assert class_names == ("cats", "dogs")
    assert {split: len(images[1]) for split, images in splits.items()} == {"train": 8, "test": 4}


def test_test_images_in_a_folder_without_a_class_are_passed_over(folder, capsys):
    """Kaggle's test/unknown/, which ImageFolder needs; a test folder with a class of train/ is kept."""
    put_classes(folder, "a", "b", split="train/", count=10)
    put_classes(folder, "unknown", split="test/", count=3)
    assert {split: len(images[1]) for split, images in load(folder)[2].items()} == {"train": 16, "test": 4}
    assert "note: test/: images without folders of classes; passed over" in capsys.readouterr().out
    put_classes(folder, "unknown", split="train/", count=10)
    assert len(load(folder, "again")[2]["test"][1]) == 3


@pytest.mark.parametrize("names", [("cats/images", "dogs/images"), ("cats/cats", "dogs/dogs"), ("0", "1")])
def test_folders_in_folders_that_change_nothing_are_read(folder, names):
    """Where all of them are called the same, and where each class has one; a number is a class's name."""
    put_classes(folder, *names)
    class_names, _, splits = load(folder)
    assert class_names == tuple(name.partition("/")[0] for name in names)
    assert len(splits["train"][1]) == 8


def test_folders_without_images_are_passed_over(folder, capsys):
    """A repository's documents and code; the line names the folders alone."""
    put_classes(folder, "repository/data/a", "repository/data/b")
    for name in ("docs/index.md", "code/train/main.py", "data/labels/0.txt"):
        put(folder, f"repository/{name}", "x")
    assert load(folder)[0] == ("a", "b")
    lines = [line for line in capsys.readouterr().out.splitlines() if "not images" in line]
    assert lines == ["note: not images, passed over: repository/code/, repository/docs/, repository/data/labels/"]


@pytest.mark.parametrize("name", ["car", "train"])
def test_images_above_the_stated_level_are_a_problem(folder, name):
    """They would be left out in silence."""
    put_classes(folder, "car/a", "train/b")
    put(folder, f"{name}/0.png", png())
    put(folder, "source.yaml", "class_level: 2")
    assert f"{name}/0.png: above the level of the classes" in problems_of(folder)


@pytest.mark.parametrize("value", ["0", "[]", "[2, 1]", "[1, 1]", "x", "1.0", "true"])
def test_wrong_class_level_is_named(folder, value):
    """Levels count from 1, in their order."""
    put_classes(folder, "a", "b")
    put(folder, "source.yaml", f"class_level: {value}")
    assert "; expected a level of folders, 1 or more, or several in their order, such as [1, 2]" in problems_of(folder)


@pytest.mark.parametrize("names", [("car", "train"), ("car/x", "train/x"), ("test", "train")])
def test_class_level_says_that_what_looks_like_splits_are_classes(folder, names):
    """Vehicles, in folders or not, and even folders that could be nothing but splits."""
    put_classes(folder, *names)
    put(folder, "source.yaml", "class_level: 1")
    assert load(folder)[0] == tuple(name.partition("/")[0] for name in names)


@pytest.mark.parametrize(
    ("description", "classes"),
    [
        ("class_level: 1", ("Greek", "Latin")),
        ("class_level: 2", ("a", "b")),
        ("class_level: [1, 2]", ("Greek/a", "Greek/b", "Latin/a", "Latin/b")),
        ("root: Latin", ("a", "b")),
    ],
)
def test_source_yaml_says_which_level_is_the_class(folder, description, classes):
    """Alphabets, their characters, whatever the alphabet or not, or one of the folders alone."""
    for alphabet in ("Greek", "Latin"):
        put_classes(folder, "a", "b", split=f"{alphabet}/", count=4)
    put(folder, "source.yaml", description)
    assert load(folder)[0] == classes


def test_root_that_is_not_there_is_named(folder):
    """With the key."""
    put_classes(folder, "a", "b")
    put(folder, "source.yaml", "root: data")
    assert "root: 'data' in source.yaml is not a folder of the dataset" in problems_of(folder)


def test_what_is_no_image_is_passed_over_with_one_line(folder, capsys):
    """READMEs, licences, tables and notebooks come with datasets; whoever imports them can't remove them."""
    put_classes(folder, "a", "b")
    for name in ("README.md", "LICENSE", "a/_classes.csv", "b/notes.txt", "train.ipynb"):
        put(folder, name, "x")
    assert load(folder)[0] == ("a", "b")
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("note: ")]
    assert lines == ["note: not images, passed over: LICENSE, README.md, train.ipynb and 2 more"]


def test_classes_are_listed_before_anything_is_trained(folder, capsys):
    """Up to twenty with their numbers of images, more as a summary."""
    put_classes(folder, "a", "b")
    load(folder)
    assert "2 classes: a 5, b 5\n" in capsys.readouterr().out
    put_classes(folder, *(f"class{i:02}" for i in range(30)), count=2)
    load(folder, "again")
    assert "32 classes of 2 to 5 images: a, b, class00, ..., class29\n" in capsys.readouterr().out
    assert describe_classes([ImageFile("train", name, "") for name in "ab" * 11], list("ab")) == "2 classes: a 11, b 11"
    names = [f"class{i:02}" for i in range(30)]
    files = [ImageFile("train", name, "") for name in names * 2]
    assert describe_classes(files, names) == "30 classes of 2 images: class00, class01, class02, ..., class29"


def test_links_to_folders_are_not_followed_in_circles(folder):
    """Two of them, each to all that is above: every way through them would be a folder of its own."""
    put_classes(folder, "cats/images", "dogs/images")
    for name in ("one", "two"):
        (folder / "cats/images" / name).symlink_to("../..")
    assert "cats/images/one: not a file; remove it" in problems_of(folder)


def test_text_of_an_unknown_kind_is_passed_over(folder, capsys):
    """Lists of names, such as .idx; but neither what isn't text, nor what may be an image in text."""
    put_classes(folder, "a", "b")
    put(folder, "a/pos.idx", "0.png\n1.png\n")
    put(folder, "b/0.pgm", f"P2 4 3 255 {' '.join(['7'] * 12)}\n")
    load(folder, "first")
    assert "note: not images, passed over: a/pos.idx\n" in capsys.readouterr().out
    for name, content in (("a/x.idx", b"\0\1"), ("a/y.svg", b"<svg/>"), ("a/z", b"")):
        put(folder, name, content)
    problems = problems_of(folder)
    assert all(f"{name}: not an image that can be read" in problems for name in ("a/x.idx", "a/y.svg", "a/z"))


@pytest.mark.parametrize("names", [("class1", "class2"), ("Object 1", "Object 2"), ("class_a", "class_b")])
def test_folders_called_class_are_classes(folder, names):
    """Though the name says little."""
    put_classes(folder, *names)
    assert load(folder)[0] == names


def test_an_evaluation_folder_with_classes_is_not_passed_over(folder):
    """It may be the test's or the validation's."""
    put_classes(folder, "a", "b", split="train/")
    put_classes(folder, "a", "b", split="eval/")
    assert "two layouts at once: train/, and next to them eval/" in problems_of(folder)


@pytest.mark.skipif("not hasattr(os, 'mkfifo')", reason="needs named pipes")
def test_a_pipe_is_named_and_not_waited_for(folder):
    """Its name says nothing, and nobody will write into it."""
    put_classes(folder, "a", "b")
    os.mkfifo(folder / "a" / "pipe")
    assert "a/pipe: not a file; remove it" in problems_of(folder)
