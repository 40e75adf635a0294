"""Which layout a folder has, and what in it belongs to the dataset."""

import hashlib
import os

import pytest

from tests.image_files import greys, load, png, problems_of, put, put_classes, put_images


def test_hidden_files_are_ignored(folder):
    """The system's own aren't part of anybody's dataset."""
    put_classes(folder, "a", "b")
    for name in (".DS_Store", "a/Thumbs.db", "a/.hidden.png", ".git/config", "desktop.ini", "__MACOSX/a/0.png"):
        put(folder, name, "x")
    assert load(folder)[0] == ("a", "b")


@pytest.mark.parametrize("name", [".git/a.txt", ".ipynb_checkpoints/a-checkpoint.ipynb", ".dvc/cache/._a.png"])
def test_hidden_folder_without_images_is_ignored(folder, name):
    """Next to the classes."""
    put_classes(folder, "a", "b")
    put(folder, name, "x")
    assert load(folder)[0] == ("a", "b")


def test_images_without_a_row_are_left_out_with_a_warning(folder, capsys):
    """Where others of their folder have one; hidden ones and DVC's files aren't worth a word."""
    put_images(folder, 5, "images/")
    put(folder, "images/.hidden.png", png())
    put(folder, "images.dvc", "outs:")
    put(folder, "train.csv", "images/0.png,a\nimages/1.png,b\n")
    put(folder, "test.csv", "images/2.png,a\n")
    load(folder)
    expected = "warning: test.csv and train.csv: images without a row are left out: 2, such as images/3.png\n"
    assert expected in capsys.readouterr().out


def test_links_of_dvc_are_followed(folder, tmp_path):
    """With cache.type symlink, every file is a link into DVC's cache."""
    put_classes(folder, "a", "b")
    for path in sorted(folder.rglob("*.png")):
        target = tmp_path / "cache/files/md5/ab" / hashlib.md5(path.read_bytes()).hexdigest()[2:]
        target.parent.mkdir(parents=True, exist_ok=True)
        path.rename(target)
        path.symlink_to(target)
    assert len(load(folder)[2]["train"][0]) == 8


def test_link_to_a_folder_outside_is_refused(folder, tmp_path):
    """And nothing there is read."""
    put_classes(folder, "a", "b")
    put_classes(tmp_path / "outside", "c")
    (folder / "c").symlink_to(tmp_path / "outside/c")
    assert "c/0.png: a link out of the dataset's folder; put the file itself there" in problems_of(folder)


@pytest.mark.parametrize("name", ["labels.csv", "all.zip"])
def test_link_to_a_csv_or_an_archive_outside_is_refused(folder, tmp_path, name):
    """And nothing there is read."""
    (folder / name).symlink_to(put(tmp_path, "outside", "secret,a,b,c"))
    message = problems_of(folder)
    assert f"{name}: a link out of the dataset's folder; put the file itself there" in message


def test_what_is_not_a_file_is_named(folder):
    """A pipe, which would be waited on forever, and links that lead nowhere or in a circle."""
    put_classes(folder, "a", "b")
    os.mkfifo(folder / "a/pipe.png")
    (folder / "a/circle.png").symlink_to("circle.png")
    (folder / "a/nowhere.png").symlink_to("none.png")
    message = problems_of(folder)
    assert "mine: 3 problems" in message
    assert "a/pipe.png: not a file; remove it" in message
    assert "a/circle.png: too many levels of symbolic links" in message
    assert "a/nowhere.png: no such file or directory" in message


def test_letters_composed_and_decomposed_are_the_same(folder):
    """Some systems keep names in one form, some in the other."""
    composed, decomposed = "\u00e9", "e\u0301"
    for name, letter in (("train", composed), ("test", decomposed)):
        put_classes(folder, letter, "b", split=f"{name}/", count=2)
    assert load(folder)[0] == ("b", composed)
    rows = "".join(f"train/{decomposed}/{i}.png,{letter}\n" for i, letter in ((0, composed), (2, decomposed)))
    put(folder, "train.csv", rows + "train/b/1.png,b\n")
    put(folder, "test.csv", f"test/{composed}/0.png,{composed}\n")
    assert load(folder, "by CSV")[2]["train"][1] == [1, 1, 0]


def test_name_that_is_not_text_is_named(folder):
    """In another encoding than UTF-8, as old archives have them."""
    put_classes(folder, "a", "b")
    try:
        put(folder, "a/" + os.fsdecode(b"\xff.png"), png())
    except OSError:
        pytest.skip("this file system takes UTF-8 alone")
    assert r"b'a/\xff.png': a name that isn't UTF-8; rename it" in problems_of(folder)


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (
            {"labels.csv": "a/0.png,x\na/1.png,y\n"} | {f"{c}/{i}.png": png() for c in "ab" for i in range(2)},
            "two layouts at once: labels.csv, and images in b/ that no row lists",
        ),
        ({"a.csv": "", "b.csv": ""}, "two layouts at once: a.csv, b.csv"),
        (
            {"Train.csv": "0.png,a\n", "train.csv": "1.png,a\n", "test.csv": "2.png,a\n"},
            "two layouts at once: Train.csv, test.csv, train.csv; expected one CSV, or one per split",
        ),
        ({"train.csv": "x.png,a,test\n", "other.csv": ""}, "two layouts at once"),
        ({"all.zip": "x", "a/0.png": "x"}, "two layouts at once: all.zip, and next to it a"),
        ({"a.zip": b"", "b.zip": b""}, "two layouts at once: a.zip, b.zip; expected one archive, or one per split"),
        ({"train.zip": b"", "training.zip": b""}, "two layouts at once: train.zip, training.zip; expected one archive"),
        ({"val.zip": b"", "test.zip": b""}, "two layouts at once: test.zip, val.zip; expected one archive"),
        (
            {"all.7z": b"7z\xbc\xaf"},
            "all.7z: a 7-Zip archive; unpack it, or pack it as .zip or .tar",
        ),
        ({}, "no images; expected one folder per class, or a CSV"),
        (
            {f"{s}/{c}/0.png": png() for s in ("train", "test") for c in "ab"} | {"c/0.png": png()},
            "two layouts at once",
        ),
    ],
)
def test_wrong_layout_is_named(folder, files, expected):
    """What was found, and what was expected."""
    for name, content in files.items():
        put(folder, name, content)
    assert expected in problems_of(folder)


def test_table_that_lists_no_images_next_to_folders_of_classes(folder):
    """The message has the line for source.yaml that leaves it out."""
    put_classes(folder, "a", "b")
    put(folder, "colours.csv", "name,hex\nred,#f00\nblue,#00f\n")
    expected = (
        "without colours.csv, the folders are 2 classes, a, b: if they are meant, say exclude: [colours.csv] in "
        "source.yaml"
    )
    assert expected in problems_of(folder)
    put(folder, "source.yaml", "exclude: [colours.csv]")
    assert load(folder)[0] == ("a", "b")


@pytest.mark.parametrize("pattern", ["c", "c/", "c/*", "'*/*.jpg'", "[0.jpg, c]"])
def test_what_source_yaml_excludes_is_left_out(folder, pattern):
    """Folders and files, by their names or paths."""
    put_classes(folder, "a", "b")
    put(folder, "c/0.jpg", "damaged")
    put(folder, "source.yaml", f"exclude: [{pattern.strip('[]')}]")
    if pattern in ("c/*", "'*/*.jpg'"):
        assert "c/: no images" in problems_of(folder)
    else:
        assert load(folder)[0] == ("a", "b")


def test_exclude_that_matches_nothing_is_refused(folder):
    """What was misspelt would be a class. A name with brackets is itself, not a pattern."""
    put_classes(folder, "a", "b", "old[1]")
    put(folder, "source.yaml", "exclude: ['old[2]', old, 'old[1]', A, a/x.png]")
    assert "exclude: ['old[2]', old, A, a/x.png] in source.yaml matches nothing; expected na" in problems_of(folder)
    put(folder, "source.yaml", "exclude: ['old[1]', old*]")
    assert load(folder)[0] == ("a", "b")


def test_hidden_folder_of_a_split_is_refused(folder):
    """Its images would be left out in silence, and others held out for the test."""
    put_classes(folder, "a", "b", split="train/")
    put_classes(folder, "a", "b", split=".test/")
    assert ".test/: a hidden folder with images; rename it without the dot, or remove it" in problems_of(folder)


@pytest.mark.parametrize("images", ["", "images/"])
def test_tables_in_the_splits_folders_are_read(folder, images):
    """Whatever they are called, and whether their images are next to them or in one folder."""
    for split, start in (("train", 0), ("test", 4)):
        for i in range(start, start + 4):
            put(folder, f"{split}/{images}{i}.png", png(i))
        rows = (f"{i}.png,{'ab'[i % 2]}\n" for i in range(start, start + 4))
        put(folder, f"{split}/labels.csv", "file,label\n" + "".join(rows))
    class_names, _, splits = load(folder)
    assert class_names == ("a", "b")
    for images_of, labels in splits.values():
        assert [grey % 2 for grey in greys(images_of)] == labels
    assert [len(labels) for _, labels in splits.values()] == [4, 4]


def test_one_column_per_class_in_the_splits_folders_is_named(folder):
    """As Roboflow writes _classes.csv: the message is about that table."""
    for split in ("train", "test"):
        put_images(folder, 4, f"{split}/")
        rows = (f"{i}.png,{i % 2},{1 - i % 2}\n" for i in range(4))
        put(folder, f"{split}/_classes.csv", "filename,a,b\n" + "".join(rows))
    assert "_classes.csv: columns a, b have one 1 or True per row" in problems_of(folder)


def test_table_in_a_splits_folder_of_classes_is_no_list(folder, capsys):
    """The folders say what the classes are, and a line says that the table isn't read."""
    for split in ("train/", "test/"):
        put_classes(folder, "a", "b", split=split)
        rows = (f"{'ab'[i % 2]}/{i}.png,{i // 5}\n" for i in range(10))
        put(folder, f"{split}sizes.csv", "file,kind\n" + "".join(rows))
    assert load(folder)[0] == ("a", "b")
    assert "not images, passed over: test/sizes.csv, train/sizes.csv" in capsys.readouterr().out
