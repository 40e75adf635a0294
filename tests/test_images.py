import gzip
import hashlib
import io
import os
import re
import shutil
import stat
import tarfile
import unicodedata
import zipfile
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import yaml
from PIL import Image

from src.errors import MnistryError
from src.sources import open_source
from src.sources.images import ImagesDescription
from src.sources.listing import natural_key, sorted_classes
from tests.conftest import PROJECT


def png(value=0, size=(4, 3), mode="L"):
    """A picture of `size` (width, height) in one value, as a PNG file's bytes."""
    buffer = io.BytesIO()
    Image.new(mode, size, value).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def folder(tmp_path):
    """A dataset's folder, empty."""
    path = tmp_path / "sources" / "mine"
    path.mkdir(parents=True)
    return path


def write(folder, **files):
    for name, content in files.items():
        put(folder, name, content)


def put(folder, name, content):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def tree(folder, *classes, split="", count=5):
    """Pictures numbered through all classes, each in its number's grey."""
    for i in range(count * len(classes)):
        put(folder, f"{split}{classes[i % len(classes)]}/{i}.png", png(i))


def load(folder, name="raw"):
    """Download and read; class names, shape and each split's images and labels."""
    raw = folder.parent.parent / name / folder.name
    raw.mkdir(parents=True, exist_ok=True)
    open_source(folder).download(raw)
    with open_source(raw).read(raw, raw.parent) as dataset:
        splits = {
            split: (np.concatenate(list(images.chunks)), images.labels.tolist())
            for split, images in dataset.splits.items()
        }
    return dataset.class_names, dataset.shape, splits


def problems_of(folder):
    with pytest.raises(MnistryError) as error:
        load(folder)
    assert not any((folder.parent.parent / "raw" / folder.name).iterdir())
    return str(error.value)


def greys(images):
    return images[:, 0, 0, 0].tolist()


def test_train_and_test_trees(folder):
    """Classes sorted; the images in the order of their names' numbers through all classes."""
    tree(folder, "dog", "cat", split="train/", count=6)
    tree(folder, "dog", "cat", split="test/", count=2)
    class_names, shape, splits = load(folder)
    assert class_names == ("cat", "dog")
    assert shape == (1, 3, 4)
    assert greys(splits["train"][0]) == list(range(12))
    assert splits["train"][1] == [1, 0] * 6
    assert greys(splits["test"][0]) == list(range(4))


def test_tree_without_splits_is_drawn_by_class(folder):
    """A fifth of each class for the test by default; the same every time."""
    tree(folder, "a", "b", count=10)
    _, _, splits = load(folder)
    assert len(splits["train"][0]) == 16
    assert splits["test"][1].count(0) == splits["test"][1].count(1) == 2
    again = load(folder, "again")[2]
    assert greys(again["test"][0]) == greys(splits["test"][0])


@pytest.mark.parametrize("header", ["", "filepath,label\n", "\ufeffFile Name,Label\r\n"])
def test_one_annotations_csv(folder, header):
    """T4's, with or without a header, a byte-order mark, CRLF; paths from the dataset's folder."""
    for i in range(8):
        put(folder, f"images/{i}.png", png(i))
    put(folder, "annotations.csv", header + "".join(f'"images/{i}.png",{i % 2}\r\n' for i in range(8)))
    class_names, _, splits = load(folder)
    assert class_names == ("0", "1")
    assert sorted(greys(splits["train"][0]) + greys(splits["test"][0])) == list(range(8))
    assert splits["train"][1] == [grey % 2 for grey in greys(splits["train"][0])]


def test_csv_with_a_split_column_keeps_the_rows_order(folder):
    """Columns by their names, in any order; others are allowed."""
    for i in range(4):
        put(folder, f"{i}.png", png(i))
    put(
        folder,
        "labels.csv",
        "label,split,author,path\nb,train,x,3.png\na,test,x,2.png\na,Train,x,1.png\nb,test,x,0.png\n",
    )
    class_names, _, splits = load(folder)
    assert class_names == ("a", "b")
    assert (greys(splits["train"][0]), splits["train"][1]) == ([3, 1], [1, 0])
    assert (greys(splits["test"][0]), splits["test"][1]) == ([2, 0], [0, 1])


def test_train_and_test_csvs(folder):
    """Quoted commas in names; numeric labels in the order of their values."""
    for i in range(4):
        put(folder, f"a, b/{i}.png", png(i))
    put(folder, "train.csv", 'filepath,label\n"a, b/0.png",10\n"a, b/1.png",9\n')
    put(folder, "test.csv", 'filepath,label\n"a, b/2.png",9\n"a, b/3.png",10\n')
    class_names, _, splits = load(folder)
    assert class_names == ("9", "10")
    assert splits["train"][1] == [1, 0]
    assert greys(splits["test"][0]) == [2, 3]


def test_csv_without_a_header_with_splits(folder):
    """The third column."""
    for i in range(4):
        put(folder, f"{i}.png", png(i))
    put(folder, "LABELS.CSV", "0.png,a,train\n1.png,b,train\n2.png,a,test\n3.png,b,test\n")
    splits = load(folder)[2]
    assert (greys(splits["train"][0]), greys(splits["test"][0])) == ([0, 1], [2, 3])


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz", "tgz"])
@pytest.mark.parametrize("top", ["", "dataset/"])
@pytest.mark.parametrize("layout", ["tree", "CSV"])
def test_archive_gives_what_the_folder_gives(folder, tmp_path, kind, top, layout):
    """With or without a folder of its own inside."""
    tree(folder, "a", "b")
    if layout == "CSV":
        put(folder, "labels.csv", "".join(f"{'ab'[i % 2]}/{i}.png,{i % 3}\n" for i in range(10)))
    expected = load(folder)
    archived = tmp_path / "sources" / "archived"
    archived.mkdir()
    files = [path for path in folder.rglob("*") if path.is_file()]
    if kind == "zip":
        with zipfile.ZipFile(archived / "all.zip", "w") as archive:
            for file in files:
                archive.write(file, top + file.relative_to(folder).as_posix())
    else:
        with tarfile.open(archived / f"all.{kind}", "w" if kind == "tar" else "w:gz") as archive:
            for file in files:
                archive.add(file, top + file.relative_to(folder).as_posix())
    actual = load(archived, "raw2")
    assert actual[:2] == expected[:2]
    for split in ("train", "test"):
        np.testing.assert_array_equal(actual[2][split][0], expected[2][split][0])


def test_same_images_same_bytes_whatever_the_order_and_the_workers(folder, tmp_path, monkeypatch):
    """Neither times, nor the file system's order, nor the number of processes."""
    tree(folder, "a", "b", count=80)
    monkeypatch.setattr("src.parallel.available_cores", lambda: 3)
    monkeypatch.setattr("src.sources.packed.available_cores", lambda: 3)
    first = load(folder, "first")[2]
    for path in folder.rglob("*.png"):
        os.utime(path, (0, 0))
    monkeypatch.setattr("src.parallel.available_cores", lambda: 1)
    monkeypatch.setattr("src.sources.packed.available_cores", lambda: 1)
    listed = Path.iterdir
    monkeypatch.setattr(Path, "iterdir", lambda self: sorted(listed(self), reverse=True))
    second = load(folder, "second")[2]
    for split in ("train", "test"):
        np.testing.assert_array_equal(first[split][0], second[split][0])
        assert first[split][1] == second[split][1]
    for name in ("images.bin", "listing.csv", "images.json"):
        assert (tmp_path / "first/mine" / name).read_bytes() == (tmp_path / "second/mine" / name).read_bytes()


@pytest.mark.parametrize("layout", ["tree", "CSV"])
def test_class_names_of_any_script(folder, layout):
    """Spaces, dots, CJK, emoji; as strings, sorted."""
    names = ["a b.c", "お", "🙂"]
    if layout == "tree":
        tree(folder, *names)
    else:
        put(folder, "labels.csv", "".join(f"{i}.png,{names[i % 3]}\n" for i in range(9)))
        for i in range(9):
            put(folder, f"{i}.png", png(i))
    assert list(load(folder)[0]) == names


def test_source_yaml_sets_what_cannot_be_guessed(folder):
    """Size, colour, the classes' order and the fraction held out."""
    tree(folder, "a", "b", count=10)
    put(folder, "a/100.png", png((200, 0, 0), (9, 9), "RGB"))
    put(folder, "source.yaml", "image_size: [2, 5]\ncolor: rgb\nclass_names: [b, a]\ntest_fraction: 0.5\n")
    class_names, shape, splits = load(folder)
    assert class_names == ("b", "a")
    assert shape == (3, 2, 5)
    assert len(splits["test"][0]) in (10, 11)


def test_source_yaml_of_the_documentation_is_accepted(folder):
    """The example with all keys, with the values that are the defaults but for the size, colour and classes."""
    text = (PROJECT / "docs/datasets.md").read_text("utf-8")
    example = text.partition("```yaml\n")[2].partition("```")[0]
    tree(folder, "daisy", "rose")
    put(folder, "source.yaml", example)
    assert load(folder)[:2] == (("rose", "daisy"), (1, 32, 32))
    assert set(yaml.safe_load(example)) == set(ImagesDescription.model_fields)


def test_hidden_files_are_ignored(folder):
    """The system's own aren't part of anybody's dataset."""
    tree(folder, "a", "b")
    for name in (".DS_Store", "a/Thumbs.db", "a/.hidden.png", ".git/config", "desktop.ini", "__MACOSX/a/0.png"):
        put(folder, name, "x")
    assert load(folder)[0] == ("a", "b")


def test_class_may_be_called_as_a_file_of_dvc(folder):
    """Such files themselves are no part of a dataset: of a class's folder, of an archive."""
    tree(folder, "a", "c.dvc")
    put(folder, "a.dvc", "outs:")
    assert load(folder)[0] == ("a", "c.dvc")


@pytest.mark.parametrize("name", [".git/a.txt", ".ipynb_checkpoints/a-checkpoint.ipynb", ".dvc/cache/._a.png"])
def test_hidden_folder_without_pictures_is_ignored(folder, name):
    """Beside the classes."""
    tree(folder, "a", "b")
    put(folder, name, "x")
    assert load(folder)[0] == ("a", "b")


@pytest.mark.parametrize("content", ["", "# Nothing yet.\n"])
def test_empty_source_yaml_changes_nothing(folder, content):
    """As if it weren't there."""
    tree(folder, "a", "b")
    put(folder, "source.yaml", content)
    assert load(folder)[0] == ("a", "b")


@pytest.mark.parametrize("target", ["../../outside.yaml", "nowhere.yaml", "/nowhere.yaml"])
def test_source_yaml_that_is_a_link_elsewhere_is_refused(folder, tmp_path, target):
    """Out of the folder or to nothing: it would be followed or ignored."""
    tree(folder, "a", "b")
    put(tmp_path, "outside.yaml", "color: rgb\n")
    (folder / "source.yaml").symlink_to(target)
    assert "source.yaml: a link out of its folder or to nothing; put the file itself there" in problems_of(folder)


def test_two_source_yaml_are_refused(folder):
    """Beside the archive and in it: one of them would be ignored."""
    with zipfile.ZipFile(folder / "all.zip", "w") as archive:
        archive.writestr("source.yaml", "color: rgb\n")
        archive.writestr("a/0.png", png())
    put(folder, "source.yaml", "color: grey\n")
    assert "two source.yaml, beside the archive and in it; keep one of them" in problems_of(folder)


def test_all_problems_are_told_together(folder):
    """The first twenty by name, and how many there are."""
    tree(folder, "a", "b")
    for i in range(30):
        put(folder, f"a/bad{i:02}.png", "not a picture")
    lines = problems_of(folder).splitlines()
    assert lines[0] == "mine: 30 problems; nothing was written"
    assert lines[1].strip().startswith("a/bad00.png: not a picture that can be read")
    assert lines[-1].strip() == "... and 10 more"
    assert len(lines) == 22


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ("0.png\n", "labels.csv:5: 1 column; expected 2"),
        ("0.png,a,b\n", "labels.csv:5: 3 columns; expected 2"),
        ("none.png,a\n", "labels.csv:5: none.png: no such file"),
        ("../x.png,a\n", "labels.csv:5: ../x.png leads out of the dataset's folder"),
        ("/etc/passwd,a\n", "labels.csv:5: /etc/passwd leads out of the dataset's folder"),
        ("0.png,b\n", "labels.csv:5: 0.png is listed as 'a' and as 'b'"),
        (",a\n", "labels.csv:5: no file name"),
        ("4.png,\n", "labels.csv:5: no label"),
        ("link.png,a\n", "link.png: a link out of the dataset's folder"),
    ],
)
def test_wrong_row_is_named(folder, tmp_path, rows, expected):
    """File, line, what came and what was expected."""
    for i in range(5):
        put(folder, f"{i}.png", png(i))
    put(tmp_path, "outside.png", png())
    (folder / "link.png").symlink_to(tmp_path / "outside.png")
    put(folder, "labels.csv", "0.png,a\n1.png,a\n2.png,b\n3.png,b\n" + rows)
    assert expected in problems_of(folder)


def test_file_listed_twice_alike_is_a_warning(folder, capsys):
    """It is used once."""
    for i in range(4):
        put(folder, f"{i}.png", png(i))
    put(folder, "labels.csv", "0.png,a\n1.png,a\n2.png,b\n3.png,b\n0.png,a\n")
    splits = load(folder)[2]
    assert len(splits["train"][0]) + len(splits["test"][0]) == 4
    assert "warning: labels.csv:5: 0.png is listed twice" in capsys.readouterr().out


def test_warnings_are_the_first_twenty(folder, capsys):
    """And how many there are."""
    for i in range(30):
        put(folder, f"{i}.png", png(i))
    put(folder, "labels.csv", "".join(f"{i}.png,{'ab'[i % 2]}\n" for i in range(30)) * 2)
    load(folder)
    warnings = [line for line in capsys.readouterr().out.splitlines() if line.startswith("warning: ")]
    assert len(warnings) == 21
    assert warnings[-1] == "warning: ... and 10 more"


def test_name_with_a_line_break_stays_in_its_line(folder):
    """It can't make up a problem."""
    tree(folder, "a", "b")
    put(folder, "a/x\n  b: 5 problems\u2028.png", "no picture")
    assert r"a/x\n  b: 5 problems\u2028.png: not a picture that can be read" in problems_of(folder)


def test_warning_of_a_name_that_is_no_text_can_be_printed(folder, capsys):
    """Python wouldn't print it where standard output is strict."""
    for i in range(4):
        put(folder, f"{i}.png", png(i))
    put(folder, "labels.csv", "0.png,a\n1.png,a\n2.png,b\n3.png,b\n")
    try:
        put(folder, os.fsdecode(b"\xff.png"), png())
    except OSError:
        pytest.skip("this file system takes UTF-8 alone")
    load(folder)
    assert r"pictures without a row are left out: 1, such as \udcff.png" in capsys.readouterr().out


@pytest.mark.parametrize("label", ["a\x7f", "it\x92s", "\ufffe", "🙂", 'a"\\b'])
def test_labels_of_any_characters_are_read_back(folder, label):
    """YAML allows for fewer than JSON."""
    for i in range(4):
        put(folder, f"{i}.png", png(i))
    quoted = label.replace('"', '""')
    put(folder, "labels.csv", "".join(f'{i}.png,"{quoted if i % 2 else "-"}"\n' for i in range(4)))
    assert load(folder)[0] == ("-", label)


@pytest.mark.parametrize("content", [None, b"", b'{"class_names": 5}'])
def test_raw_folder_without_what_was_found_out_is_named(folder, content):
    """As after a download by another version."""
    tree(folder, "a", "b")
    load(folder)
    resolved = folder.parent.parent / "raw/mine/images.json"
    if content is None:
        resolved.unlink()
    else:
        resolved.write_bytes(content)
    source = open_source(resolved.parent)
    with (
        pytest.raises(MnistryError, match=r"images\.json: missing or damaged; run `dvc repro --force download`"),
        source.read(resolved.parent, folder),
    ):
        pass


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"labels.csv": ""}, "labels.csv: empty; expected a row a picture"),
        ({"labels.csv": "path,label\n"}, "labels.csv: a header without rows"),
        ({"labels.csv": "ä.png,ä\n".encode("latin-1")}, "labels.csv: not UTF-8 text (byte 0); save it as UTF-8"),
        ({"labels.csv": "a.png,a\n".encode("utf-16")}, "labels.csv: not UTF-8 text (byte 0); save it as UTF-8"),
        *(
            (
                {"labels.csv": "a.png,a\n".encode(code)},
                "labels.csv: not UTF-8 text (it has zero bytes); save it as UTF-8",
            )
            for code in ("utf-16-le", "utf-16-be", "utf-32-le")
        ),
        ({"labels.csv": "file;label\na.png;a\n"}, "labels.csv:1: 1 column; expected 2, with commas between them"),
        (
            {"labels.csv": "image,label,category\na.png,a,x\n"},
            "labels.csv:1: columns label and category may each be the label; rename all but one",
        ),
        ({"labels.csv": "a.png,a,valid\n", "a.png": png()}, "labels.csv:1: split 'valid'; expected train or test"),
        (
            {"train.csv": "a.png,a\nb.png,b\n", "test.csv": "a.png,a\n", "a.png": png(), "b.png": png()},
            "test.csv:1: a.png is listed for both train and test; remove one row",
        ),
        ({"labels.csv": '"a.png,x\n'}, "labels.csv:1: not a row of a CSV file"),
        (
            {"labels.csv": "img,y\na.png,x\n", "a.png": png()},
            "labels.csv:1: img: no such file in the dataset's folder; a header",
        ),
        (
            {"labels.csv": "a\\0.png,x\n", "a/0.png": png()},
            "a\\0.png: no such file in the dataset's folder; expected slashes",
        ),
        ({"labels.csv": f"{'x' * 300}.png,x\n"}, "x.png: no such file"),
        (
            {"labels.csv": "a/0.png,x\na/1.png,y\n"} | {f"{c}/{i}.png": png() for c in "ab" for i in range(2)},
            "two layouts at once: labels.csv, and pictures in b/ that no row lists",
        ),
        ({f"Train/{c}/0.png": png() for c in "ab"} | {"Test/a/0.png": png()}, "Test/: named like a split"),
        ({f"{s}/{c}/0.png": png() for s in ("train", "val") for c in "ab"}, "val/: named like a split"),
        ({"a.csv": "", "b.csv": ""}, "two layouts at once: a.csv, b.csv"),
        (
            {"Train.csv": "0.png,a\n", "train.csv": "1.png,a\n", "test.csv": "2.png,a\n"},
            "two layouts at once: Train.csv, test.csv, train.csv; expected one CSV, or train.csv and test.csv",
        ),
        (
            {f"{c}/{i}.png": png() for c in ("a", "b", ".net") for i in range(2)},
            ".net/: a hidden folder with pictures; rename it without the dot, or remove it",
        ),
        (
            {f"{s}/{c}/{i}.png": png() for s in ("train", "test") for c in ("a", "b", ".net") for i in range(2)},
            "test/.net/: a hidden folder with pictures",
        ),
        ({"train.csv": "x.png,a,test\n", "other.csv": ""}, "two layouts at once"),
        ({"all.zip": "x", "a/0.png": "x"}, "two layouts at once: all.zip, and beside it a"),
        ({"a.zip": b"", "b.zip": b""}, "two layouts at once: a.zip, and beside it b.zip"),
        (
            {"all.7z": b"7z"},
            "all.7z: beside the folders; expected pictures in a folder a class, or a CSV, or one archive",
        ),
        ({"all.zip": b"PK\x03\x04 cut off"}, "all.zip: damaged or cut off"),
        ({"all.tar.gz": b"\x1f\x8b\x08 cut off"}, "all.tar.gz: damaged or cut off"),
        ({"mine/train/a/0.png": png(), "mine/test/a/0.png": png()}, "mine/: the only folder; move what is in it up"),
        ({}, "no pictures; expected folders a class, or a CSV"),
        ({"train/a/0.png": png(), "test/a/0.png": png()}, "1 class (a); expected two or more"),
        (
            {"train/a/0.png": png(), "train/b/0.png": png()},
            "train/: named like a split; expected both train/ and test/, in small letters, or neither",
        ),
        (
            {f"{s}/{c}/0.png": png() for s in ("train", "test") for c in "ab"} | {"c/0.png": png()},
            "two layouts at once",
        ),
        (
            {f"{c}/{i}.png": png() for c in "ab" for i in range(3)} | {"c/0.png": png()},
            "class 'c' has 1 image: too few",
        ),
        ({f"train/{c}/0.png": png() for c in "ab"} | {"test/c/0.png": png()}, "class 'c' has no training images"),
        ({f"{c}/{i}.png": png() for c in "ab" for i in range(3)} | {"x.png": png()}, "x.png: beside the folders"),
        ({f"train/{c}/0.png": png() for c in "ab"} | {"test/x.png": png()}, "test/x.png: outside of the class folders"),
        ({"source.yaml": "image_sise: [2, 2]\n"}, "image_sise is not a known key; did you mean image_size?"),
        (
            {"source.yaml": "class_names: [a]\n", "a/0.png": png(), "b/0.png": png()},
            "label 'b' is no class; expected one of a",
        ),
        (
            {"source.yaml": "class_names: [a, b]\n", "l.csv": "0.png,0\n1.png,2\n", "0.png": png(), "1.png": png()},
            "1.png: label '2' is no class; expected one of a, b",
        ),
        (
            {"source.yaml": "class_names: [a, a]\n"},
            "class_names is ['a', 'a']; 'a' stands twice; expected each class once",
        ),
        ({"source.yaml": "torchvison: MNIST\n"}, "torchvison is not a known key; did you mean torchvision?"),
        (
            {"source.yaml": "torchvision: FakeData\ntrain: {}\ntest: {}\n", "a/0.png": png()},
            "two layouts at once: source.yaml names a class of torchvision, and beside it is a; keep one",
        ),
        ({"source.yaml": "image_size: [0, 5]\n"}, "image_size.0 is 0; expected"),
        ({"source.yaml": "image_size: [5, 10001]\n"}, "image_size.1 is 10001; expected a number of at most 10000"),
        ({"source.yaml": "class_names: [2024-13-45, b]\n"}, "source.yaml: not valid YAML: month must be in 1..12"),
        ({"source.yaml": "class_names: " + "[" * 3000}, "source.yaml: not valid YAML: nested too deeply"),
        ({"source.yaml": "split_seed: " + "9" * 5000}, "source.yaml: not valid YAML: "),
        (
            {"source.yaml": 'class_names: ["\u00e9", "e\u0301"]\n'},
            "'\u00e9' stands twice; expected each class once",
        ),
        ({"source.yaml": "test_fraction: 1.5\n"}, "test_fraction is 1.5; expected"),
        ({"source.yaml": "torchvision: MNIST\nimage_size: [2, 2]\n"}, "image_size is not a known key"),
    ],
)
def test_wrong_layout_is_named(folder, files, expected):
    """What came, what was expected."""
    for name, content in files.items():
        put(folder, name, content)
    assert expected in problems_of(folder)


def test_empty_class_folder_is_a_problem(folder):
    """It may be a forgotten class."""
    tree(folder, "a", "b")
    (folder / "c").mkdir()
    assert "c/: no pictures; add some or remove the folder" in problems_of(folder)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "not a picture that can be read"),
        (b"text", "not a picture that can be read"),
        (png(1, (50, 50))[:-30], "bad.png: "),
        (png()[:16] + bytes(4) + png()[20:], "bad.png: "),
    ],
)
def test_bad_picture_is_named(folder, content, expected):
    """Empty, of another kind, cut off, of zero width."""
    tree(folder, "a", "b")
    put(folder, "a/bad.png", content)
    message = problems_of(folder)
    assert "mine: 1 problem; nothing was written" in message
    assert "a/bad.png: " in message
    assert expected in message


def test_decompression_bomb_is_refused(folder, monkeypatch):
    """By its size, before it is decoded."""
    tree(folder, "a", "b")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    put(folder, "a/bomb.png", png(0, (50, 50)))
    assert "a/bomb.png: more than 100 pixels" in problems_of(folder)


def test_pictures_of_several_sizes_need_a_stated_one(folder):
    """The two commonest are named."""
    tree(folder, "a", "b", count=3)
    put(folder, "a/x.png", png(0, (9, 8)))
    message = problems_of(folder)
    assert "pictures of 2 sizes: 6 of 3x4 pixels (height x width), 1 of 8x9; state one" in message
    assert "image_size: [3, 4]" in message


@pytest.mark.parametrize("name", ["../x.png", "/x.png", "a/../../x.png", "link"])
def test_archive_member_that_leaves_the_archive_is_refused(folder, name):
    """In either kind; a symbolic link, too."""
    link = name == "link"
    with zipfile.ZipFile(folder / "all.zip", "w") as archive:
        member = zipfile.ZipInfo(name)
        member.external_attr = (stat.S_IFLNK if link else stat.S_IFREG) << 16
        archive.writestr(member, "../../outside" if link else png())
    assert f"member {name} leads out of the archive" in problems_of(folder)
    (folder / "all.zip").unlink()
    with tarfile.open(folder / "all.tar", "w") as archive:
        member = tarfile.TarInfo(name)
        if link:
            member.type, member.linkname = tarfile.SYMTYPE, "../../outside"
        archive.addfile(member)
    assert f"member {name} leads out of the archive" in problems_of(folder)


def test_hidden_files_of_an_archive_are_ignored(folder):
    """Such as those that macOS puts beside the one folder."""
    with zipfile.ZipFile(folder / "all.zip", "w") as archive:
        for i in range(4):
            archive.writestr(f"flowers/{'ab'[i % 2]}/{i}.png", png(i))
        for name in ("__MACOSX/flowers/a/._0.png", ".DS_Store", "flowers/.DS_Store", "flowers/a/Thumbs.db"):
            archive.writestr(name, "x")
    assert load(folder)[0] == ("a", "b")


@pytest.mark.parametrize(
    ("kind", "target"),
    [
        (tarfile.LNKTYPE, "../../outside"),
        (tarfile.LNKTYPE, "/etc/passwd"),
        (tarfile.SYMTYPE, "/etc/passwd"),
        (tarfile.CHRTYPE, ""),
        (tarfile.BLKTYPE, ""),
        (tarfile.FIFOTYPE, ""),
    ],
)
def test_archive_member_that_is_no_file_is_refused(folder, kind, target):
    """Hard and symbolic links out of it, devices, pipes."""
    with tarfile.open(folder / "all.tar", "w") as archive:
        member = tarfile.TarInfo("a/0.png")
        member.type, member.linkname = kind, target
        archive.addfile(member)
    assert "member a/0.png leads out of the archive or is no file; leave it out" in problems_of(folder)


def test_tar_with_a_link_to_no_member_is_refused(folder):
    """A hard link to what isn't there, of which tarfile has an error of its own."""
    with tarfile.open(folder / "all.tar", "w") as archive:
        member = tarfile.TarInfo("a/0.png")
        member.type, member.linkname = tarfile.LNKTYPE, "a/1.png"
        archive.addfile(member)
    assert "all.tar: damaged or cut off" in problems_of(folder)


def test_tar_with_two_members_of_one_name_is_refused(folder):
    """One would silently replace the other."""
    with tarfile.open(folder / "all.tar", "w") as archive:
        for _ in range(2):
            archive.addfile(tarfile.TarInfo("a/0.png"))
    assert "member a/0.png stands twice; expected once" in problems_of(folder)


def test_archive_that_this_system_cannot_hold_is_not_called_damaged(folder):
    """A name that is too long here; a full disk ends the same way."""
    with zipfile.ZipFile(folder / "all.zip", "w") as archive:
        archive.writestr(f"a/{'x' * 300}.png", png())
    message = problems_of(folder)
    assert "x.png: file name too long" in message
    assert "damaged" not in message


def test_zip_with_backslashes_is_read(folder):
    """Some programs of Windows write them in place of slashes."""
    with zipfile.ZipFile(folder / "all.zip", "w") as archive:
        for i in range(4):
            member = zipfile.ZipInfo()
            member.filename = f"{'ab'[i % 2]}\\{i}.png"
            archive.writestr(member, png(i))
    assert load(folder)[0] == ("a", "b")


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz"])
@pytest.mark.parametrize("part", ["half", "without its end"])
def test_archive_that_is_cut_off_is_refused(folder, tmp_path, kind, part):
    """A tar file also where the cut lies between two members, which tarfile takes for the end."""
    tree(tmp_path / "whole", "a", "b", count=20)
    name = shutil.make_archive(str(tmp_path / "all"), {"tar.gz": "gztar"}.get(kind, kind), tmp_path / "whole")
    content = Path(name).read_bytes()
    size = len(content) // 2
    if part == "without its end":
        with tarfile.open(name) if kind == "tar" else nullcontext() as archive:
            size = archive.getmembers()[-1].offset if kind == "tar" else len(content) - 8
    put(folder, f"all.{kind}", content[:size])
    assert f"all.{kind}: damaged or cut off" in problems_of(folder)


@pytest.mark.parametrize("damage", ["zeroed header", "two archives in a row"])
@pytest.mark.parametrize("kind", ["tar", "tar.gz"])
def test_tar_with_more_behind_its_end_is_refused(folder, tmp_path, kind, damage):
    """What stands there would be lost."""
    tree(tmp_path / "whole", "a", "b", count=20)
    name = shutil.make_archive(str(tmp_path / "all"), "tar", tmp_path / "whole")
    content = bytearray(Path(name).read_bytes())
    with tarfile.open(name) as archive:
        start = archive.getmembers()[20].offset
    if damage == "zeroed header":
        content[start : start + 1024] = bytes(1024)
    else:
        content = content * 2
    put(folder, f"all.{kind}", gzip.compress(content) if kind == "tar.gz" else bytes(content))
    message = problems_of(folder)
    assert f"all.{kind}: damaged or cut off (more stands behind the end of the archive); get it again" in message


class UnflaggedInfo(zipfile.ZipInfo):
    """A member whose name is UTF-8 without the flag that says so, as Linux's zip and macOS write it."""

    encoding = "utf-8"

    def _encodeFilenameFlags(self):  # noqa: N802
        return self.filename.encode(self.encoding), self.flag_bits & ~0x800


def test_zip_with_unflagged_utf_8_names_is_read(folder):
    """Python by itself takes them for CP437."""
    with zipfile.ZipFile(folder / "all.zip", "w") as archive:
        for i in range(4):
            archive.writestr(UnflaggedInfo(f"{'éお'[i % 2]}/{i}.png"), png(i))
    assert load(folder)[0] == ("é", "お")


def test_zip_with_names_in_another_encoding_is_refused(folder, monkeypatch):
    """Which one, nothing says."""
    monkeypatch.setattr(UnflaggedInfo, "encoding", "cp932")
    with zipfile.ZipFile(folder / "all.zip", "w") as archive:
        archive.writestr(UnflaggedInfo("お/0.png"), png())
    message = problems_of(folder)
    assert r"member b'\x82\xa8/0.png': a name that isn't UTF-8; pack it again with UTF-8 names" in message


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_member_that_is_a_file_and_a_folder_is_named(folder, kind):
    """By its name in the archive."""
    for name in ("a", "a/0.png"):
        if kind == "zip":
            with zipfile.ZipFile(folder / "all.zip", "a") as archive:
                archive.writestr(name, png())
        else:
            with tarfile.open(folder / "all.tar", "a") as archive:
                archive.addfile(tarfile.TarInfo(name))
    message = problems_of(folder)
    assert re.search(rf"all.{kind}: member a(/0.png)?: a file and a folder of one name; rename one of them", message)


def zip_with_header(offset: int, value: int) -> bytes:
    """An archive of one picture with a byte of its header set, and its twin in the archive's list, two bytes on."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a/0.png", png())
    content = bytearray(buffer.getvalue())
    for signature, place in ((b"PK\x03\x04", offset), (b"PK\x01\x02", offset + 2)):
        content[content.index(signature) + place] = value
    return bytes(content)


def test_zip_with_an_uncommon_compression_is_refused(folder):
    """Its number is 97."""
    put(folder, "all.zip", zip_with_header(8, 97))
    message = problems_of(folder)
    assert "pack it with the common compression, deflate" in message
    assert "password" not in message


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_archive_that_the_disk_cannot_hold_is_refused(folder, tmp_path, monkeypatch, kind):
    """Before it is filled."""
    tree(tmp_path / "whole", "a", "b")
    put(tmp_path / "whole", "a/big.png", bytes(5000))
    shutil.move(shutil.make_archive(str(tmp_path / "all"), kind, tmp_path / "whole"), folder)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=4000))
    message = problems_of(folder)
    assert re.search(r"takes 5,[0-9]{3} bytes unpacked, and 4,000 are free on the disk; make room", message)


def test_zip_with_two_members_of_one_name_is_refused(folder):
    """One would silently replace the other."""
    with zipfile.ZipFile(folder / "all.zip", "w") as archive:
        archive.writestr("a/0.png", png(1))
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("a/0.png", png(2))
        archive.writestr("./b//0.png", png(1))
        archive.writestr("b/0.png", png(2))
    message = problems_of(folder)
    assert "member a/0.png stands 2 times; expected once" in message
    assert "member b/0.png stands 2 times; expected once" in message


def test_zip_with_a_password_is_refused(folder):
    """The lowest flag is that of encryption."""
    put(folder, "all.zip", zip_with_header(6, 1))
    assert "pack it without a password" in problems_of(folder)


def test_numbers_may_stand_for_class_names(folder):
    """T4's CSV has numbers; source.yaml says what they mean."""
    for i in range(6):
        put(folder, f"{i}.png", png(i))
    put(folder, "train.csv", "0.png,2\n1.png,0\n2.png,1\n")
    put(folder, "test.csv", "3.png,2\n4.png,0\n5.png,1\n")
    put(folder, "source.yaml", "class_names: [shirt, dress, bag]\n")
    class_names, _, splits = load(folder)
    assert class_names == ("shirt", "dress", "bag")
    assert splits["train"][1] == [2, 0, 1]


def test_pictures_without_a_row_are_left_out_with_a_warning(folder, capsys):
    """Where others of their folder have one; hidden ones and DVC's files aren't worth a word."""
    for i in range(5):
        put(folder, f"images/{i}.png", png(i))
    put(folder, "images/.hidden.png", png())
    put(folder, "images.dvc", "outs:")
    put(folder, "train.csv", "images/0.png,a\nimages/1.png,b\n")
    put(folder, "test.csv", "images/2.png,a\n")
    load(folder)
    expected = "warning: test.csv and train.csv: pictures without a row are left out: 2, such as images/3.png\n"
    assert expected in capsys.readouterr().out


def test_links_of_dvc_are_followed(folder, tmp_path):
    """With cache.type symlink, every file is a link into DVC's cache."""
    tree(folder, "a", "b")
    for path in sorted(folder.rglob("*.png")):
        target = tmp_path / "cache/files/md5/ab" / hashlib.md5(path.read_bytes()).hexdigest()[2:]
        target.parent.mkdir(parents=True, exist_ok=True)
        path.rename(target)
        path.symlink_to(target)
    assert len(load(folder)[2]["train"][0]) == 8


def test_link_to_a_folder_outside_is_refused(folder, tmp_path):
    """And nothing there is read."""
    tree(folder, "a", "b")
    tree(tmp_path / "outside", "c")
    (folder / "c").symlink_to(tmp_path / "outside/c")
    assert "c/0.png: a link out of the dataset's folder; put the file itself there" in problems_of(folder)


@pytest.mark.parametrize("name", ["labels.csv", "all.zip"])
def test_link_to_a_csv_or_an_archive_outside_is_refused(folder, tmp_path, name):
    """And nothing there is read."""
    (folder / name).symlink_to(put(tmp_path, "outside", "secret,a,b,c"))
    message = problems_of(folder)
    assert f"{name}: a link out of the dataset's folder; put the file itself there" in message


def test_what_is_no_file_is_named(folder):
    """A pipe, which would be waited on forever, and links that lead nowhere or in a circle."""
    tree(folder, "a", "b")
    os.mkfifo(folder / "a/pipe.png")
    (folder / "a/circle.png").symlink_to("circle.png")
    (folder / "a/nowhere.png").symlink_to("none.png")
    message = problems_of(folder)
    assert "mine: 3 problems" in message
    assert "a/pipe.png: not a file; remove it" in message
    assert "a/circle.png: too many levels of symbolic links" in message
    assert "a/nowhere.png: no such file or directory" in message


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


def test_letters_composed_and_decomposed_are_the_same(folder):
    """Some systems keep names in one form, some in the other."""
    composed, decomposed = "\u00e9", "e\u0301"
    for name, letter in (("train", composed), ("test", decomposed)):
        tree(folder, letter, "b", split=f"{name}/", count=2)
    assert load(folder)[0] == ("b", composed)
    rows = "".join(f"train/{decomposed}/{i}.png,{letter}\n" for i, letter in ((0, composed), (2, decomposed)))
    put(folder, "train.csv", rows + "train/b/1.png,b\n")
    put(folder, "test.csv", f"test/{composed}/0.png,{composed}\n")
    assert load(folder, "by CSV")[2]["train"][1] == [1, 1, 0]


def test_name_that_is_no_text_is_named(folder):
    """In another encoding than UTF-8, as old archives have them."""
    tree(folder, "a", "b")
    try:
        put(folder, "a/" + os.fsdecode(b"\xff.png"), png())
    except OSError:
        pytest.skip("this file system takes UTF-8 alone")
    assert r"b'a/\xff.png': a name that isn't UTF-8; rename it" in problems_of(folder)


def test_several_sizes_are_told_with_the_other_problems(folder):
    """In one pass; of sizes as common, the smaller first, whatever the order."""
    for i, size in enumerate([(9, 8), (4, 3), (9, 8), (4, 3), (7, 7)]):
        put(folder, f"{'ab'[i % 2]}/{i}.png", png(i, size))
    put(folder, "c/0.png", b"")
    message = problems_of(folder)
    assert "mine: 3 problems" in message
    assert "class 'c' has 1 image" in message
    assert "c/0.png: not a picture" in message
    assert "pictures of 3 sizes: 2 of 3x4 pixels (height x width), 2 of 8x9, ...; state one" in message


def test_order_of_names_and_classes():
    """Numbers by value, in names and among labels that are all numbers."""
    assert sorted(["10.png", "2.png", "a.png", "1b.png"], key=natural_key) == ["1b.png", "2.png", "10.png", "a.png"]
    assert sorted_classes({"10", "9", "0"}) == ("0", "9", "10")
    assert sorted_classes({"10.0", "9.5", "-1"}) == ("-1", "9.5", "10.0")
    assert sorted_classes({"10", "9", "x"}) == ("10", "9", "x")
