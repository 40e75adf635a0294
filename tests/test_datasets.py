import numpy as np

from src.datasets import DatasetInfo, load_info, load_split, save_info, write_array
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
