"""Batches gathered from arrays that live on the device."""

from collections.abc import Iterator

import torch
from torch import Tensor


def steps_an_epoch(count: int, batch_size: int) -> int:
    """How many batches an epoch over `count` images has."""
    return max(count // batch_size, 1)


def batches(
    images: Tensor, labels: Tensor, batch_size: int, generator: torch.Generator
) -> Iterator[tuple[Tensor, Tensor]]:
    """One epoch's batches in a random order; an incomplete last batch is dropped unless it is the only one.

    images: shape (N, C, H, W); labels: shape (N,), on the same device. generator: on the CPU, so that the order
    is the same on every device.
    """
    order = torch.randperm(len(images), generator=generator).to(images.device)
    whole = steps_an_epoch(len(order), batch_size) * batch_size
    for indices in order[:whole].split(batch_size):
        yield images.index_select(0, indices), labels.index_select(0, indices)
