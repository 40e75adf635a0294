"""Batches gathered from arrays that stay where they are: memory-mapped on the CPU, resident on an accelerator."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from src.datasets import DatasetInfo, load_split
from src.params import Train
from src.processes import Share
from src.splits import stratified_fold, stratified_split


@dataclass(frozen=True)
class Subset:
    """Some of the images of a split, which are never copied as a whole.

    images: uint8 codes, shape (N, C, H, W), and labels: int64, shape (N,), on one device. indices: which of them,
    int64, shape (n,), on the CPU.
    """

    images: Tensor
    labels: Tensor
    indices: Tensor

    def __len__(self) -> int:
        """The number of images chosen."""
        return len(self.indices)

    def gather(self, order: Tensor, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Images and labels at the indices in `order`, in batches of that size; the last one may be smaller."""
        for indices in order.to(self.images.device).split(batch_size):
            yield self.images.index_select(0, indices), self.labels.index_select(0, indices)


def validation_split(dataset: DatasetInfo, options: Train) -> Literal["train", "validation"]:
    """The split that the images to validate on are of: the source's own validation split, if there are no folds."""
    return "validation" if "validation" in dataset.sha256 and not options.folds else "train"


def load_subsets(
    folder: Path, dataset: DatasetInfo, options: Train, seed: int, device: torch.device
) -> tuple[Subset, Subset]:
    """The images to train on and those to validate on, out of the normalized dataset in `folder`.

    Those to validate on are a fold of the training split where the options ask for folds; else the source's own
    validation split where it has one; else a fraction of each class of the training split. Folds and fraction are
    drawn from the seed. On the CPU, all images stay in their memory-mapped files.
    """
    images, labels = load_split(folder, "train", dataset)
    if validation_split(dataset, options) == "validation":
        own = load_split(folder, "validation", dataset)
        return make_subset(images, labels, device), make_subset(*own, device)
    draw = np.random.default_rng(seed)
    if options.folds:
        kept, held_out = stratified_fold(labels, options.folds, options.fold, draw, dataset.class_names)
    else:
        kept, held_out = stratified_split(labels, options.validation_fraction, draw, dataset.class_names)
    train = make_subset(images, labels, device, kept)
    return train, replace(train, indices=torch.from_numpy(held_out))


def make_subset(
    images: np.ndarray, labels: np.ndarray, device: torch.device, indices: np.ndarray | None = None
) -> Subset:
    """The images at the indices, or all; on the CPU, they share the arrays' memory."""
    chosen = np.arange(len(labels)) if indices is None else indices
    return Subset(torch.from_numpy(images).to(device), torch.from_numpy(labels).to(device), torch.from_numpy(chosen))


def steps_per_epoch(count: int, batch_size: int) -> int:
    """How many batches an epoch over `count` images has."""
    return max(count // batch_size, 1)


def shuffled_batches(
    subset: Subset, batch_size: int, generator: torch.Generator, share: Share | None = None
) -> Iterator[tuple[Tensor, Tensor]]:
    """One epoch's images and labels in a random order; an incomplete last batch is dropped unless it is the only one.

    generator: on the CPU, so that the order is the same on every device. share: which images of each batch are wanted.
    """
    order = subset.indices[torch.randperm(len(subset), generator=generator)]
    order = order[: steps_per_epoch(len(order), batch_size) * batch_size]
    if share:
        order, batch_size = share.of(order.view(-1, share.total)).reshape(-1), len(share)
    return subset.gather(order, batch_size)
