"""Whether images look like those that a classifier was trained on, whatever it says they are."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from math import prod

import numpy as np

REFERENCES = 4000
"""Training images that others are compared with."""
FEWEST = 100
"""With fewer training images than this, a hundredth of them is nothing to set a limit by."""
FAMILIAR = 0.99
"""Share of the training images that are within the limit of another one."""
CHUNK = 500
"""Images that are compared with all references at a time."""
VALUES = 1 << 22
"""Pixel values whose statistics are computed at a time, in some 100 MB; those of one image at least."""
FLOOR = 0.01
"""Smallest standard deviation of a statistic: what hardly varies in the training images may vary a little."""


@dataclass(frozen=True)
class Familiarity:
    """What tells familiar images: statistics of training images, and how far from the nearest is too far.

    centre: their mean, shape (F,). whitening: what makes them uncorrelated, shape (F, F). references: the statistics,
    whitened, shape (N, F). limit: the distance, shape (1,). All are float32.
    """

    centre: np.ndarray
    whitening: np.ndarray
    references: np.ndarray
    limit: np.ndarray

    def distances(self, codes: np.ndarray) -> np.ndarray:
        """How far each image's statistics are from the nearest training image's.

        codes: uint8, shape (n, C, H, W). Returns float32, shape (n,).
        """
        return nearest((image_statistics(codes) - self.centre) @ self.whitening, self.references)

    def unfamiliar(self, codes: np.ndarray) -> np.ndarray:
        """Whether each image looks like none of the training images: bool, shape (n,); codes as in `distances`."""
        beyond: np.ndarray = self.distances(codes) > self.limit
        return beyond


def fit_familiarity(batches: Iterable[np.ndarray]) -> Familiarity | None:
    """The familiarity of training images, or None where there are too few.

    batches: codes of the images that `choose_references` chooses, uint8 of shape (n, C, H, W), one batch at least. A
    hundredth of the images is further than the limit from all the others.
    """
    statistics = np.concatenate([image_statistics(codes) for codes in batches])
    if len(statistics) < FEWEST:
        return None
    centre = statistics.mean(0)
    covariance = np.cov(statistics.astype(np.float64).T) + FLOOR**2 * np.eye(len(centre))
    whitening = np.linalg.cholesky(np.linalg.inv(covariance)).astype(np.float32)
    references = (statistics - centre) @ whitening
    limit = np.quantile(nearest(references, references, themselves=True), FAMILIAR)
    return Familiarity(centre, whitening, references, np.array([limit], np.float32))


def choose_references(count: int) -> np.ndarray:
    """Which of `count` training images are compared with: indices, ascending, the same for the same count."""
    return np.sort(np.random.default_rng(0).permutation(count)[:REFERENCES])


def image_statistics(codes: np.ndarray) -> np.ndarray:
    """What each image is like, whatever it shows: float32, shape (N, 9), in colour (N, 10).

    Mean and standard deviation; the shares of black and of white; the mean step between neighbours, the mean squared
    step, and the mean squared change of steps along rows and columns, as logarithms; and the colourfulness.
    codes: uint8, shape (N, C, H, W).
    """
    at_once = max(VALUES // prod(codes.shape[1:]), 1)
    return np.concatenate(
        [_statistics(codes[begin : begin + at_once]) for begin in range(0, max(len(codes), 1), at_once)]
    )


def _statistics(codes: np.ndarray) -> np.ndarray:
    # Steps and their changes take three pixels.
    missing = [max(3 - side, 0) for side in codes.shape[2:]]
    codes = np.pad(codes, ((0, 0), (0, 0), (0, missing[0]), (0, missing[1])), mode="edge")
    images = codes.astype(np.float32) / 255
    pixels = (1, 2, 3)
    across, down = np.diff(images, axis=3), np.diff(images, axis=2)
    columns = [
        images.mean(pixels),
        images.std(pixels),
        (codes < 16).mean(pixels),
        (codes > 239).mean(pixels),
        np.log(np.abs(across).mean(pixels) + 3e-3),
        np.log(np.abs(down).mean(pixels) + 3e-3),
        np.log((across**2).mean(pixels) + 1e-4),
        np.log((np.diff(across, axis=3) ** 2).mean(pixels) + 1e-4),
        np.log((np.diff(down, axis=2) ** 2).mean(pixels) + 1e-4),
    ]
    if codes.shape[1] > 1:
        columns.append(np.log(images.var(1).mean((1, 2)) + 1e-4))
    return np.stack(columns, axis=1).astype(np.float32)


def nearest(points: np.ndarray, references: np.ndarray, themselves: bool = False) -> np.ndarray:
    """The distance from each point to the nearest reference: float32, shape (n,).

    points: shape (n, F). references: shape (N, F); with `themselves`, they are the points, and each is compared with
    the others alone.
    """
    found = np.empty(len(points), np.float32)
    for begin in range(0, len(points), CHUNK):
        chunk = points[begin : begin + CHUNK]
        squares = (chunk**2).sum(1)[:, None] + (references**2).sum(1) - 2 * chunk @ references.T
        if themselves:
            squares[np.arange(len(chunk)), begin + np.arange(len(chunk))] = np.inf
        found[begin : begin + CHUNK] = np.sqrt(np.maximum(squares.min(1), 0))
    return found


def familiarity_arrays(familiarity: Familiarity | None) -> dict[str, np.ndarray]:
    """The arrays to save by name; none where there is no familiarity."""
    return asdict(familiarity) if familiarity else {}


def familiarity_from_arrays(arrays: Mapping[str, np.ndarray], channels: int) -> Familiarity:
    """Undo `familiarity_arrays`; raises TypeError or ValueError where that isn't their form."""
    familiarity = Familiarity(**arrays)
    features = 9 if channels == 1 else 10
    shapes = [array.shape for array in asdict(familiarity).values()]
    references = max(len(familiarity.references), 1)
    if shapes != [(features,), (features, features), (references, features), (1,)]:
        raise ValueError(f"arrays of shapes {shapes}")
    if any(array.dtype != np.float32 or not np.isfinite(array).all() for array in arrays.values()):
        raise ValueError("not all are finite numbers in float32")
    return familiarity
