from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from src.batches import Subset, load_subsets, make_subset, shuffled_batches, validation_split
from src.datasets import DatasetInfo, write_split
from src.params import Train
from tests.conftest import dataset_info


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


def write_dataset(folder: Path, *splits: str) -> DatasetInfo:
    """Twenty images of one pixel per split, in two classes; the splits' pixels count on."""
    sha256 = {
        split: write_split(folder, split, [np.arange(20 * i, 20 * i + 20, dtype=np.uint8)[:, None, None, None]],
                           np.arange(20) % 2, (1, 1, 1))
        for i, split in enumerate(splits)
    }  # fmt: skip
    return replace(dataset_info("ab", (1, 1, 1)), sha256=sha256)


def options(validation_fraction: float, folds: int = 0, fold: int = 0) -> Train:
    """How images are held out."""
    return Train(
        validation_fraction=validation_fraction,
        folds=folds,
        fold=fold,
        class_weights="none",
        keep="last",
        precision="auto",
        processes=1,
    )


def pixels(subset: Subset) -> list[int]:
    """The pixels of the chosen images, in the indices' order."""
    return subset.images[subset.indices].flatten().tolist()


def test_validation_images_are_held_out_of_the_training_split(tmp_path):
    """A quarter of each class, drawn from the seed, in neither both nor none; their labels come with them."""
    info = write_dataset(tmp_path, "train")
    train, validation = load_subsets(tmp_path, info, options(0.25), 0, torch.device("cpu"))
    assert sorted(pixels(train) + pixels(validation)) == list(range(20))
    assert sorted(validation.labels[validation.indices].tolist()) == [0, 0, 1, 1]
    assert pixels(load_subsets(tmp_path, info, options(0.25), 0, torch.device("cpu"))[1]) == pixels(validation)
    assert pixels(load_subsets(tmp_path, info, options(0.25), 1, torch.device("cpu"))[1]) != pixels(validation)
    assert len(load_subsets(tmp_path, info, options(0), 0, torch.device("cpu"))[1]) == 0


def test_the_sources_own_validation_split_is_used(tmp_path):
    """Then nothing is held out of the training split, whatever the fraction."""
    info = write_dataset(tmp_path, "train", "validation")
    train, validation = load_subsets(tmp_path, info, options(0.25), 0, torch.device("cpu"))
    assert pixels(train) == list(range(20))
    assert pixels(validation) == list(range(20, 40))


def test_a_fold_takes_the_place_of_fraction_and_own_validation_split(tmp_path):
    """Every training image is held out once over all folds, and trained on in the others; the own split is unused."""
    info = write_dataset(tmp_path, "train", "validation")
    held_out = []
    for fold in range(4):
        train, validation = load_subsets(tmp_path, info, options(0.9, 4, fold), 0, torch.device("cpu"))
        assert sorted(pixels(train) + pixels(validation)) == list(range(20))
        held_out += pixels(validation)
    assert sorted(held_out) == list(range(20))
    assert validation_split(info, options(0.9, 4)) == "train"
    assert validation_split(info, options(0.9)) == "validation"


def test_subsets_share_the_images(tmp_path):
    """On the CPU, both are the memory-mapped file itself: no copy of all images is made."""
    train, validation = load_subsets(tmp_path, write_dataset(tmp_path, "train"), options(0.25), 0, torch.device("cpu"))
    assert train.images.data_ptr() == validation.images.data_ptr()
    images = np.load(tmp_path / "train_images.npy", mmap_mode="c")
    assert make_subset(images, np.arange(20), torch.device("cpu")).images.data_ptr() == images.ctypes.data
