import hashlib
import re
from dataclasses import replace

import numpy as np
import pytest

from src.datasets import load_files, load_info, load_labels, load_split, save_files, save_info, write_array, write_split
from src.errors import MnistryError
from tests.conftest import PROJECT, dataset_info


def test_info_survives_its_file(tmp_path):
    """Class names of any script and the exact floats come back."""
    info = dataset_info(("お", "a b", "🙂"), (3, 4, 5), mean=1 / 3, std=0.7)
    save_info(tmp_path, info)
    assert load_info(tmp_path) == info
    assert "お" in (tmp_path / "dataset.json").read_text("utf-8")


@pytest.mark.parametrize("change", ["decoding", "sha256", "damaged"])
def test_info_of_another_version_is_refused(tmp_path, change):
    """By the file's name, and with what to do."""
    save_info(tmp_path, dataset_info())
    path = tmp_path / "dataset.json"
    text = path.read_text("utf-8")
    path.write_text(text[:50] if change == "damaged" else text.replace(change, "other"), "utf-8")
    with pytest.raises(MnistryError, match=r"dataset\.json: of another version .*; run `dvc repro`"):
        load_info(tmp_path)


def written(folder, split, images, labels):
    """Write a split in three chunks, and its files' names; what dataset.json would say of it."""
    digest = write_split(folder, split, np.array_split(images, 3), labels, images.shape[1:])
    save_files(folder, split, [f"{i}.png" for i in range(len(labels))])
    return replace(dataset_info(shape=images.shape[1:]), sha256={split: digest})


def test_split_written_in_chunks_is_read_back(tmp_path):
    """Numpy reads the images as if it had written them, memory-mapped, and the labels with them."""
    images = np.random.default_rng(0).integers(0, 256, (10, 1, 3, 2), np.uint8)
    info = written(tmp_path, "train", images, np.arange(10))
    np.save(tmp_path / "expected.npy", images)
    assert (tmp_path / "train_images.npy").read_bytes() == (tmp_path / "expected.npy").read_bytes()
    loaded, labels = load_split(tmp_path, "train", info)
    assert isinstance(loaded, np.memmap)
    np.testing.assert_array_equal(loaded, images)
    np.testing.assert_array_equal(labels, np.arange(10))


def test_digest_is_that_of_images_and_labels(tmp_path):
    """Of the codes, however they are cut into chunks, followed by the labels as 64-bit integers."""
    images, labels = np.random.default_rng(0).integers(0, 256, (10, 1, 3, 2), np.uint8), np.arange(10)
    expected = hashlib.sha256(images.tobytes() + labels.astype("<i8").tobytes()).hexdigest()
    for chunks in (3, 10):
        assert write_split(tmp_path, "train", np.array_split(images, chunks), labels, (1, 3, 2)) == expected
    assert write_split(tmp_path, "train", [images], labels[::-1], (1, 3, 2)) != expected


def test_what_is_written_into_loaded_images_stays_out_of_the_file(tmp_path):
    """The map is private: a mistake cannot damage DVC's cache, which the file may be a link to."""
    info = written(tmp_path, "test", np.zeros((2, 1, 3, 2), np.uint8), np.zeros(2, np.int64))
    load_split(tmp_path, "test", info)[0][:] = 7
    assert not load_split(tmp_path, "test", info)[0].any()


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ([(2, 1, 3, 2), (2, 1, 2, 3)], r"x\.npy: images of shape \(1, 2, 3\); expected \(1, 3, 2\)"),
        ([(2, 1, 3, 2)], r"x\.npy: 2 images; expected 4, one per label"),
        ([(2, 1, 3, 2)] * 3, r"x\.npy: 6 images; expected 4, one per label"),
    ],
)
def test_chunks_of_another_shape_are_refused(tmp_path, shapes, message):
    """Their bytes would be read as other pixels."""
    with pytest.raises(MnistryError, match=message):
        write_array(tmp_path / "x.npy", map(np.zeros, shapes), (4, 1, 3, 2), np.uint8)


def array_file(path, array, **header):
    """A .npy file with another header than its array's."""
    np.save(path, array)
    if header:
        content = path.read_bytes()[128:]
        with path.open("wb") as file:
            described = {"descr": array.dtype.str, "fortran_order": False, "shape": array.shape} | header
            np.lib.format.write_array_header_1_0(file, described)
            file.write(content)


IMAGES, LABELS = np.zeros((4, 1, 3, 2), np.uint8), np.arange(4)


@pytest.mark.parametrize(
    ("name", "array", "header", "message"),
    [
        ("images", IMAGES[:3], {}, r"uint8 of shape \(3, 1, 3, 2\); expected uint8 of \(4, 1, 3, 2\)"),
        ("images", IMAGES.astype(np.int8), {}, "int8 of shape"),
        ("images", IMAGES + np.uint8(1), {}, "damaged, by its and its labels' SHA-256"),
        ("images", IMAGES, {"shape": (10**15, 1, 3, 2)}, "announces 6,000,000,000,000,000 bytes, and 24 are there"),
        ("images", np.array([{}]), {}, "damaged .+it holds Python objects"),
        ("labels", np.array([0, 1, 2, -100]), {}, "labels from -100 to 2; expected 0 to 9"),
        ("labels", np.array([0, 1, 2, 10]), {}, "labels from 0 to 10; expected 0 to 9"),
        ("labels", np.array([0, 1, 2, 2]), {}, "damaged, by its and its labels' SHA-256"),
        ("labels", np.arange(4.0), {}, "float64 of shape"),
        ("labels", np.arange(4)[:, None], {}, r"int64 of shape \(4, 1\); expected int64 of \(4,\)"),
        ("labels", np.arange(0), {}, "no labels"),
        ("labels", LABELS, {"descr": "|O"}, "damaged"),
        ("labels", LABELS, {"shape": (-4,)}, "damaged"),
    ],
)
def test_damaged_arrays_are_refused(tmp_path, name, array, header, message):
    """By the file's name, with what is there, what was expected and what makes it anew; no pickle is read."""
    info = written(tmp_path, "test", IMAGES, LABELS)
    array_file(tmp_path / f"test_{name}.npy", array, **header)
    with pytest.raises(
        MnistryError, match=rf"test_(images|{name})\.npy: .*{message}.*; run `dvc repro --force normalize`"
    ):
        load_split(tmp_path, "test", info)


def test_labels_alone_are_checked(tmp_path):
    """Where a stage needs no images."""
    info = written(tmp_path, "train", IMAGES, LABELS)
    assert load_labels(tmp_path, "train", info).tolist() == [0, 1, 2, 3]
    with pytest.raises(MnistryError, match="expected 0 to 1"):
        load_labels(tmp_path, "train", replace(info, class_names=("a", "b")))


@pytest.mark.parametrize("content", ['["a"]', "{}", "[1, 2, 3, 4]", "[" * 5000, '["\\ud800", "", "", ""]', "[NaN]"])
def test_damaged_names_are_refused(tmp_path, content):
    """One name per image, all of them text."""
    written(tmp_path, "test", IMAGES, LABELS)
    assert list(load_files(tmp_path, "test", 4)) == ["0.png", "1.png", "2.png", "3.png"]
    (tmp_path / "test_files.json").write_text(content)
    with pytest.raises(MnistryError, match=r"test_files\.json: .+; run `dvc repro --force normalize`"):
        load_files(tmp_path, "test", 4)


def test_missing_array_is_named(tmp_path):
    """With what brings it back."""
    info = written(tmp_path, "test", IMAGES, LABELS)
    (tmp_path / "test_labels.npy").unlink()
    with pytest.raises(MnistryError, match=r"test_labels\.npy: no such file; run `dvc repro` or `dvc checkout`"):
        load_split(tmp_path, "test", info)


def test_nothing_is_unpickled_anywhere():
    """Whoever reads an array says so, and nobody calls pickle."""
    for path in [
        *(PROJECT / "src").rglob("*.py"),
        *(PROJECT / "stages").glob("*.py"),
        *(PROJECT / "commands").rglob("*.py"),
    ]:
        text = path.read_text("utf-8")
        for call in re.findall(r"np\.load\([^\n]*", text):
            assert "allow_pickle=False" in call, f"{path}: {call}"
        assert not re.search(
            r"pickle\.(load|Unpickler)|torch\.load\((?!\w+, weights_only=True\))|yaml\.(unsafe_|full_)?load\(", text
        ), path
