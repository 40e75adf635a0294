"""Images that memory has no room for: read from their file block by block, ahead of what is computed with them.

Neighbouring images are read together, and images of places all over the file are in memory together: L. Xu and others,
CorgiPile, https://arxiv.org/abs/2206.05830.
"""

import mmap
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from src.devices import free_on
from src.errors import MnistryError
from src.resources import in_words

BLOCK_BYTES = 128 << 10
"""Of a file that are read at once, and whose images stay together during an epoch; at least one image."""
GROUP_BYTES = 64 << 20
"""Of blocks that are in memory together; there are two such groups: one is used while a thread reads the next."""
ORDER_BYTES = 8 << 20
"""Of images that are read at once where they are read in the file's order."""
FULLEST = 0.75
"""Part of the free memory that images may take. The rest is for what is computed with them."""

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")


def too_large(size: int, device: torch.device) -> str | None:
    """What the log says where images of `size` bytes take too much of the device's memory; None where they fit."""
    free = free_on(device)
    if free is None or size <= FULLEST * free:
        return None
    return (
        f"the images take {in_words(size)}, more than {FULLEST:.0%} of the {in_words(free)} of memory that are free on "
        f"{device}: they are read in shuffled blocks of {BLOCK_BYTES >> 10} KiB, {GROUP_BYTES >> 20} MiB at a time"
    )


@dataclass(frozen=True)
class StoredImages:
    """Codes in a .npy file, of which as many as are asked for are read.

    path: of the file. start: the first image's first byte. shape: (N, C, H, W).
    """

    path: Path
    start: int
    shape: tuple[int, ...]

    @classmethod
    def of(cls, images: np.ndarray) -> "StoredImages":
        """Those in the file that is memory-mapped as `images`, uint8 of shape (N, C, H, W)."""
        assert isinstance(images, np.memmap), "only what is in a file can be read from it"
        return cls(Path(str(images.filename)), images.offset, images.shape)

    @property
    def block_size(self) -> int:
        """Images per block; the last block may have fewer."""
        return max(BLOCK_BYTES // prod(self.shape[1:]), 1)

    def groups(self, generator: torch.Generator | None = None) -> Iterator[Tensor]:
        """The numbers of all blocks, group by group, ascending in each; int64.

        generator: the file is cut into as many stretches as a group has blocks, and each group gets one block of each
        stretch, drawn without replacement: images that are sorted by class are as mixed as they are in the whole file.
        Without it, the groups follow one another in the file.
        """
        blocks = -(-self.shape[0] // self.block_size)
        in_memory = GROUP_BYTES if generator else ORDER_BYTES
        per_group = max(in_memory // (self.block_size * prod(self.shape[1:])), 1)
        if generator is None:
            yield from torch.arange(blocks).split(per_group)
            return
        count = -(-blocks // per_group)
        drawn = torch.stack([torch.randperm(count, generator=generator) for _ in range(per_group)], 1)
        for group in drawn + torch.arange(per_group) * count:
            yield group[group < blocks]

    def in_order(self, batch_size: int) -> Iterator[Tensor]:
        """All images in batches of that size, the last one perhaps smaller, while a thread reads the next ones."""
        size = batch_size * max(ORDER_BYTES // (batch_size * prod(self.shape[1:])), 1)
        starts = np.arange(0, self.shape[0], size)[:, None]
        stops = np.minimum(starts + size, self.shape[0])
        for _, images in read_ahead(lambda ends: self._read(*ends), zip(starts, stops, strict=True)):
            yield from images.split(batch_size)

    def chosen(self, blocks: Tensor, indices: Tensor) -> Tensor:
        """Those of the indices, ascending, that are in the blocks, ascending too."""
        first, last = (torch.searchsorted(indices, (blocks + end) * self.block_size).tolist() for end in (0, 1))
        return torch.cat([indices[start:stop] for start, stop in zip(first, last, strict=True)])

    def places(self, blocks: Tensor, indices: Tensor) -> Tensor:
        """Where images at the indices, each in one of the blocks, are in what `read` gives of these; int64."""
        number = indices // self.block_size
        return (torch.searchsorted(blocks, number) - number) * self.block_size + indices

    def read(self, blocks: Tensor, pinned: bool = False) -> Tensor:
        """The images of the blocks, ascending, one after the other: uint8 of shape (n, C, H, W).

        pinned: in memory that an accelerator can copy from by itself.
        """
        starts = blocks.numpy() * self.block_size
        stops = np.minimum(starts + self.block_size, self.shape[0])
        # Blocks that follow one another are read as one.
        cuts = np.flatnonzero(starts[1:] != stops[:-1])
        return self._read(starts[np.r_[0, cuts + 1]], stops[np.r_[cuts, -1]], pinned)

    def read_at(self, indices: Tensor) -> Tensor:
        """The images at the indices, one by one: for a few of them. uint8 of shape (n, C, H, W)."""
        return self._read(indices.numpy(), indices.numpy() + 1)

    def _read(self, starts: np.ndarray, stops: np.ndarray, pinned: bool = False) -> Tensor:
        """The images from each start to before its stop."""
        size, shape = prod(self.shape[1:]), (int((stops - starts).sum()), *self.shape[1:])
        images = torch.empty(shape, dtype=torch.uint8, pin_memory=True) if pinned else _own_pages(shape)
        content, done = images.numpy().data.cast("B"), 0
        with self.path.open("rb") as file:
            for start, stop in zip(starts.tolist(), stops.tolist(), strict=True):
                end = done + (stop - start) * size
                file.seek(self.start + start * size)
                if file.readinto(content[done:end]) != end - done:
                    raise MnistryError(f"{self.path}: it became shorter while it was read; run `dvc checkout`")
                done = end
        return images


def _own_pages(shape: tuple[int, ...]) -> Tensor:
    """An uninitialized uint8 tensor whose memory goes back to the system: the C library keeps it (src/runtime.py)."""
    return torch.from_numpy(np.frombuffer(mmap.mmap(-1, max(prod(shape), 1)), np.uint8, prod(shape)).reshape(shape))


def read_ahead(read: Callable[[ItemT], ResultT], items: Iterable[ItemT]) -> Iterator[tuple[ItemT, ResultT]]:
    """Each item with what `read` gives for it, in order, which a thread reads while the one before is used."""
    with ThreadPoolExecutor(1) as pool:
        waiting: tuple[ItemT, Future[ResultT]] | None = None
        for item in items:
            following = item, pool.submit(read, item)
            if waiting:
                yield waiting[0], waiting[1].result()
            waiting = following
        if waiting:
            yield waiting[0], waiting[1].result()
