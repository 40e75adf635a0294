"""Images as numbers: the same images give the same codes, whatever form they come in."""

import gzip
import re
import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from src.sources import archives
from src.sources.arrays import find_array_files
from tests.image_files import greys, load, png, problems_of, put

SIDE = 6
IMAGES = {
    "train": np.random.default_rng(0).integers(0, 256, (12, SIDE, SIDE), np.uint8),
    "test": np.random.default_rng(1).integers(0, 256, (6, SIDE, SIDE), np.uint8),
}
# The corners are black, as in most images of characters.
for each in IMAGES.values():
    each[:, 0, 0] = each[:, -1, -1] = 0
LABELS = {"train": np.arange(12) % 3, "test": np.arange(6) % 3}


def save_npz(folder, images="{}_images", labels="{}_labels", convert=lambda images: images, shape=(-1,)):
    """Both splits in one file, under names with the split in them."""
    arrays: dict[str, np.ndarray] = {}
    for split in IMAGES:
        arrays[images.format(split)] = convert(IMAGES[split])
        arrays[labels.format(split)] = LABELS[split].reshape(shape)
    np.savez(folder / "all.npz", allow_pickle=False, **arrays)


def idx(array, compress):
    """The array as an IDX file's bytes."""
    header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
    content = header + array.astype(np.uint8).tobytes()
    return gzip.compress(content) if compress else content


def pixel_csv(images, labels, header=True, last=False):
    """A table with one image per row."""
    names = [f"pixel{i}" for i in range(SIDE * SIDE)]
    rows = [[*names, "label"] if last else ["label", *names]] if header else []
    for image, label in zip(images.reshape(len(images), -1).tolist(), labels.tolist(), strict=True):
        rows.append([*image, label] if last else [label, *image])
    return "\n".join(",".join(map(str, row)) for row in rows) + "\n"


def as_folders(folder):
    """As image files."""
    for split, images in IMAGES.items():
        for i, image in enumerate(images):
            path = folder / split / str(LABELS[split][i]) / f"{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(path)


def as_keras(folder):
    """As Keras's mnist.npz."""
    np.savez(folder / "mnist.npz", x_train=IMAGES["train"], y_train=LABELS["train"], x_test=IMAGES["test"],
             y_test=LABELS["test"])  # fmt: skip


def as_medmnist(folder):
    """As MedMNIST, with a column of labels."""
    save_npz(folder, shape=(-1, 1))


def as_fractions(folder):
    """As numbers in [0, 1]."""
    save_npz(folder, convert=lambda images: images.astype(np.float32) / 255)


def as_channels_first(folder):
    """As torch has them, and as large integers."""
    save_npz(folder, "{}_x", "{}_y", convert=lambda images: images[:, None].astype(np.int64))


def as_one_hot(folder):
    """As rows of numbers, in files of their own, with a column per class."""
    for split in IMAGES:
        np.save(folder / f"X_{split}.npy", IMAGES[split].reshape(len(IMAGES[split]), -1))
        np.save(folder / f"Y_{split}.npy", np.eye(3)[LABELS[split]])


def as_idx(folder, compress=False):
    """As MNIST's files."""
    for split, name in (("train", "train"), ("test", "t10k")):
        end = ".gz" if compress else ""
        put(folder, f"{name}-images-idx3-ubyte{end}", idx(IMAGES[split], compress))
        put(folder, f"{name}-labels-idx1-ubyte{end}", idx(LABELS[split], compress))


def as_idx_gz(folder):
    """As they come."""
    as_idx(folder, compress=True)


def as_table(folder, **options):
    """As Kaggle's digit recognizer and sign-language MNIST have them."""
    for split in IMAGES:
        put(folder, f"{split}.csv", pixel_csv(IMAGES[split], LABELS[split], **options))


def as_table_without_header(folder):
    """The label first."""
    as_table(folder, header=False)


def as_table_with_label_last(folder):
    """With its name."""
    as_table(folder, last=True)


def as_table_without_header_label_last(folder):
    """As scikit-learn's digits."""
    as_table(folder, header=False, last=True)


def as_pixels_column(folder):
    """As FER2013 has it."""
    for split in IMAGES:
        rows = [
            f"{label},{' '.join(map(str, image.ravel()))},x"
            for image, label in zip(IMAGES[split], LABELS[split], strict=True)
        ]
        put(folder, f"{split}.csv", "\n".join(["emotion,pixels,note", *rows]))


FORMS = [
    as_folders, as_keras, as_medmnist, as_fractions, as_channels_first, as_one_hot, as_idx, as_idx_gz, as_table,
    as_table_without_header, as_table_with_label_last, as_table_without_header_label_last, as_pixels_column,
]  # fmt: skip


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.__name__)
def test_every_form_gives_the_same_codes(folder, form):
    """Arrays, tables and image files: classes, shape, order, labels and each pixel."""
    form(folder)
    class_names, shape, splits = load(folder)
    assert class_names == ("0", "1", "2")
    assert shape == (1, SIDE, SIDE)
    for split in IMAGES:
        np.testing.assert_array_equal(splits[split][0][:, 0], IMAGES[split])
        assert splits[split][1] == LABELS[split].tolist()


def test_colour_and_transparency(folder):
    """RGB as it is; what is transparent becomes black, as in image files."""
    images = np.random.default_rng(0).integers(0, 256, (4, 5, 5, 4), np.uint8)
    images[..., 3] = 255
    images[0, 0, 0, 3] = 0
    np.savez(folder / "all.npz", images=images, labels=np.array(["a", "b", "a", "b"]))
    class_names, shape, splits = load(folder)
    assert (class_names, shape) == (("a", "b"), (3, 5, 5))
    found = np.concatenate([splits[split][0] for split in ("train", "test")])
    expected = images[..., :3].copy()
    expected[0, 0, 0] = 0
    assert {image.tobytes() for image in found} == {image.transpose(2, 0, 1).tobytes() for image in expected}


def test_the_sources_own_validation_images_are_a_split(folder):
    """MedMNIST calls them val; without a test split, one is held out of the training images alone."""
    images, labels = IMAGES["train"], LABELS["train"]
    np.savez(folder / "all.npz", train_images=images, train_labels=labels, val_images=images[:6], val_labels=labels[:6])
    splits = load(folder)[2]
    assert {name: len(split[1]) for name, split in splits.items()} == {"train": 9, "validation": 6, "test": 3}
    np.testing.assert_array_equal(splits["validation"][0][:, 0], images[:6])


def test_table_without_labels_is_passed_over(folder, capsys):
    """Kaggle's test.csv: a line says so, and the test images are held out of the others."""
    put(folder, "train.csv", pixel_csv(IMAGES["train"], LABELS["train"]))
    put(
        folder,
        "test.csv",
        "\n".join(row.partition(",")[2] for row in pixel_csv(IMAGES["test"], LABELS["test"]).splitlines()),
    )
    splits = load(folder)[2]
    assert {name: len(split[1]) for name, split in splits.items()} == {"train": 9, "test": 3}
    assert "test.csv: pixels without labels; passed over" in capsys.readouterr().out


def test_numbers_may_stand_for_class_names(folder):
    """As those of image files may."""
    as_keras(folder)
    put(folder, "source.yaml", "class_names: [shirt, dress, bag]\n")
    assert load(folder)[0] == ("shirt", "dress", "bag")


def test_image_size_says_what_a_row_of_numbers_is(folder):
    """Where it is no square, height and width have to be stated."""
    np.savez(
        folder / "all.npz", x=np.zeros((6, 6), np.uint8) + np.arange(6, dtype=np.uint8)[:, None], y=np.arange(6) % 2
    )
    assert "6 numbers per image, which is no square; state height and width in source.yaml" in problems_of(folder)
    put(folder, "source.yaml", "image_size: [2, 3]\n")
    assert load(folder)[1] == (1, 2, 3)


@pytest.mark.parametrize(
    ("arrays", "expected"),
    [
        ({"a": np.zeros((3, 2, 2)), "b": np.zeros(3)}, "arrays a, b; expected images and labels under names such as"),
        ({"x": np.zeros((3, 2, 2)), "y": np.zeros(4)}, "x: 3 images and 4 labels; expected one label per image"),
        ({"x": np.full((3, 2, 2), 300), "y": np.arange(3)}, "x: numbers from 300 to 300; expected 0 to 255"),
        ({"x": np.full((3, 2, 2), -1.0), "y": np.arange(3)}, "x: numbers from -1 to -1; expected 0 to 255"),
        ({"x": np.zeros((3, 2, 2, 2)), "y": np.arange(3)}, r"x: images of shape (3, 2, 2, 2); expected (N, H, W)"),
        ({"x": np.zeros((3, 2, 2)), "y": np.array([0, np.nan, np.nan])}, "y: 2 images have no label (NaN)"),
        ({"x": np.zeros((3, 2, 2)), "y": np.array(["a", "nan", ""])}, "y: 2 images have no label ('nan')"),
        ({"x": np.zeros((3, 2, 2)), "y": np.ones((3, 14))}, "y: 14 labels per image; expected one class per image"),
        ({"x": np.zeros((3, 2, 2)), "y": np.array([{}, {}, {}])}, "holds Python objects, which could run code"),
        ({"x": np.zeros((3, 2, 2), "U3"), "y": np.arange(3)}, "x: images of type <U3; expected numbers"),
    ],
)  # fmt: skip
def test_wrong_arrays_are_named(folder, arrays, expected):
    """What came and what was expected; objects are never unpickled."""
    np.savez(folder / "all.npz", **arrays)
    assert expected in problems_of(folder)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("label,{}\n1,{}\n,{}\n", "all.csv:3: no label; fill it in or remove the row"),
        ("label,{}\n1,{}\nNaN,{}\n", "all.csv:3: no label; fill it in or remove the row"),
        ("label,{}\n1,{}\n#N/A,{}\n", "all.csv:3: no label; fill it in or remove the row"),
        ("label,{}\n1,{}\n2,{},7\n", "all.csv:3: 18 columns; expected 17"),
        ("label,{}\n1,{}\n2" + ",x" * 16, "all.csv:3: a pixel that is not a number"),
        ("label,{}\n", "all.csv: a header without rows"),
    ],
)
def test_wrong_tables_are_named(folder, content, expected):
    """File, line, what came and what was expected."""
    names = ",".join(f"pixel{i}" for i in range(16))
    zeros = ",".join("0" * 16)
    put(folder, "all.csv", content.replace("{}", names, 1).replace("{}", zeros))
    assert expected in problems_of(folder)


def test_label_first_or_last_is_never_guessed(folder):
    """Where both columns change, either may be it."""
    rows = [",".join(map(str, [i % 2, *([7] * 15), i % 3, i % 2])) for i in range(8)]
    put(folder, "all.csv", "\n".join(rows))
    assert "is the label in the first column or in the last? give the table a header" in problems_of(folder)


def test_cut_off_idx_file_is_named(folder):
    """Its header says how long it is."""
    as_idx(folder)
    path = folder / "train-images-idx3-ubyte"
    path.write_bytes(path.read_bytes()[:-1])
    assert "train-images-idx3-ubyte: damaged: its header announces 432 bytes; get it again" in problems_of(folder)


def test_pixels_next_to_image_files_are_two_layouts(folder):
    """Unless source.yaml leaves one of them out, which the message says how to do."""
    as_folders(folder)
    as_keras(folder)
    expected = (
        "two layouts at once: mnist.npz with pixels, and image files; in source.yaml, exclude: [mnist.npz] takes the "
        "images, exclude: [test, train] the pixels"
    )
    assert expected in problems_of(folder)
    put(folder, "source.yaml", "exclude: [test, train]")
    assert load(folder)[2]["train"][1] == LABELS["train"].tolist()


def test_sample_images_next_to_labelled_pixels_are_passed_over(folder, capsys):
    """Kaggle's sign-language MNIST comes with images of all signs together."""
    as_keras(folder)
    put(folder, "amer_sign2.png", png(9))
    assert load(folder)[2]["train"][1] == LABELS["train"].tolist()
    assert "note: amer_sign2.png: no labels, next to mnist.npz, with labels and pixels; passed over" in (
        capsys.readouterr().out
    )


def test_several_arrays_for_a_split_are_refused_with_what_leaves_one_out(folder):
    """Kaggle's FashionMNIST has the same images as CSV and as IDX."""
    as_keras(folder)
    put(folder, "train.csv", pixel_csv(IMAGES["train"], LABELS["train"]))
    message = problems_of(folder)
    assert "several arrays for one split; keep one of them, or name the others in source.yaml" in message
    assert "exclude: [train.csv]" in message
    put(folder, "source.yaml", "exclude: ['*.csv']")
    assert load(folder)[2]["train"][1] == LABELS["train"].tolist()


@pytest.mark.parametrize(("table", "other"), [(as_table, as_idx), (as_table, as_keras), (as_idx, as_keras)])
def test_suggested_exclude_leaves_one_array_per_split(folder, table, other):
    """Also where each array has files of its own for images and labels."""
    table(folder)
    other(folder)
    suggested = re.search(r"exclude: \[.*?\]", problems_of(folder))
    assert suggested
    put(folder, "source.yaml", suggested[0])
    assert load(folder)[2]["train"][1] == LABELS["train"].tolist()


def test_suggested_exclude_keeps_the_file_with_the_other_split(folder):
    """Here the table comes first, and holds the training split alone."""
    as_keras(folder)
    put(folder, "a_train.csv", pixel_csv(IMAGES["train"], LABELS["train"]))
    assert "exclude: [a_train.csv]" in problems_of(folder)


def test_npz_that_grows_a_thousandfold_is_refused(folder, monkeypatch):
    """Before anything of it is unpacked."""
    monkeypatch.setattr(archives, "MUCH", 100_000)
    np.savez_compressed(folder / "data.npz", x=np.zeros((1000, 100, 100), np.uint8), y=np.zeros(1000))
    assert re.search(r"data\.npz: [\d,]+ bytes that unpack to 10,008,\d+ or more; expected", problems_of(folder))


@pytest.mark.parametrize("packed", [False, True])
def test_idx_that_announces_more_than_it_has_is_refused(folder, packed):
    """Nothing is allocated for it."""
    content = bytes((0, 0, 8, 3)) + struct.pack(">III", 2**31, 2**31, 2**31) + bytes(100)
    put(folder, "train-images-idx3-ubyte", gzip.compress(content) if packed else content)
    put(folder, "train-labels-idx1-ubyte", bytes((0, 0, 8, 1)) + struct.pack(">I", 1) + bytes(1))
    assert re.search("damaged: its header announces|bytes that unpack to", problems_of(folder))


@pytest.mark.parametrize("labels", [np.array(["\ud800", "a"] * 2), np.array([b"\xff", b"a"] * 2)])
def test_labels_that_are_no_text_are_refused(folder, labels):
    """They couldn't be written into any table."""
    np.savez(folder / "data.npz", x=np.zeros((4, 5, 5), np.uint8), y=labels)
    assert "y: labels that are no text; expected numbers, or text in UTF-8" in problems_of(folder)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_pixels_that_are_not_finite_are_refused(folder, value):
    """Wherever one is."""
    images = np.zeros((4, 5, 5))
    images[2, 3, 4] = value
    np.savez(folder / "data.npz", x=images, y=[0, 1, 0, 1])
    assert "x: numbers that are not finite (NaN or infinite); expected 0 to 255, or 0 to 1" in problems_of(folder)


def test_short_idx_header_is_none(tmp_path):
    """NumPy refuses bytes that are no whole numbers."""
    (tmp_path / "x").write_bytes(bytes((0, 0, 8, 3, 0, 0)))
    assert find_array_files(tmp_path) == []


def put_table(folder: Path, name: str, header: list[str], rows: Sequence[Sequence[object]]) -> None:
    """A CSV table."""
    put(folder, name, "".join(",".join(str(cell) for cell in row) + "\n" for row in [header, *rows]))


def test_columns_of_pixels_are_read_in_the_order_of_their_numbers(folder):
    """However a spreadsheet or a data frame sorted them: as text, or column by column."""
    order = sorted(range(16), key=str)
    rows = [["ab"[i % 2], *(10 * i + pixel for pixel in order)] for i in range(8)]
    put_table(folder, "data.csv", ["label", *(f"pixel{pixel}" for pixel in order)], rows)
    _, shape, splits = load(folder)
    assert shape == (1, 4, 4)
    images = np.concatenate([images for images, _ in splits.values()])
    assert all((image.ravel() == image.min() + np.arange(16)).all() for image in images)
    places = [f"{row}x{column}" for column in range(1, 5) for row in range(1, 5)]
    rows = [["ab"[i % 2], *(10 * row + column for column in range(1, 5) for row in range(1, 5))] for i in range(8)]
    put_table(folder, "data.csv", ["label", *places], rows)
    image = load(folder, "again")[2]["train"][0][0]
    assert image.tolist() == [[[10 * row + column for column in range(1, 5)] for row in range(1, 5)]]


def test_the_split_column_of_a_table_of_pixels_is_kept(folder):
    """As FER2013 has one: Usage."""
    usage = ["Training"] * 6 + ["PublicTest", "PrivateTest"]
    rows = [[i % 2, " ".join([str(i)] * 16), usage[i]] for i in range(8)]
    put_table(folder, "fer2013.csv", ["emotion", "pixels", "Usage"], rows)
    splits = load(folder)[2]
    assert (greys(splits["train"][0]), greys(splits["test"][0])) == (list(range(6)), [6, 7])


PIXELS = [f"pixel{i}" for i in range(16)]
RAMPS = np.arange(8 * 16).reshape(8, 16) % 256
ALTERNATING = np.arange(8) % 2


@pytest.mark.parametrize(
    ("arrays", "expected"),
    [
        (
            {"x_train": RAMPS, "y_train": ALTERNATING, "x_holdout": RAMPS, "y_holdout": ALTERNATING},
            "which split is it?",
        ),
        ({"x": np.zeros((8, 48)), "y": ALTERNATING}, "4x4 in colour, pixel by pixel or colour by colour?"),
        (
            {"x_train": RAMPS, "y_train": ALTERNATING, "x_test": RAMPS / 255, "y_test": ALTERNATING},
            "is white 1 or 255? bring all splits to the same scale",
        ),
    ],
)
def test_arrays_that_can_be_read_in_two_ways_are_refused(folder, arrays, expected):
    """With what is in doubt."""
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(folder / "data.npz", **arrays)
    assert expected in problems_of(folder)


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (
            ["species", *PIXELS],
            "which column is the label? besides pixels, there are 'species'; name it in source.yaml",
        ),
        (["label", *PIXELS[:13], *PIXELS[14:], "pixel16"], "expected each number once, without gaps"),
        ([*PIXELS, "id"], "data.csv: pixels, but no labels"),
    ],
)
def test_tables_of_pixels_in_doubt_are_refused(folder, header, expected):
    """Never as an empty dataset, nor with pixels out of place."""
    put_table(folder, "data.csv", header, [["a" if i % 2 else "b", *[i] * 16] for i in range(8)])
    assert expected in problems_of(folder)


def test_label_column_of_a_table_of_pixels_is_what_source_yaml_says(folder):
    """Where it is called otherwise."""
    put_table(folder, "data.csv", ["Species", *PIXELS], [["ab"[i % 2], *[i] * 16] for i in range(8)])
    put(folder, "source.yaml", "label_column: species\n")
    assert load(folder)[0] == ("a", "b")


def test_arrays_without_their_counterpart_are_passed_over_with_a_line(folder, capsys):
    """Test images without labels, for one."""
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(folder / "data.npz", x_train=RAMPS, y_train=ALTERNATING, x_test=RAMPS)
    load(folder)
    assert "note: x_test: without labels; passed over" in capsys.readouterr().out


def test_rows_with_a_dimension_more_are_rows(folder):
    """As reshape(-1, 16, 1) leaves them."""
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(folder / "data.npz", x=RAMPS[:, :, None], y=ALTERNATING)
    assert load(folder)[1] == (1, 4, 4)


def test_black_and_white_are_0_and_255_in_any_type(folder, capsys):
    """And what is nearly black is said."""
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(folder / "data.npz", x=(RAMPS % 2).astype(np.uint8), y=ALTERNATING)
    assert np.concatenate([images for images, _ in load(folder)[2].values()]).max() == 255
    np.savez(folder / "data.npz", x=RAMPS % 17, y=ALTERNATING)
    load(folder, "again")
    assert "no number above 16, of 255: the images are nearly black" in capsys.readouterr().out


def test_numbers_of_columns_far_apart_take_no_memory(folder):
    """A stranger's header names the pixel of 10 ** 18."""
    rows = [["ab"[i % 2], *[i] * 17] for i in range(8)]
    put_table(folder, "data.csv", ["label", *PIXELS, f"pixel{10**18}"], rows)
    assert "expected each number once, without gaps" in problems_of(folder)


def test_an_empty_or_black_split_has_no_scale(folder):
    """It neither ends in a traceback nor contradicts the others."""
    folder.mkdir(parents=True, exist_ok=True)
    black = np.zeros((2, 16))
    np.savez(folder / "data.npz", x_train=RAMPS, y_train=ALTERNATING, x_test=black, y_test=np.arange(2))
    assert load(folder)[1] == (1, 4, 4)
    squares, empty = RAMPS.reshape(8, 4, 4), np.zeros((0, 4, 4))
    np.savez(folder / "data.npz", x_train=squares, y_train=ALTERNATING, x_test=empty, y_test=np.zeros(0, np.int64))
    load(folder, "again")


@pytest.mark.parametrize(("separator", "suffix"), [(";", "csv"), ("\t", "csv"), ("\t", "tsv"), ("|", "csv")])
@pytest.mark.parametrize("header", [True, False])
def test_tables_of_pixels_with_other_separators(folder, separator, suffix, header):
    """As for tables of file names."""
    for split in IMAGES:
        table = pixel_csv(IMAGES[split], LABELS[split], header)
        put(folder, f"{split}.{suffix}", table.replace(",", separator))
    splits = load(folder)[2]
    for split, (images, labels) in splits.items():
        assert (images[:, 0] == IMAGES[split]).all()
        assert labels == LABELS[split].tolist()


def test_two_columns_of_splits_in_a_table_of_pixels_are_refused(folder):
    """The first was taken in silence."""
    head, *rows = pixel_csv(IMAGES["train"], LABELS["train"]).splitlines()
    put(folder, "all.csv", "\n".join([f"split,usage,{head}", *(f"train,Training,{row}" for row in rows)]))
    assert "all.csv:1: columns split and usage may each be the split; rename all but one" in problems_of(folder)


def test_idx_files_in_a_folder_each(folder):
    """As Kaggle unzips them; sample images at the top don't matter."""
    for name, split in (("train", "train"), ("t10k", "test")):
        for what, array in (("images-idx3", IMAGES[split]), ("labels-idx1", LABELS[split])):
            file = f"{name}-{what}-ubyte"
            put(folder, f"{file}/{file}", idx(array, compress=False))
    put(folder, "sample.png", png(9))
    splits = load(folder)[2]
    for split, (images, labels) in splits.items():
        assert (images[:, 0] == IMAGES[split]).all()
        assert labels == LABELS[split].tolist()
