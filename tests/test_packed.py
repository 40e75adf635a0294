"""Images in one file."""

import os
from pathlib import Path

import numpy as np
import pytest

from src.errors import MnistryError
from src.sources import open_source
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


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("listing.csv", b"train", b"trian"),
        ("listing.csv", b",a,", b",other,"),
        ("listing.csv", b"split,label,path,bytes\n", b"\xff"),
        ("listing.csv", b",a/0.png", b""),
        ("images.bin", b"PNG", b""),
        ("images.json", b"[1,3,4]", b"[1,0,4]"),
        ("images.json", b"[1,3,4]", b"[1,1000000,1000000]"),
    ],
)
def test_damaged_files_are_refused(folder, name, old, new):
    """By name, with what makes them anew."""
    put_classes(folder, "a", "b")
    load(folder)
    raw = folder.parent.parent / "raw" / folder.name
    (raw / name).write_bytes((raw / name).read_bytes().replace(old, new))
    with (
        pytest.raises(MnistryError, match=r"(listing\.csv|images\.(bin|json)): .+; run `dvc repro --force download`"),
        open_source(raw).read(raw) as dataset,
    ):
        list(dataset.splits["train"].chunks)
