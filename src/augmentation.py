"""Changing the training images at random, a batch at a time and each image by itself, on the device."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from src.params import Augment


@dataclass(frozen=True)
class Augmentation:
    """Rotates, flips, shifts and cuts out as `settings` says, in this order.

    black: the normalized value of black in each channel, float32 of shape (C,) on the device; it fills what
    comes in from outside the image. generator: on the images' device.
    """

    settings: Augment
    black: Tensor
    generator: torch.Generator

    def __call__(self, images: Tensor) -> Tensor:
        """The images changed; float32, shape (N, C, H, W), as they came."""
        if self.settings.rotation:
            images = self._rotate(images)
        if self.settings.flip:
            flipped = self._uniform(len(images), 1, 1, 1) < 0.5
            images = torch.where(flipped, images.flip(3), images)
        if self.settings.shift:
            images = self._shift(images)
        if self.settings.cutout:
            images = self._cut_out(images)
        return images

    def _uniform(self, *shape: int) -> Tensor:
        return torch.rand(shape, generator=self.generator, device=self.black.device)

    def _rotate(self, images: Tensor) -> Tensor:
        angles = (self._uniform(len(images)) * 2 - 1) * math.radians(self.settings.rotation)
        cos, sin, zero = angles.cos(), angles.sin(), torch.zeros_like(angles)
        # Coordinates run from -1 to 1 along each side, so the sine is stretched where the sides differ.
        aspect = images.shape[2] / images.shape[3]
        turns = torch.stack([torch.stack([cos, -sin * aspect, zero], 1), torch.stack([sin / aspect, cos, zero], 1)], 1)
        grid = F.affine_grid(turns, list(images.shape), align_corners=False)
        # grid_sample fills with 0, so black is made 0 for its sake.
        black = self.black.view(1, -1, 1, 1)
        return F.grid_sample(images - black, grid, align_corners=False) + black

    def _shift(self, images: Tensor) -> Tensor:
        """Each image moved by its own whole numbers of pixels, drawn evenly up to the farthest either way."""
        count, _, height, width = images.shape
        down, right = round(self.settings.shift * height), round(self.settings.shift * width)
        padded = self.black.view(1, -1, 1, 1).repeat(count, 1, height + 2 * down, width + 2 * right)
        padded[:, :, down : down + height, right : right + width] = images
        # A view of all windows on each image, of which one is copied: five times faster than gathering pixels.
        windows = padded.unfold(2, height, 1).unfold(3, width, 1)
        rows, columns = (
            torch.randint(0, 2 * most + 1, (count,), generator=self.generator, device=images.device)
            for most in (down, right)
        )
        return windows[torch.arange(count, device=images.device), :, rows, columns]

    def _cut_out(self, images: Tensor) -> Tensor:
        """A box of each image made black (DeVries and Taylor, https://arxiv.org/abs/1708.04552)."""
        inside = torch.ones((), dtype=torch.bool, device=images.device)
        for axis, view in ((2, (1, 1, -1, 1)), (3, (1, 1, 1, -1))):
            size = images.shape[axis]
            centre = self._uniform(len(images), 1, 1, 1) * size
            pixels = torch.arange(size, device=images.device).view(view) + 0.5
            inside = inside & ((pixels - centre).abs() < self.settings.cutout * size / 2)
        return torch.where(inside, self.black.view(1, -1, 1, 1), images)
