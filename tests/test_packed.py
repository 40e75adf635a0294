"""Images in one file."""

import os
from pathlib import Path

import numpy as np
import pytest

from src.errors import MnistryError
from src.sources import open_source
from src.sources.packed import decoding_workers
from tests.image_files import load, png, problems_of, put, put_classes


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


@pytest.mark.parametrize(("free", "expected"), [(None, 4), (1000, 4), (999, 3), (700, 2), (699, 1), (400, 1)])
def test_as_many_images_are_decoded_at_once_as_fit_into_memory(tmp_path, monkeypatch, free, expected):
    """To the byte: of 400, 300, 200 and 100 grey pixels; on four cores."""
    files = [(name, put(tmp_path, name, png(size=(10, int(name))))) for name in ("20", "40", "10", "30")]
    monkeypatch.setattr("src.sources.packed.available_cores", lambda: 4)
    monkeypatch.setattr("src.sources.packed.free_memory", lambda: free)
    assert decoding_workers(files) == expected


def test_image_that_memory_cannot_hold_is_refused_by_name(folder, monkeypatch):
    """Before any is decoded, with what it takes and what there is; a file that is no image is another problem."""
    put_classes(folder, "a", "b")
    put(folder, "a/large.png", png(size=(300, 200)))
    monkeypatch.setattr("src.sources.packed.free_memory", lambda: 50_000)
    assert problems_of(folder).startswith(
        "a/large.png: takes about 60 kB of memory to decode, but 50 kB is free; shrink it, close other programs, or"
    )
    put(folder, "a/large.png", b"damaged" * 10_000)
    assert "a/large.png: not an image that can be read" in problems_of(folder)


def test_fewer_processes_decode_where_memory_is_short(folder, monkeypatch):
    """When the images are looked at, and when they are decoded into arrays: 12 pixels fit, 24 don't."""
    put_classes(folder, "a", "b", count=80)
    used = []

    def ordered_map(function, items, workers=None):
        used.append(workers)
        return map(function, items)

    for module in ("images", "packed"):
        monkeypatch.setattr(f"src.sources.{module}.ordered_map", ordered_map)
    monkeypatch.setattr("src.sources.packed.available_cores", lambda: 2)
    monkeypatch.setattr("src.sources.packed.free_memory", lambda: 23)
    load(folder)
    assert used == [1, 1, 1]
