"""Batches gathered from arrays that stay where they are: memory-mapped on the CPU, resident on an accelerator."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


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


def make_subsets(
    images: np.ndarray, labels: np.ndarray, chosen: tuple[np.ndarray, ...], device: torch.device
) -> tuple[Subset, ...]:
    """A subset for each array of indices in `chosen`; on the CPU, the memory-mapped images stay in their file."""
    on_device = torch.from_numpy(images).to(device), torch.from_numpy(labels).to(device)
    return tuple(Subset(*on_device, torch.from_numpy(indices)) for indices in chosen)


def steps_per_epoch(count: int, batch_size: int) -> int:
    """How many batches an epoch over `count` images has."""
    return max(count // batch_size, 1)


def shuffled_batches(subset: Subset, batch_size: int, generator: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
    """One epoch's images and labels in a random order; an incomplete last batch is dropped unless it is the only one.

    generator: on the CPU, so that the order is the same on every device.
    """
    order = subset.indices[torch.randperm(len(subset), generator=generator)]
    return subset.gather(order[: steps_per_epoch(len(order), batch_size) * batch_size], batch_size)
