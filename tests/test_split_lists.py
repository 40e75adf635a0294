"""Lists of images that say how a source splits them."""

import pytest

from tests.image_files import greys, load, put, put_classes


def list_of(numbers, form):
    """A line per image: 0.png, 2.png, ... are of class a, the others of class b."""
    return "".join(form.format(c="ab"[i % 2], i=i, k=i % 2) + "\n" for i in numbers)


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("meta/{}.txt", "{c}/{i}"),
        ("labels/{}1.txt", "{c}/{i}.png"),
        ("{}.txt", "images/{c}/{i}.png {k}"),
        ("one-indexed-files_{}.txt", "{i}.png {k}"),
        ("images/{}.csv", "{c}/{i}.png,{c}"),
        ("images/{}.csv", "{i},{c}/{i}.png,{k}"),
    ],
)
def test_lists_next_to_folders_of_classes_split_the_images(folder, capsys, name, form):
    """As Food-101, DTD, garbage classification and EuroSAT have them; a line says so."""
    put_classes(folder, "a", "b", split="images/")
    header = ("," * form.count(",")) + "Filename\n" if name.endswith("csv") else ""
    for split, numbers in (("train", range(6)), ("val", range(6, 8)), ("test", range(8, 10))):
        put(folder, name.format(split), header + list_of(numbers, form))
    splits = load(folder)[2]
    assert {split: greys(images) for split, (images, _) in splits.items()} == {
        "train": [*range(6)], "validation": [6, 7], "test": [8, 9]
    }  # fmt: skip
    assert "note: split by the lists of images in " in capsys.readouterr().out


def test_images_in_no_list_are_for_training_where_no_list_says_which_are(folder):
    """A list for the test alone is enough."""
    put_classes(folder, "a", "b")
    put(folder, "test_list.txt", list_of(range(4, 8), "{c}/{i}.png"))
    assert greys(load(folder)[2]["train"][0]) == [0, 1, 2, 3, 8, 9]


@pytest.mark.parametrize(
    ("lists", "reason"),
    [
        ({"train1": range(8), "train2": range(2, 10), "test1": range(8, 10)}, "there are several for one split"),
        ({"train1": range(4), "train2": range(4, 8), "test1": range(8, 10)}, "there are several for one split"),
        ({"train": range(8), "test": range(7, 10)}, "an image is in two"),
        ({"train": range(7), "test": range(7, 9)}, "they leave 1 images out"),
        ({"train": range(8), "test": range(8, 11)}, "1 of their lines name no image"),
        ({"test": range(10)}, "no image is left to train on"),
    ],
)
def test_lists_that_are_not_certain_are_not_used_and_a_line_says_so(folder, capsys, lists, reason):
    """With what to do; another split is drawn."""
    put_classes(folder, "a", "b")
    for name, numbers in lists.items():
        put(folder, f"{name}.txt", list_of(numbers, "{c}/{i}.png"))
    assert len(load(folder)[2]["train"][1]) == 8
    out = capsys.readouterr().out
    assert reason in out
    assert "lists of images whose split isn't used" in out
    assert "or to use it, write a CSV of file, label and split" in out


def test_other_texts_named_like_splits_are_no_lists(folder, capsys):
    """Logs, and descriptions of folders that are split already."""
    put_classes(folder, "a", "b")
    put(folder, "train_log.txt", "epoch 1\nepoch 2\nepoch 3\n")
    put(folder, "test.txt", b"\xff\xfe")
    load(folder)
    assert "split" not in capsys.readouterr().out


def test_numbered_images_are_split_as_cub_says(folder):
    """train_test_split.txt has 1 for training, by the numbers in images.txt, which begin at 1."""
    put_classes(folder, "001.a", "002.b", split="CUB/images/")
    files = [f"{('001.a', '002.b')[i % 2]}/{i}.png" for i in range(10)]
    put(folder, "CUB/images.txt", "".join(f"{i + 1} {name}\n" for i, name in enumerate(files)))
    put(folder, "CUB/train_test_split.txt", "".join(f"{i + 1} {int(i % 3 > 0)}\n" for i in range(10)))
    assert greys(load(folder)[2]["test"][0]) == [0, 3, 6, 9]
