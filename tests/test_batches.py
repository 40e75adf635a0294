import numpy as np
import torch

from src.batches import Subset, make_subsets, shuffled_batches


def numbered(count: int, indices: list[int] | None = None) -> Subset:
    """Images of one pixel, each its own number, which is its label too."""
    numbers = torch.arange(count)
    chosen = numbers if indices is None else torch.tensor(indices)
    return Subset(numbers.view(-1, 1, 1, 1).to(torch.uint8), numbers, chosen)


def test_batches_hold_each_image_once_with_its_label():
    """In another order in each epoch; the incomplete last batch is dropped."""
    subset, generator = numbered(10), torch.Generator().manual_seed(0)
    first, second = (torch.cat([b for _, b in shuffled_batches(subset, 4, generator)]).tolist() for _ in range(2))
    assert len(first) == len(set(first)) == 8
    assert first != second
    for images, labels in shuffled_batches(subset, 3, generator):
        assert torch.equal(images.view(-1).long(), labels)


def test_batch_larger_than_the_images_is_all_of_them():
    """Nothing is dropped where the incomplete batch is the only one."""
    (batch,) = shuffled_batches(numbered(3), 128, torch.Generator())
    assert sorted(batch[1].tolist()) == [0, 1, 2]


def test_batches_hold_the_chosen_images_alone():
    """In shuffled batches, and in the order asked for."""
    subset = numbered(10, [7, 1, 4])
    (batch,) = shuffled_batches(subset, 3, torch.Generator())
    assert sorted(batch[1].tolist()) == [1, 4, 7]
    assert [labels.tolist() for _, labels in subset.gather(subset.indices, 2)] == [[7, 1], [4]]


def test_subsets_share_the_images(tmp_path):
    """On the CPU, they are the memory-mapped file itself: no copy of all images is made."""
    np.save(tmp_path / "x.npy", np.arange(4, dtype=np.uint8).reshape(4, 1, 1, 1))
    images = np.load(tmp_path / "x.npy", mmap_mode="c")
    chosen = np.array([0, 2]), np.array([1])
    train, validation = make_subsets(images, np.arange(4), chosen, torch.device("cpu"))
    assert train.images.data_ptr() == validation.images.data_ptr() == images.ctypes.data
    assert (len(train), len(validation)) == (2, 1)
