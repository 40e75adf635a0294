"""Changing the training images at random, a batch at a time and each image by itself, on the device."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from src.params import Augment
from src.processes import Share


def make_augmentation(
    settings: Augment, seed: int, device: torch.device, share: Share | None = None
) -> "Augmentation | None":
    """The augmentation that the settings ask for, drawn from the seed; None where they ask for none."""
    if not any(settings.model_dump().values()):
        return None
    return Augmentation(settings, torch.Generator(device).manual_seed(seed), share)


@dataclass(frozen=True)
class Augmentation:
    """Rotates, flips, shifts and cuts out as `settings` says, in this order; what comes in from outside is black, 0.

    generator: on the images' device. share: which images of each batch it is given, if not all; each is changed as it
    would be among all.
    """

    settings: Augment
    generator: torch.Generator
    share: Share | None = None

    def __call__(self, codes: Tensor) -> Tensor:
        """The images changed; uint8 codes of shape (N, C, H, W), as they came."""
        if self.settings.rotation:
            codes = self._rotate(codes)
        if self.settings.flip:
            flipped = self._uniform(len(codes), 1, 1, 1) < 0.5
            codes = torch.where(flipped, codes.flip(3), codes)
        if self.settings.shift:
            codes = self._shift(codes)
        if self.settings.cutout:
            codes = self._cut_out(codes)
        return codes

    def _draw(self, draw: Callable[[int], Tensor], count: int) -> Tensor:
        """What `draw` gives for each of `count` images, first axis; of a share, as it would be among all."""
        if self.share is None:
            return draw(count)
        return draw(self.share.total)[self.share.start : self.share.stop]

    def _uniform(self, count: int, *shape: int) -> Tensor:
        device = self.generator.device
        return self._draw(lambda each: torch.rand(each, *shape, generator=self.generator, device=device), count)

    def _whole(self, end: int, count: int) -> Tensor:
        return torch.randint(0, end, (count,), generator=self.generator, device=self.generator.device)

    def _rotate(self, codes: Tensor) -> Tensor:
        angles = (self._uniform(len(codes)) * 2 - 1) * math.radians(self.settings.rotation)
        cos, sin, zero = angles.cos(), angles.sin(), torch.zeros_like(angles)
        # Coordinates run from -1 to 1 along each side, so the sine is stretched where the sides differ.
        aspect = codes.shape[2] / codes.shape[3]
        turns = torch.stack([torch.stack([cos, -sin * aspect, zero], 1), torch.stack([sin / aspect, cos, zero], 1)], 1)
        grid = F.affine_grid(turns, list(codes.shape), align_corners=False)
        return F.grid_sample(codes.float(), grid, align_corners=False).round_().to(torch.uint8)

    def _shift(self, codes: Tensor) -> Tensor:
        """Each image moved by its own whole numbers of pixels, drawn evenly up to the farthest either way."""
        count, channels, height, width = codes.shape
        down, right = round(self.settings.shift * height), round(self.settings.shift * width)
        padded = codes.new_zeros(count, channels, height + 2 * down, width + 2 * right)
        padded[:, :, down : down + height, right : right + width] = codes
        # A view of all windows on each image, of which one is copied: five times faster than gathering pixels.
        windows = padded.unfold(2, height, 1).unfold(3, width, 1)
        rows, columns = (self._draw(partial(self._whole, 2 * most + 1), count) for most in (down, right))
        return windows[torch.arange(count, device=codes.device), :, rows, columns]

    def _cut_out(self, codes: Tensor) -> Tensor:
        """A box of each image made black (DeVries and Taylor, https://arxiv.org/abs/1708.04552)."""
        outside = torch.zeros((), dtype=torch.bool, device=codes.device)
        for axis, view in ((2, (1, 1, -1, 1)), (3, (1, 1, 1, -1))):
            size = codes.shape[axis]
            centre = self._uniform(len(codes), 1, 1, 1) * size
            pixels = torch.arange(size, device=codes.device).view(view) + 0.5
            outside = outside | ((pixels - centre).abs() >= self.settings.cutout * size / 2)
        return codes * outside
