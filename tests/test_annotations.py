"""CSV files of file names and labels."""

import pytest

from tests.image_files import greys, load, png, problems_of, put, put_images


@pytest.mark.parametrize("header", ["", "filepath,label\n", "\ufeffFile Name,Label\r\n"])
def test_one_annotations_csv(folder, header):
    """T4's, with or without a header, a byte-order mark, CRLF; paths from the dataset's folder."""
    put_images(folder, 8, "images/")
    put(folder, "annotations.csv", header + "".join(f'"images/{i}.png",{i % 2}\r\n' for i in range(8)))
    class_names, _, splits = load(folder)
    assert class_names == ("0", "1")
    assert sorted(greys(splits["train"][0]) + greys(splits["test"][0])) == list(range(8))
    assert splits["train"][1] == [grey % 2 for grey in greys(splits["train"][0])]


def test_csv_with_a_split_column_keeps_the_rows_order(folder):
    """Columns by their names, in any order; others are allowed."""
    put_images(folder, 4)
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
    put_images(folder, 4)
    put(folder, "LABELS.CSV", "0.png,a,train\n1.png,b,train\n2.png,a,test\n3.png,b,test\n")
    splits = load(folder)[2]
    assert (greys(splits["train"][0]), greys(splits["test"][0])) == ([0, 1], [2, 3])


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
    put_images(folder, 5)
    put(tmp_path, "outside.png", png())
    (folder / "link.png").symlink_to(tmp_path / "outside.png")
    put(folder, "labels.csv", "0.png,a\n1.png,a\n2.png,b\n3.png,b\n" + rows)
    assert expected in problems_of(folder)


def test_file_listed_twice_alike_is_a_warning(folder, capsys):
    """It is used once."""
    put_images(folder, 4)
    put(folder, "labels.csv", "0.png,a\n1.png,a\n2.png,b\n3.png,b\n0.png,a\n")
    splits = load(folder)[2]
    assert len(splits["train"][0]) + len(splits["test"][0]) == 4
    assert "warning: labels.csv:5: 0.png is listed twice" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"labels.csv": ""}, "labels.csv: empty; expected one row per image"),
        ({"labels.csv": "path,label\n"}, "labels.csv: a header without rows"),
        ({"labels.csv": "ä.png,ä\n".encode("latin-1")}, "labels.csv: not UTF-8 text (byte 0); it looks like cp1252"),
        (
            {"labels.csv": "꽃.png,꽃\n".encode("cp949")},
            "it looks like cp949: say encoding: cp949 in source.yaml, or save it as UTF-8",
        ),
        ({"labels.csv": "はな.png,はな\n".encode("cp932")}, "it looks like cp932: say encoding: cp932 in source.yaml"),
        *(
            (
                {"labels.csv": "a.png,a\n".encode(code)},
                "labels.csv: not UTF-8 text (it has zero bytes); it looks like UTF-16",
            )
            for code in ("utf-16-le", "utf-16-be", "utf-32-le")
        ),
        ({"labels.csv": "file;label\na.png;a\n"}, "labels.csv:2: a.png: no such file"),
        (
            {"labels.csv": "image,label,category\na.png,a,x\n"},
            "labels.csv:1: columns label and category may each be the label; name one in source.yaml, label_column",
        ),
        ({"labels.csv": "a.png,a,x\na.png,a,test\n", "a.png": png()}, "labels.csv:1: split 'x'; expected train, valid"),
        (
            {"train.csv": "a.png,a\nb.png,b\n", "test.csv": "a.png,a\n", "a.png": png(), "b.png": png()},
            "test.csv:1: a.png is listed for both train and test; remove one row",
        ),
        ({"labels.csv": '"a.png,x\n'}, "labels.csv:1: not a row of a CSV file"),
        (
            {"labels.csv": "id,breed,age\na,x,1\nb,y,2\n", "a.png": png(), "b.png": png()},
            "labels.csv: the columns are 'id', 'breed', 'age'; none is called label, labels, class,",
        ),
        (
            {"labels.csv": "photo,breed,age\nx.png,a,1\ny.png,b,2\n"},
            "labels.csv: the columns are 'photo', 'breed', 'age'; none is called file, filename, file_name,",
        ),
        (
            {"labels.csv": "file,cat,dog\n" + "a.png,1,0\nb.png,0,1\n", "a.png": png(), "b.png": png()},
            "labels.csv: columns cat, dog have one 1 or True per row; expected one column, label, with the one class",
        ),
        (
            {"labels.csv": "file,cat,dog\n" + "a.png,1,0\nb.png,1,1\n", "a.png": png(), "b.png": png()},
            "labels.csv: columns cat, dog have 0 and 1, or True and False, alone; expected one column, label",
        ),
        (
            {"train.csv": "a.png,a\nb.png,b\n", "val.csv": "a.png,a\nb.png,b\n", "a.png": png(), "b.png": png()},
            "val.csv:1: a.png is listed for both train and validation; remove one row (2 rows with a file of another",
        ),
        (
            {"labels.csv": "a.png,x\nb.png,y\nc.png,x|y\n"} | {f"{name}.png": png() for name in "abc"},
            "labels.csv:3: several labels in one cell, 'x|y'; expected one class per image",
        ),
        (
            {"labels.csv": "a.png,x\nb.png,x|y\nc.png,x;z\n"} | {f"{name}.png": png() for name in "abc"},
            "labels.csv:2: several labels in one cell, 'x|y'; expected one class per image; if it is one class,",
        ),
        (
            {"labels.csv": "a.png,['x']\nb.png,\"['y', 'z']\"\n"} | {f"{name}.png": png() for name in "ab"},
            """labels.csv:2: several labels in one cell, "['y', 'z']"; expected one class per image""",
        ),
        (
            {"labels.csv": "none.png,z\na.png,x\nb.png,y\n"} | {f"{name}.png": png() for name in "ab"},
            "labels.csv:1: none.png: no such file",
        ),
        (
            {"labels.csv": "none,x\na,x\nb,y\nc,y\n"} | {f"{name}.png": png() for name in "abc"},
            "labels.csv:1: none: no such file",
        ),
        (
            {"labels.csv": "".join(f"{i}.png,a\n" for i in range(5)), "0.png": png()},
            "labels.csv:2: 1.png: no such file in the dataset's folder (4 rows with no such file)",
        ),
        (
            {"labels.csv": "".join(f"{i}.png,{(i % 2, 'NaN')[i > 2]}\n" for i in range(5))}
            | {f"{i}.png": png() for i in range(5)},
            "labels.csv:4: no label (NaN); fill it in or remove the row (2 rows with no label)",
        ),
        ({"labels.csv": f"{'x' * 300}.png,x\n"}, "x.png: no such file"),
    ],
)
def test_wrong_csv_is_named(folder, files, expected):
    """File, line, what was found and what was expected."""
    for name, content in files.items():
        put(folder, name, content)
    assert expected in problems_of(folder)


def listed(header, row, names=None):
    """A table of eight images, four of each class."""
    names = names or [f"{i}.png" for i in range(8)]
    return "\n".join([*([header] if header else []), *(row.format(name, i % 2) for i, name in enumerate(names))]) + "\n"


TABLES = {
    "semicolons": listed("file;label", "images/{};{}"),
    "tabs": listed("file\tlabel", "images/{}\t{}"),
    "stated separator": "sep=;\r\n" + listed("file;label", "images/{};{}"),
    "separator in names": listed("file,label", '"images/{}",{}'),
    "spaces before quotes": listed("file, label", '"images/{}", "{}"'),
    "a trailing comma": listed("file,label,", "images/{},{},"),
    "a trailing comma after the header": listed("file,label", "images/{},{},"),
    "a trailing comma in the first row": listed("file,label,,", "images/{},{}"),
    "an index without a header": "".join(f"{i},images/{i}.png,{i % 2}\n" for i in range(8)),
    "numbers as names": "".join(f"{i},{i % 2}\n" for i in range(8)),
    "an extension in capitals": listed("file,label", "{},{}", [f"{i}.PNG" for i in range(8)]),
    "rows of commas": listed("file,label", "images/{},{}") + ",\n,,\n".replace(",,", ","),
    "an index that the header doesn't name": '"file","label"\n'
    + "".join(f'"{i + 1}","images/{i}.png",{i % 2}\n' for i in range(8)),
    "an index": listed(",file,label", "0,images/{},{}"),
    "names without their folder": listed("file,label", "{},{}"),
    "names without their extension": listed("id,label", "{},{}", [str(i) for i in range(8)]),
    "a prefix": listed("file,label", "../data/{},{}"),
    "backslashes": listed("file,label", "C:\\photos\\{},{}"),
    "unknown names of columns": listed("photo,breed", "images/{},{}"),
    "image_id": listed("image_id,label", "{},{}"),
    "no header": listed("", "images/{},{}"),
    "capitals": listed("FileName,Class", "images/{},{}"),
    "UTF-16": listed("file,label", "images/{},{}").encode("utf-16"),
}


@pytest.mark.parametrize("name", TABLES)
def test_tables_are_read_however_they_were_written(folder, name):
    """Eight images in two classes, each with its label."""
    for i in range(8):
        put(folder, f"images/{i}.png", png(i))
    put(folder, "labels.csv", TABLES[name])
    class_names, _, splits = load(folder)
    assert class_names == ("0", "1")
    for images, labels in splits.values():
        assert [grey % 2 for grey in greys(images)] == labels
    assert sum(len(labels) for _, labels in splits.values()) == 8


def test_how_names_are_read_is_said(folder, capsys):
    """Where they aren't the files' paths."""
    for i in range(4):
        put(folder, f"images/{i}.png", png(i))
    put(folder, "labels.csv", "".join(f"{i},{i % 2}\n" for i in range(4)))
    load(folder)
    note = "note: labels.csv: 4 of 4 names are found by the files' own names: 0 is images/0.png"
    assert note in capsys.readouterr().out


def test_names_that_may_be_two_files_are_not_guessed(folder):
    """Each folder has a 0.png."""
    for i in range(4):
        put(folder, f"{'ab'[i % 2]}/{i // 2}.png", png(i))
    put(folder, "labels.csv", "file,label\n0.png,x\n1.png,y\n")
    assert "labels.csv:2: 0.png: no such file in the dataset's folder; it may be a/0.png or b/0.png" in problems_of(
        folder
    )


@pytest.mark.parametrize("tables", [("train", "test"), ("train",)])
def test_names_are_looked_for_in_the_folder_of_the_tables_split(folder, tables):
    """Kaggle numbers the images of train/ and test/ from 0 each."""
    put_images(folder, 10, "train/")
    put_images(folder, 4, "test/")
    for name, count in zip(tables, (10, 4), strict=False):
        put(folder, f"{name}.csv", "id,label\n" + "".join(f"{i},{i % 2}\n" for i in range(count)))
    splits = load(folder)[2]
    assert {split: len(labels) for split, (_, labels) in splits.items()} == (
        {"train": 10, "test": 4} if "test" in tables else {"train": 8, "test": 2}
    )


def test_images_of_another_split_are_not_taken(folder):
    """Those of train/ are missing: the test's, which are numbered alike, have other labels."""
    put_images(folder, 4, "test/")
    put(folder, "train.csv", "image_id,label\n0,a\n1,b\n2,a\n3,b\n")
    assert "train.csv:2: 0: no such file in the dataset's folder (4 rows" in problems_of(folder)


def test_missing_files_are_distinguished_from_names_without_a_folder(folder):
    """Three of twelve are missing; the others are found."""
    put_images(folder, 9, "images/")
    put(folder, "labels.csv", "file,label\n" + "".join(f"{i}.png,{i % 2}\n" for i in range(12)))
    message = problems_of(folder)
    assert "mine: 1 problem" in message
    assert "labels.csv:11: 9.png: no such file in the dataset's folder (3 rows with no such file)" in message


@pytest.mark.parametrize("name", ["test", "test_images", "unlabelled"])
def test_images_without_a_row_in_a_folder_for_the_test_are_passed_over(folder, capsys, name):
    """Kaggle's have no labels; the images of another folder may be forgotten."""
    put_images(folder, 10, "train/")
    put(folder, f"{name}/x.png", png())
    put(folder, "train.csv", "file,label\n" + "".join(f"{i}.png,{i % 2}\n" for i in range(10)))
    load(folder, "first")
    assert f"note: {name}/: images that no row of train.csv lists; passed over" in capsys.readouterr().out
    put(folder, "more/x.png", png())
    assert "two layouts at once: train.csv, and images in more/ that no row lists" in problems_of(folder)


@pytest.mark.parametrize("label", ["NA", "None", "?"])
def test_label_that_may_be_none_is_a_warning(folder, capsys, label):
    """It may be a class, which source.yaml can say; it isn't one in silence."""
    put_images(folder, 9)
    put(folder, "labels.csv", "".join(f"{i}.png,{('a', 'b', label)[i % 3]}\n" for i in range(9)))
    load(folder)
    assert f"warning: class {label!r} may mean that there is no label" in capsys.readouterr().out
    put(folder, "source.yaml", f'class_names: [a, b, "{label}"]\n')
    load(folder, "again")
    assert "may mean" not in capsys.readouterr().out


def test_encoding_is_what_source_yaml_says(folder):
    """Excel in Korea writes cp949."""
    put_images(folder, 4)
    put(folder, "labels.csv", "".join(f"{i}.png,{'꽃나무'[i % 2]}\n" for i in range(4)).encode("cp949"))
    put(folder, "source.yaml", "encoding: cp949\n")
    assert load(folder, "first")[0] == ("꽃", "나")
    put(folder, "source.yaml", "encoding: klingon\n")
    assert "encoding is 'klingon'; expected an encoding that Python knows, such as cp949" in problems_of(folder)


@pytest.mark.parametrize("names", [("Train", "Valid", "Test"), ("training", "val", "testing")])
@pytest.mark.parametrize("form", ["column", "files"])
def test_validation_images_in_tables(folder, names, form):
    """In a split column and as a file of its own, under the usual names."""
    put_images(folder, 6)
    rows = [(f"{i}.png", i % 2, names[i // 2]) for i in range(6)]
    if form == "column":
        put(folder, "labels.csv", "file,label,split\n" + "".join(f"{f},{label},{split}\n" for f, label, split in rows))
    else:
        for name in names:
            content = "".join(f"{file},{label}\n" for file, label, split in rows if split == name)
            put(folder, f"{name}.csv", content)
    splits = load(folder)[2]
    assert {name: greys(images) for name, (images, _) in splits.items()} == {
        "train": [0, 1], "validation": [2, 3], "test": [4, 5]
    }  # fmt: skip


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_metadata_in_the_splits_folders(folder, kind):
    """As Hugging Face's ImageFolder has it: names from the table's own folder."""
    for split, count in (("train", 4), ("test", 2)):
        for i in range(count):
            put(folder, f"{split}/{i}.png", png(i))
        if kind == "csv":
            content = "file_name,label\n" + "".join(f"{i}.png,{'ab'[i % 2]}\n" for i in range(count))
        else:
            content = "".join(f'{{"file_name": "{i}.png", "label": "{"ab"[i % 2]}"}}\n' for i in range(count))
        put(folder, f"{split}/metadata.{kind}", content)
    class_names, _, splits = load(folder)
    assert class_names == ("a", "b")
    assert {name: labels for name, (_, labels) in splits.items()} == {"train": [0, 1, 0, 1], "test": [0, 1]}


def test_tables_without_labels_or_images_are_passed_over(folder, capsys):
    """Kaggle's test.csv, sample_submission.csv and a list of classes."""
    put_images(folder, 20)
    put(folder, "train.csv", "file,label\n" + "".join(f"{i}.png,{i % 2}\n" for i in range(16)))
    put(folder, "test.csv", "file\n" + "".join(f"{i}.png\n" for i in range(16, 20)))
    put(folder, "sample_submission.csv", "file,label\n16.png,0\n")
    put(folder, "sampleSubmission.csv", "id,label\n16,0\n")
    splits = load(folder)[2]
    assert {name: len(labels) for name, (_, labels) in splits.items()} == {"train": 12, "test": 4}
    out = capsys.readouterr().out
    assert "note: sampleSubmission.csv, sample_submission.csv: no list of images by its name; passed over" in out
    assert "note: test.csv: file names without labels; passed over" in out


@pytest.mark.parametrize(
    "labels",
    [
        ("Cat", "cat"),
        ("1", "01"),
        ("1", "1.0"),
        ("0", "00"),
        ("black cat", "black  cat"),
        ("cat", "cat\u200b"),
        ("\uff43at", "cat"),
    ],
)
def test_labels_that_look_alike_are_refused(folder, labels):
    """Nobody means two classes that differ in what can hardly be seen; who does, lists them."""
    put_images(folder, 8)
    rows = "".join(f"{i}.png,{(*labels, 'dog', 'dog')[i % 4]}\n" for i in range(8))
    put(folder, "labels.csv", rows)
    assert "differ in case, zeros, spaces or invisible characters alone; use one spelling" in problems_of(folder)
    listed = ", ".join(f'"{name}"' for name in (*labels, "dog"))
    put(folder, "source.yaml", f"class_names: [{listed}]\n")
    assert len(load(folder)[0]) == 3


def test_single_letters_differ_in_case(folder):
    """They are characters: EMNIST has a and A."""
    put_images(folder, 4)
    put(folder, "labels.csv", "".join(f"{i}.png,{'aA'[i % 2]}\n" for i in range(4)))
    assert load(folder)[0] == ("A", "a")


def test_table_and_its_column_are_what_source_yaml_says(folder):
    """The table is in a folder without images, and two of its columns may be the class."""
    for i in range(8):
        put(folder, f"images/{i}.png", png(i))
    put(
        folder,
        "data/legend.csv",
        "user,image,Emotion\n" + "".join(f"{i % 3},{i}.png,{'ab'[i % 2]}\n" for i in range(8)),
    )
    put(folder, "source.yaml", "table: data/legend.csv\nlabel_column: emotion\n")
    class_names, _, splits = load(folder)
    assert class_names == ("a", "b")
    assert splits["train"][1] == [grey % 2 for grey in greys(splits["train"][0])]


@pytest.mark.parametrize(
    ("description", "expected"),
    [
        ("table: data/legend.csv", "table: 'data/legend.csv' in source.yaml is not a file of the dataset"),
        ("table: ../labels.csv", "table: '../labels.csv' in source.yaml is not a file of the dataset"),
        ("label_column: mood", "labels.csv: label_column is 'mood'; the columns are 'image', 'dx', 'age'"),
        ("", "the columns are 'image', 'dx', 'age'; none is called label,"),
    ],
)
def test_wrong_table_or_column_is_named(folder, description, expected):
    """And the columns that there are."""
    put_images(folder, 4)
    put(folder, "labels.csv", "image,dx,age\n" + "".join(f"{i}.png,{'ab'[i % 2]},{30 + i % 2}\n" for i in range(4)))
    put(folder, "source.yaml", description)
    problems = problems_of(folder)
    assert expected in problems
    assert description or "or name it in source.yaml, label_column" in problems


@pytest.mark.parametrize("name", ["partition", "phase"])
def test_column_of_splits_is_kept_whatever_it_is_called(folder, name):
    """All of its cells name one."""
    put_images(folder, 8)
    rows = (f"{i}.png,{'ab'[i % 2]},{'train' if i < 6 else 'test'}\n" for i in range(8))
    put(folder, "labels.csv", f"file,label,{name}\n" + "".join(rows))
    assert greys(load(folder)[2]["test"][0]) == [6, 7]


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        (
            "file,label,is_test\n" + "".join(f"{i}.png,{'ab'[i % 2]},{int(i > 5)}\n" for i in range(8)),
            "column 'is_test'",
        ),
        (
            "".join(f'{i}.png,"{kinds}"\n' for i, kinds in enumerate(["A, B", "B, C", "A, C"] * 2)),
            "several labels in one",
        ),
        ("".join(f"{i}.png,{i / 10 + 0.05}\n" for i in range(12)), "measurements, not classes"),
    ],
)
def test_what_is_no_class_is_refused(folder, table, expected):
    """Flags of a split, lists of labels, measurements."""
    put_images(folder, 12)
    put(folder, "labels.csv", table)
    assert expected in problems_of(folder)


def test_column_taken_for_the_label_is_said(folder, capsys):
    """Where it isn't called so."""
    put_images(folder, 8)
    put(folder, "labels.csv", "file,species\n" + "".join(f"{i}.png,{'ab'[i % 2]}\n" for i in range(8)))
    load(folder)
    assert "note: labels.csv: column 'species' is taken as the label" in capsys.readouterr().out


@pytest.mark.parametrize("form", ["/content/drive/fl/{}/{}.png", r"C:\data\fl\{}\{}.png", r"fl\{}\{}.png"])
def test_names_that_repeat_are_told_apart_by_their_folders(folder, form):
    """Behind a prefix of another computer."""
    for c in "ab":
        for i in range(4):
            put(folder, f"{c}/{i}.png", png(i + 100 * (c == "b")))
    put(folder, "labels.csv", "file,label\n" + "".join(f"{form.format(c, i)},{c}\n" for c in "ab" for i in range(4)))
    splits = load(folder)[2]
    assert all((grey >= 100) == bool(label) for images, labels in splits.values()
               for grey, label in zip(greys(images), labels, strict=True))  # fmt: skip


def test_files_of_other_folders_are_not_taken(folder):
    """Where the table says which folder it means, and its folders differ."""
    put_images(folder, 4, "a/")
    put(folder, "labels.csv", "file,label\na/0.png,x\na/1.png,y\nb/2.png,x\nb/3.png,y\n")
    assert "labels.csv:4: b/2.png: no such file" in problems_of(folder)
    put(folder, "labels.csv", "file,label\nold/a/0.png,x\nold/a/1.png,y\nold/b/2.png,x\nold/a/3.png,y\n")
    assert "labels.csv:4: old/b/2.png: no such file" in problems_of(folder)


def test_folders_that_are_not_there_are_no_contradiction(folder):
    """The files of several folders were put into one, where their names don't repeat."""
    put_images(folder, 6, "images/")
    put(folder, "labels.csv", "file,label\n" + "".join(f"{'ab'[i % 2]}/{i}.png,{'ab'[i % 2]}\n" for i in range(6)))
    splits = load(folder)[2]
    assert all(grey % 2 == label for images, labels in splits.values()
               for grey, label in zip(greys(images), labels, strict=True))  # fmt: skip


def test_columns_of_true_and_false_are_refused_by_name(folder):
    """As pandas writes one column per class."""
    put_images(folder, 4)
    put(folder, "labels.csv", "file,cat,dog\n" + "".join(f"{i}.png,{i % 2 == 0},{i % 2 == 1}\n" for i in range(4)))
    assert "labels.csv: columns cat, dog have one 1 or True per row" in problems_of(folder)


def test_column_of_captions_is_not_taken_for_the_label(folder):
    """Hugging Face's metadata.csv may describe each image; label_column says that it is the label all the same."""
    put_images(folder, 6)
    put(folder, "metadata.csv", "file_name,text\n" + "".join(f"{i}.png,A sheep {i}\n" for i in range(6)))
    expected = "metadata.csv: column 'text' is different in all rows, so it is no class; name the label in source.yaml"
    assert expected in problems_of(folder)


def test_label_of_two_words_can_be_listed_as_a_class(folder):
    """Next to each of the words, it might be two labels: the message says how to say that it isn't."""
    names = ["red", "apple", "red apple"]
    put_images(folder, 12)
    put(folder, "labels.csv", "file,label\n" + "".join(f"{i}.png,{names[i % 3]}\n" for i in range(12)))
    message = problems_of(folder)
    assert "several labels in one cell, 'red apple'; expected one class per image" in message
    assert "if it is one class, list all of them under class_names in source.yaml" in message
    put(folder, "source.yaml", "class_names: [red, apple, red apple]")
    assert load(folder)[0] == ("red", "apple", "red apple")
