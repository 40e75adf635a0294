"""Batches gathered from arrays that stay where they are: memory-mapped on the CPU, resident on an accelerator.

Images that don't fit into memory are read from their file block by block.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from src.blocks import StoredImages, read_ahead
from src.datasets import DatasetInfo, load_split
from src.params import Train
from src.processes import Share
from src.splits import stratified_fold, stratified_split


@dataclass(frozen=True)
class Subset:
    """Some of the images of a split, which are never copied as a whole.

    images: uint8 codes, shape (N, C, H, W), and labels: int64, shape (N,), on one device. indices: which of them,
    int64, shape (n,), on the CPU. stored: the images in their file, where they don't fit into memory: N is 0 in
    `images` then, and the indices are ascending.
    """

    images: Tensor
    labels: Tensor
    indices: Tensor
    stored: StoredImages | None = None

    def __len__(self) -> int:
        """The number of images chosen."""
        return len(self.indices)

    def gather(self, order: Tensor, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Images and labels at the indices in `order`, in batches of that size; the last one may be smaller."""
        if self.stored:
            for indices in order.split(batch_size):
                images = self.stored.read_at(indices).to(self.images.device)
                yield images, self.labels.index_select(0, indices.to(self.labels.device))
            return
        for indices in order.to(self.images.device).split(batch_size):
            yield self.images.index_select(0, indices), self.labels.index_select(0, indices)

    def in_order(self, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """All images chosen, and their labels, in batches of that size; the last one may be smaller."""
        if not self.stored:
            return self.gather(self.indices, batch_size)
        groups = ((blocks, self.stored.chosen(blocks, self.indices)) for blocks in self.stored.groups())
        return self.gather_groups(groups, batch_size)

    def gather_groups(
        self, groups: Iterable[tuple[Tensor, Tensor]], batch_size: int
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Images and labels in batches of that size, of stored images; the last one may be smaller.

        groups: numbers of blocks that are read together, ascending, and the indices of images in them, in the order
        wanted.
        """
        assert self.stored
        stored, device = self.stored, self.images.device
        wanted = (group for group in groups if len(group[1]))
        nothing = rest = self.images[:0], self.labels[:0]
        for (blocks, order), content in read_ahead(lambda group: stored.read(group[0], device.type == "cuda"), wanted):
            # What is pinned is copied while the device computes.
            images, places = content.to(device, non_blocking=True), stored.places(blocks, order).to(device)
            ends = tuple(range(batch_size - len(rest[1]), len(order), batch_size))
            for rows, indices in zip(places.tensor_split(ends), order.to(device).tensor_split(ends), strict=True):
                found = images.index_select(0, rows), self.labels.index_select(0, indices)
                batch = (torch.cat([rest[0], found[0]]), torch.cat([rest[1], found[1]])) if len(rest[1]) else found
                rest = nothing if len(batch[1]) == batch_size else batch
                if rest is nothing:
                    yield batch
        if len(rest[1]):
            yield rest


def validation_split(dataset: DatasetInfo, options: Train) -> Literal["train", "validation"]:
    """The split that the images to validate on are of: the source's own validation split, if there are no folds."""
    return "validation" if "validation" in dataset.sha256 and not options.folds else "train"


def images_bytes(folder: Path, dataset: DatasetInfo, options: Train) -> int:
    """Bytes of all images to train on and to validate on; 0 for files that aren't there."""
    paths = {folder / f"{split}_images.npy" for split in ("train", validation_split(dataset, options))}
    return sum(path.stat().st_size for path in paths if path.exists())


def load_subsets(
    folder: Path, dataset: DatasetInfo, options: Train, seed: int, device: torch.device, stored: bool = False
) -> tuple[Subset, Subset]:
    """The images to train on and those to validate on, out of the normalized dataset in `folder`.

    Those to validate on are a fold of the training split where the options ask for folds; else the source's own
    validation split where it has one; else a fraction of each class of the training split. Folds and fraction are
    drawn from the seed. On the CPU, all images stay in their memory-mapped files; `stored`, they do on all devices, and
    no map keeps them in memory.
    """
    images, labels = load_split(folder, "train", dataset)
    if validation_split(dataset, options) == "validation":
        own = load_split(folder, "validation", dataset)
        return make_subset(images, labels, device, stored=stored), make_subset(*own, device, stored=stored)
    draw = np.random.default_rng(seed)
    if options.folds:
        kept, held_out = stratified_fold(labels, options.folds, options.fold, draw, dataset.class_names)
    else:
        kept, held_out = stratified_split(labels, options.validation_fraction, draw, dataset.class_names)
    train = make_subset(images, labels, device, kept, stored)
    return train, replace(train, indices=torch.from_numpy(held_out))


def make_subset(
    images: np.ndarray, labels: np.ndarray, device: torch.device, indices: np.ndarray | None = None,
    stored: bool = False,
) -> Subset:  # fmt: skip
    """The images at the indices, or all; on the CPU, they share the arrays' memory. stored: they stay in their file."""
    chosen = torch.from_numpy(np.arange(len(labels)) if indices is None else indices)
    resident = torch.from_numpy(images[:0] if stored else images).to(device)
    file = StoredImages.of(images) if stored else None
    return Subset(resident, torch.from_numpy(labels).to(device), chosen, file)


def steps_per_epoch(count: int, batch_size: int) -> int:
    """How many batches an epoch over `count` images has."""
    return max(count // batch_size, 1)


def shuffled_batches(
    subset: Subset, batch_size: int, generator: torch.Generator, share: Share | None = None
) -> Iterator[tuple[Tensor, Tensor]]:
    """One epoch's images and labels in a random order; an incomplete last batch is dropped unless it is the only one.

    generator: on the CPU, so that the order is the same on every device. share: which images of each batch are wanted.
    Stored images are drawn from a few blocks of their file at a time, and each epoch from others together.
    """
    if subset.stored:
        # Drawn from once, so that the next epoch's order doesn't depend on where this one's reading ends.
        own = torch.Generator().manual_seed(int(torch.randint(1 << 62, (), generator=generator)))
        groups = _shuffled_groups(subset, subset.stored, min(batch_size, len(subset)), own, share)
        return subset.gather_groups(groups, len(share) if share else batch_size)
    order = subset.indices[torch.randperm(len(subset), generator=generator)]
    order = order[: steps_per_epoch(len(order), batch_size) * batch_size]
    if share:
        order, batch_size = share.of(order.view(-1, share.total)).reshape(-1), len(share)
    return subset.gather(order, batch_size)


def _shuffled_groups(
    subset: Subset, stored: StoredImages, batch_size: int, generator: torch.Generator, share: Share | None
) -> Iterator[tuple[Tensor, Tensor]]:
    """For `gather_groups`: an epoch's blocks that are read together, and which of their images, in a random order."""
    done, wanted = 0, steps_per_epoch(len(subset), batch_size) * batch_size
    for blocks in stored.groups(generator):
        indices = stored.chosen(blocks, subset.indices)
        order = indices[torch.randperm(len(indices), generator=generator)][: wanted - done]
        in_batch = torch.arange(done, done + len(order)) % batch_size
        done += len(order)
        yield blocks, order[(in_batch >= share.start) & (in_batch < share.stop)] if share else order
