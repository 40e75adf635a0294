"""Images that are read from their file in blocks: which ones come when, and what of the file is in memory."""

from pathlib import Path

import numpy as np
import pytest
import torch

from src import blocks
from src.batches import Subset, load_subsets, make_subset, shuffled_batches
from src.blocks import StoredImages, read_ahead, too_large
from src.errors import MnistryError
from src.processes import Processes
from tests.test_batches import options, write_dataset

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch):
    """Blocks of 4 images of one pixel, of which 5 are in memory together."""
    monkeypatch.setattr(blocks, "BLOCK_BYTES", 4)
    monkeypatch.setattr(blocks, "GROUP_BYTES", 20)
    monkeypatch.setattr(blocks, "ORDER_BYTES", 20)


@pytest.fixture
def images(tmp_path: Path) -> np.ndarray:
    """The map of a file of 90 images of one pixel, each its own number."""
    np.save(tmp_path / "images.npy", np.arange(90, dtype=np.uint8)[:, None, None, None])
    return np.asanyarray(np.load(tmp_path / "images.npy", mmap_mode="c"))


def stored_subset(images: np.ndarray, indices: np.ndarray | None = None) -> Subset:
    """Images in their file, or those at the indices; their numbers are their labels too."""
    return make_subset(images, np.arange(len(images)), CPU, indices, stored=True)


def test_an_epoch_has_each_image_once_with_its_label(images):
    """Of those chosen alone, in another order in each epoch; an incomplete last batch is dropped."""
    chosen = np.delete(np.arange(90), [0, 7, 8, 50, 89])
    generator = torch.Generator().manual_seed(0)
    epochs = [list(shuffled_batches(stored_subset(images, chosen), 7, generator)) for _ in range(2)]
    for batches in epochs:
        assert [len(labels) for _, labels in batches] == [7] * 12
        for pixels, labels in batches:
            assert torch.equal(pixels.flatten(), labels)
    first, second = (torch.cat([labels for _, labels in batches]).tolist() for batches in epochs)
    assert first != second
    assert len(set(first)) == 84
    assert set(first) < set(chosen.tolist())
    (batch,) = shuffled_batches(stored_subset(images, chosen[:3]), 7, generator)
    assert set(batch[1].tolist()) == {1, 2, 3}


def test_the_order_is_the_seeds_and_the_epochs(images):
    """Also after an epoch that was broken off, as it is where a loss isn't finite."""
    subset, generators = stored_subset(images), [torch.Generator().manual_seed(3) for _ in range(2)]
    next(shuffled_batches(subset, 7, generators[0]))
    list(shuffled_batches(subset, 7, generators[1]))
    first, second = (torch.cat([y for _, y in shuffled_batches(subset, 7, each)]) for each in generators)
    assert torch.equal(first, second)


def test_processes_have_the_batches_of_one(images):
    """Each has its share of every batch, whatever block it is of."""
    subset = stored_subset(images, np.delete(np.arange(90), 40))
    shares = [None, *(Processes(rank, 3).share(8) for rank in range(3))]
    whole, *parts = (list(shuffled_batches(subset, 8, torch.Generator().manual_seed(1), share)) for share in shares)
    for (pixels, labels), *found in zip(whole, *parts, strict=True):
        assert torch.equal(pixels, torch.cat([part[0] for part in found]))
        assert torch.equal(labels, torch.cat([part[1] for part in found]))


def test_sorted_classes_are_mixed_in_each_group(images):
    """A group has a block of every fifth of the file, and reads them in the file's order."""
    groups = [group.tolist() for group in StoredImages.of(images).groups(torch.Generator().manual_seed(0))]
    assert sorted(number for group in groups for number in group) == list(range(23))
    assert len(groups) == 5
    for group in groups:
        assert [number // 5 for number in group] == list(range(len(group)))
    again = [group.tolist() for group in StoredImages.of(images).groups(torch.Generator().manual_seed(1))]
    assert again != groups


def test_two_groups_are_in_memory_at_most(images, monkeypatch):
    """The one that batches are made of, and the one that is read."""
    sizes, read = [], StoredImages.read

    def counted(*arguments):
        sizes.append(len(found := read(*arguments)))
        return found

    monkeypatch.setattr(StoredImages, "read", counted)
    next(shuffled_batches(stored_subset(images), 7, torch.Generator()))
    assert len(sizes) == 2
    assert max(sizes) <= 20


def test_images_in_order_are_those_of_the_map(images):
    """In batches across blocks and groups; those at a few indices, whatever their order."""
    chosen = np.delete(np.arange(90), [3, 40, 41, 42, 43, 44, 45, 46, 47, 89])
    subset = stored_subset(images, chosen)
    batches = list(subset.in_order(30))
    assert [len(labels) for _, labels in batches] == [30, 30, 20]
    for number in range(2):
        assert torch.cat([batch[number].flatten() for batch in batches]).tolist() == chosen.tolist()
    batches_of_all = list(StoredImages.of(images).in_order(8))
    assert [len(pixels) for pixels in batches_of_all] == [8] * 11 + [2]
    assert torch.cat(batches_of_all).flatten().tolist() == list(range(90))
    ((pixels, labels),) = subset.gather(torch.tensor([70, 2, 70]), 3)
    assert pixels.flatten().tolist() == labels.tolist() == [70, 2, 70]


def test_stored_subsets_are_those_in_memory(tmp_path):
    """The same images are held out, whichever way they are read."""
    info = write_dataset(tmp_path, "train")
    whole, stored = (load_subsets(tmp_path, info, options(0.25), 0, CPU, stored) for stored in (False, True))
    for expected, found in zip(whole, stored, strict=True):
        assert torch.equal(found.indices, expected.indices)
        for (pixels, labels), (same, same_labels) in zip(expected.in_order(4), found.in_order(4), strict=True):
            assert torch.equal(pixels, same)
            assert torch.equal(labels, same_labels)


def test_a_file_that_becomes_shorter_is_an_error(images, tmp_path):
    """By its name: what isn't there is no black image."""
    subset = stored_subset(images)
    with (tmp_path / "images.npy").open("rb+") as file:
        file.truncate(200)
    with pytest.raises(MnistryError, match=r"images\.npy: it became shorter while it was read; run `dvc checkout`"):
        list(subset.in_order(30))


def test_an_error_in_reading_ahead_comes_where_its_item_would():
    """After the items before it."""
    reading = read_ahead(lambda number: 6 // number, [3, 2, 0, 1])
    assert [next(reading), next(reading)] == [(3, 2), (2, 3)]
    with pytest.raises(ZeroDivisionError):
        next(reading)


def test_images_are_too_large_above_three_quarters_of_the_free_memory(monkeypatch):
    """Where the system doesn't say how much that is, they fit."""
    monkeypatch.setattr("src.devices.free_memory", lambda: 4_000_000)
    assert too_large(3_000_000, CPU) is None
    line = too_large(3_000_001, CPU)
    assert line
    assert line.startswith("the images take 3 MB, more than 75% of the 4 MB of memory that are free on cpu: they are")
    monkeypatch.setattr("src.devices.free_memory", lambda: None)
    assert too_large(1 << 60, CPU) is None
