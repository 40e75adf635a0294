"""From pixels in [0, 255] to the networks' inputs."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Normalization:
    """The inputs are (x / 255 - mean) / std, channel by channel."""

    method: str
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Normalized images.

        images: uint8, shape (N, C, H, W). Returns float32 of the same shape, rounded once from float64.
        """
        pixels = np.arange(256) / 255
        normalized = np.empty(images.shape, dtype=np.float32)
        for channel, (mean, std) in enumerate(zip(self.mean, self.std, strict=True)):
            table = ((pixels - mean) / std).astype(np.float32)
            normalized[:, channel] = table[images[:, channel]]
        return normalized

    def undo(self, normalized: np.ndarray) -> np.ndarray:
        """The pixels, uint8, that `normalized`, float32 of shape (N, C, H, W), was made from."""
        mean, std = (np.array(values)[:, None, None] for values in (self.mean, self.std))
        pixels: np.ndarray = np.rint((normalized * std + mean) * 255).astype(np.uint8)
        return pixels


def fit_normalization(method: str, chunks: Iterable[np.ndarray], channels: int) -> Normalization:
    """The normalization that `method` names; only `standard` looks at the images.

    method: `standard` (mean 0 and standard deviation 1 over the training pixels of each channel),
        `half` ((x - 0.5) / 0.5) or `unit` (x / 255).
    chunks: uint8 training images, each of shape (n, C, H, W).
    """
    if method == "standard":
        return Normalization(method, *channel_mean_std(chunks))
    mean, std = {"half": (0.5, 0.5), "unit": (0.0, 1.0)}[method]
    return Normalization(method, (mean,) * channels, (std,) * channels)


def channel_mean_std(chunks: Iterable[np.ndarray]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel, on the [0, 1] scale.

    chunks: uint8, each of shape (n, C, H, W). The pixels are counted by value, in integers, so neither
    their order nor the size of the chunks changes a bit. A constant channel's standard deviation is given as 1.
    """
    counts = sum(np.stack([np.bincount(channel.ravel(), minlength=256) for channel in chunk.swapaxes(0, 1)])
                 for chunk in chunks)  # fmt: skip
    assert isinstance(counts, np.ndarray), "no images"
    values = np.arange(256)
    means, stds = [], []
    for channel in counts.astype(object):
        total, pixels = int(channel.sum()), int((channel * values).sum())
        squares = int((channel * values**2).sum())
        means.append(pixels / total / 255)
        # An exact integer under the root: total * squares and pixels**2 nearly cancel in flat images.
        stds.append((total * squares - pixels**2) ** 0.5 / total / 255 or 1.0)
    return tuple(means), tuple(stds)
