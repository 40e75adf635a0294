"""Images in one file."""

import os
from pathlib import Path

import numpy as np

from tests.image_files import load, put_classes


def test_same_images_same_bytes_whatever_the_order_and_the_workers(folder, tmp_path, monkeypatch):
    """Neither times, nor the file system's order, nor the number of processes."""
    put_classes(folder, "a", "b", count=80)
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
