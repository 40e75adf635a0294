import numpy as np
import pytest
from sklearn.datasets import load_digits

from src.errors import MnistryError
from src.sources import open_source
from tests.conftest import PROJECT

SOURCE = PROJECT / "data" / "sources" / "digits"


def test_digits_are_scikit_learns_spread_over_0_to_255(tmp_path):
    """All 1,797, split by class: a fifth of each for the test."""
    source = open_source(SOURCE)
    source.download(tmp_path)
    with open_source(tmp_path).read(tmp_path) as dataset:
        splits = [(np.concatenate(list(split.chunks)), split.labels) for split in dataset.splits.values()]
    images, labels = (np.concatenate(parts) for parts in zip(*splits, strict=True))
    expected = load_digits()
    assert sorted(map(bytes, images)) == sorted(map(bytes, np.rint(expected.images * 15.9375).astype(np.uint8)))
    assert np.bincount(labels).tolist() == np.bincount(expected.target).tolist()
    assert (images.min(), images.max()) == (0, 255)
    assert np.bincount(splits[1][1]).tolist() == [round(count * 0.2) for count in np.bincount(labels)]


def test_other_file_is_refused(tmp_path):
    """The checksum is held to."""
    (tmp_path / "source.yaml").write_text(
        (SOURCE / "source.yaml").read_text("utf-8").replace("md5: 9", "md5: 0"), "utf-8"
    )
    with pytest.raises(MnistryError, match=r"digits\.csv\.gz: MD5 9b33.*, expected 0b33.*; reinstall scikit-learn"):
        open_source(tmp_path).download(tmp_path)
