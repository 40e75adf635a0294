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
    ],
)
def test_wrong_csv_is_named(folder, files, expected):
    """File, line, what was found and what was expected."""
    for name, content in files.items():
        put(folder, name, content)
    assert expected in problems_of(folder)
