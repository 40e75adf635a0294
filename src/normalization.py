"""From 8-bit codes, the pixels in [0, 255], to the numbers that networks compute with."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np

Method = Literal["standard", "half", "unit"]


@dataclass(frozen=True)
class Normalization:
    """What a code means: code * scale + offset, channel by channel, which is (code / 255 - mean) / std.

    method: `standard`, `half` or `unit`. mean, std: per channel, on the [0, 1] scale. scale, offset: per channel, the
    float32 numbers that are applied.
    """

    method: Method
    mean: tuple[float, ...]
    std: tuple[float, ...]
    scale: tuple[float, ...]
    offset: tuple[float, ...]

    def __call__(self, codes: np.ndarray) -> np.ndarray:
        """The values of the codes, as the classifier's first layer computes them.

        codes: uint8, shape (N, C, H, W). Returns float32 of the same shape.
        """
        scale, offset = (np.array(numbers, np.float32)[:, None, None] for numbers in (self.scale, self.offset))
        values: np.ndarray = codes * scale + offset
        return values


def normalization_of(method: Method, mean: Iterable[float], std: Iterable[float]) -> Normalization:
    """The normalization (x - mean) / std of pixels x in [0, 1], its scale and offset rounded once, to float32."""
    mean, std = tuple(mean), tuple(std)
    scale = tuple(float(np.float32(1 / (255 * s))) for s in std)
    offset = tuple(float(np.float32(-m / s)) for m, s in zip(mean, std, strict=True))
    return Normalization(method, mean, std, scale, offset)


def fit_normalization(method: Method, chunks: Iterable[np.ndarray], channels: int) -> Normalization:
    """The normalization that `method` names; only `standard` looks at the images.

    method: `standard` (mean 0 and standard deviation 1 over the training pixels of each channel),
        `half` ((x - 0.5) / 0.5) or `unit` (x in [0, 1]).
    chunks: uint8 training images, each of shape (n, C, H, W).
    """
    if method == "standard":
        return normalization_of(method, *channel_mean_std(chunks))
    mean, std = {"half": (0.5, 0.5), "unit": (0.0, 1.0)}[method]
    return normalization_of(method, (mean,) * channels, (std,) * channels)


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
