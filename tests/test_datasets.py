import hashlib

import numpy as np
import pytest

from src.datasets import load_info, load_split, save_info, write_array, write_split
from src.errors import MnistryError
from tests.conftest import dataset_info


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


def test_split_written_in_chunks_is_read_back(tmp_path):
    """Numpy reads the images as if it had written them, memory-mapped, and the labels with them."""
    images = np.random.default_rng(0).integers(0, 256, (10, 1, 3, 2), np.uint8)
    write_split(tmp_path, "train", np.array_split(images, 3), np.arange(10), (1, 3, 2))
    np.save(tmp_path / "expected.npy", images)
    assert (tmp_path / "train_images.npy").read_bytes() == (tmp_path / "expected.npy").read_bytes()
    loaded, labels = load_split(tmp_path, "train")
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
    write_split(tmp_path, "test", [np.zeros((2, 1, 3, 2), np.uint8)], np.zeros(2, np.int64), (1, 3, 2))
    load_split(tmp_path, "test")[0][:] = 7
    assert not load_split(tmp_path, "test")[0].any()


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
