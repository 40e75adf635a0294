"""What makes scores untrustworthy: images of one colour, images that are there twice, classes that are too unequal."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

CHUNK = 4096
"""Images that are looked at together."""
SIDE = 8
"""Of the thumbnails that near-duplicates are looked for with."""
TABLES, PROJECTIONS, CELL = 8, 10, 0.5
"""Hash tables, random projections per table and the width of a cell, in standard deviations of a projection: a copy
that moves each projection by a twentieth of a standard deviation shares a cell in some table 99 times of 100."""
LARGEST_BUCKET = 8
"""Neighbours in a cell that an image is compared with: what keeps the cost linear where thousands share a cell."""
ALIKE = 0.995
"""The correlation of two images' pixels from which on they are near-duplicates."""
RARE = 10


@dataclass(frozen=True)
class Pair:
    """Two images that are the same, or nearly: for each its split and its index there."""

    first: tuple[str, int]
    second: tuple[str, int]
    exact: bool


@dataclass(frozen=True)
class Inspection:
    """What was found: images of one colour by split; pairs across splits, and pairs with two labels.

    counts: images of each class by split, int64 of shape (K,).
    """

    class_names: Sequence[str]
    counts: dict[str, np.ndarray]
    constant: dict[str, list[int]]
    across_splits: list[Pair]
    two_labels: list[Pair]

    def metrics(self) -> dict[str, float | int]:
        """The metrics of metrics/dataset.json."""
        train = self.counts["train"]
        return {
            **{f"{split}_images": int(counts.sum()) for split, counts in self.counts.items()},
            "classes": len(self.class_names),
            "smallest_class": int(train.min()),
            "largest_class": int(train.max()),
            "classes_without_test_images": int((self.counts["test"] == 0).sum()),
            "images_of_one_colour": sum(map(len, self.constant.values())),
            "duplicates_across_splits": sum(pair.exact for pair in self.across_splits),
            "near_duplicates_across_splits": sum(not pair.exact for pair in self.across_splits),
            "duplicates_with_two_labels": sum(pair.exact for pair in self.two_labels),
            "near_duplicates_with_two_labels": sum(not pair.exact for pair in self.two_labels),
        }

    def warnings(self, files: Mapping[str, Sequence[str]]) -> Iterator[str]:
        """One line per kind of what was found, with the first images' file names."""
        for split, indices in self.constant.items():
            count = len(indices)
            if count:
                shown = ", ".join(files[split][i] for i in indices[:3])
                advice = "; dark ink on a transparent ground is black on black" if count > 1 else ""
                yield f"{count} of {int(self.counts[split].sum())} {split} images are of one colour: {shown}{advice}"
        for pairs, what in (
            (self.across_splits, "are in two splits, so that scores on them are too good"),
            (self.two_labels, "have two labels, of which one is wrong"),
        ):
            for exact, how in ((True, "the same images"), (False, "nearly the same images")):
                chosen = [pair for pair in pairs if pair.exact is exact]
                if chosen:
                    first, second = (place_of(place, files) for place in (chosen[0].first, chosen[0].second))
                    yield f"{len(chosen)} pairs of {how} {what}; such as {first} and {second}"
        train = self.counts["train"]
        if train.max() >= RARE * max(train.min(), 1):
            yield (
                f"class {self.class_names[int(train.argmin())]!r} has {train.min()} training images, "
                f"{self.class_names[int(train.argmax())]!r} has {train.max()}"
            )


def place_of(place: tuple[str, int], files: Mapping[str, Sequence[str]]) -> str:
    """What an image is called, with its split where its name doesn't begin with that."""
    split, i = place
    name = files[split][i]
    return name if name.startswith(f"{split}/") else f"{split}: {name}"


def inspect_dataset(
    images: Mapping[str, np.ndarray], labels: Mapping[str, np.ndarray], class_names: Sequence[str]
) -> Inspection:
    """Look through all images, in time and memory proportional to their number.

    images: for each split, uint8 of shape (N, C, H, W), which may be memory-mapped. labels: int64, shape (N,). Besides
    exact copies, copies that were encoded anew, brightened or resized are found, and images that are as much alike:
    docs/datasets.md has the rates of both.
    """
    counts = {split: np.bincount(each, minlength=len(class_names)) for split, each in labels.items()}
    where = [(split, i) for split, each in labels.items() for i in range(len(each))]
    constant: dict[str, list[int]] = {split: [] for split in images}
    digests: list[bytes] = []
    thumbnails = np.empty((len(where), SIDE * SIDE), np.float32)
    for split, begin, chunk in _chunks(images):
        flat = chunk.reshape(len(chunk), -1)
        constant[split] += (begin + np.flatnonzero((chunk == chunk[:, :, :1, :1]).all((1, 2, 3)))).tolist()
        thumbnails[len(digests) : len(digests) + len(chunk)] = _thumbnails(chunk)
        digests += [hashlib.blake2b(row.tobytes(), digest_size=16).digest() for row in flat]
    pairs = dict.fromkeys(_equal(digests), True)
    for pair in _near(thumbnails):
        if digests[pair[0]] != digests[pair[1]] and _correlation(images, *(where[i] for i in pair)) >= ALIKE:
            pairs[pair] = False
    # Images of one colour are all alike; they have a line of their own.
    plain = {(split, i) for split, indices in constant.items() for i in indices}
    found = [Pair(where[i], where[j], exact) for (i, j), exact in sorted(pairs.items()) if where[i] not in plain]
    return Inspection(
        class_names,
        counts,
        constant,
        across_splits=[pair for pair in found if pair.first[0] != pair.second[0]],
        two_labels=[pair for pair in found if len({labels[split][i] for split, i in (pair.first, pair.second)}) == 2],
    )


def _chunks(images: Mapping[str, np.ndarray]) -> Iterator[tuple[str, int, np.ndarray]]:
    """A few images at a time, with their split and the index of the first."""
    for split, array in images.items():
        for begin in range(0, len(array), CHUNK):
            yield split, begin, np.ascontiguousarray(array[begin : begin + CHUNK])


def _equal(digests: Sequence[bytes]) -> Iterator[tuple[int, int]]:
    """The first image with each digest, and each later one."""
    first: dict[bytes, int] = {}
    for i, digest in enumerate(digests):
        if (earlier := first.setdefault(digest, i)) != i:
            yield earlier, i


def _thumbnails(images: np.ndarray) -> np.ndarray:
    """Grey images of 8x8 pixels with mean 0 and length 1, as rows; 0 where an image is of one colour."""
    grey: np.ndarray = images.mean(1, dtype=np.float32)
    for axis in (1, 2):
        edges = np.linspace(0, grey.shape[axis], SIDE + 1)
        # The part of each pixel that is in each of the eight bands.
        pixels = np.arange(grey.shape[axis])[:, None]
        shares = np.clip(np.minimum(edges[1:], pixels + 1) - np.maximum(edges[:-1], pixels), 0, None)
        grey = np.moveaxis(np.moveaxis(grey, axis, -1) @ (shares / shares.sum(0)).astype(np.float32), -1, axis)
    rows = grey.reshape(len(grey), -1)
    rows = rows - rows.mean(1, keepdims=True)
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    scaled: np.ndarray = np.divide(rows, length, out=np.zeros_like(rows), where=length > 1e-3)
    return scaled


def _near(thumbnails: np.ndarray) -> Iterator[tuple[int, int]]:
    """Pairs of thumbnails that are close, as candidates.

    Locality-sensitive hashing by random projections: M. Datar and others, SCG 2004, doi 10.1145/997817.997857.
    """
    generator = np.random.default_rng(0)
    seen: set[tuple[int, int]] = set()
    for _ in range(TABLES):
        directions = generator.standard_normal((thumbnails.shape[1], PROJECTIONS)).astype(np.float32)
        projected = thumbnails @ directions
        cells = np.floor(projected / (CELL * (projected.std(0) + 1e-9)) + generator.random(PROJECTIONS)).astype(
            np.int64
        )
        keys = cells @ generator.integers(1, 1 << 40, PROJECTIONS)
        # Within a cell, the first projection brings those that are alike next to each other.
        order = np.lexsort((projected[:, 0], keys))
        for step in range(1, LARGEST_BUCKET + 1):
            a, b = order[:-step], order[step:]
            together = keys[a] == keys[b]
            a, b = a[together], b[together]
            close = np.einsum("ij,ij->i", thumbnails[a], thumbnails[b]) >= ALIKE
            for i, j in zip(a[close].tolist(), b[close].tolist(), strict=True):
                pair = (i, j) if i < j else (j, i)
                if pair not in seen:
                    seen.add(pair)
                    yield pair


def _correlation(images: Mapping[str, np.ndarray], first: tuple[str, int], second: tuple[str, int]) -> float:
    """Of the two images' pixels, which brightness and contrast don't change."""
    rows = [images[split][i].astype(np.float32).ravel() for split, i in (first, second)]
    rows = [row - row.mean() for row in rows]
    length = float(np.linalg.norm(rows[0]) * np.linalg.norm(rows[1]))
    return float(rows[0] @ rows[1]) / length if length else 0.0
