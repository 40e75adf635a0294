import numpy as np
import pytest

from src.datasets import DatasetInfo, load_info, load_split, save_info, write_array
from src.errors import MnistryError
from src.normalization import Normalization


def test_info_survives_its_file(tmp_path):
    """Class names of any script and the exact floats come back."""
    info = DatasetInfo(("お", "a b", "🙂"), (3, 4, 5), Normalization("standard", (0.1, 0.2, 1 / 3), (0.5, 1.0, 0.7)))
    save_info(tmp_path, info)
    assert load_info(tmp_path) == info
    assert "お" in (tmp_path / "dataset.json").read_text("utf-8")


def test_array_written_in_chunks_is_the_array(tmp_path):
    """Numpy reads it as if it had written it, memory-mapped too."""
    images = np.random.default_rng(0).normal(size=(10, 1, 3, 2)).astype(np.float32)
    write_array(tmp_path / "train_images.npy", np.array_split(images, 3), images.shape, np.float32)
    np.save(tmp_path / "expected.npy", images)
    assert (tmp_path / "train_images.npy").read_bytes() == (tmp_path / "expected.npy").read_bytes()
    np.save(tmp_path / "train_labels.npy", np.arange(10))
    loaded, labels = load_split(tmp_path, "train")
    assert isinstance(loaded, np.memmap)
    np.testing.assert_array_equal(loaded, images)
    np.testing.assert_array_equal(labels, np.arange(10))


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ([(2, 1, 3, 2), (2, 1, 2, 3)], r"x\.npy: images of shape \(1, 2, 3\); expected \(1, 3, 2\)"),
        ([(2, 1, 3, 2)], r"x\.npy: 2 images; expected 4, one a label"),
        ([(2, 1, 3, 2)] * 3, r"x\.npy: 6 images; expected 4, one a label"),
    ],
)
def test_chunks_of_another_shape_are_refused(tmp_path, shapes, message):
    """Their bytes would be read as other pixels."""
    with pytest.raises(MnistryError, match=message):
        write_array(tmp_path / "x.npy", map(np.zeros, shapes), (4, 1, 3, 2), np.uint8)
