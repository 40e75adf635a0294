"""Images that are nearly the same: encoded anew, brightened, or shifted by a pixel."""

from collections.abc import Iterator, Sequence

import numpy as np

LARGEST = 32
"""Pixels per side that images are reduced to before they are compared, which bounds time and memory per image."""
SIDE = 8
"""Of the thumbnails by which candidates are found."""
SHIFTS = ((0, 0), (0, 1), (1, -1), (1, 0), (1, 1))
"""Pixels down and to the right by which candidates are shifted. Opposite shifts are found from the other image."""
ALL_SHIFTS = tuple((y, x) for y in (-1, 0, 1) for x in (-1, 0, 1))
TABLES, PROJECTIONS, CELL = 8, 10, 0.75
"""Hash tables, random projections per table, and the width of a cell in standard deviations of a projection."""
LARGEST_BUCKET = 8
"""Neighbours in a cell that an image is compared with: what keeps the cost linear where thousands share a cell."""
PLACE_BITS = np.uint64(16)
"""Of a key, for the place within its cell."""
NEIGHBOUR = 3
"""Which of the nearest reference images sets the scale; one or two of them may be copies."""
THUMBNAIL_REFERENCES, THUMBNAILS_CLOSE = 300, 0.3
REFERENCES, CLOSE = 1000, 0.2
"""Near-duplicates are closer than this part of the distance to the third-nearest of so many reference images: what is
alike depends on the dataset. Thumbnails are only to find candidates."""
SMOOTHING = (1 / 16, 4 / 16, 6 / 16, 4 / 16, 1 / 16)
MOST_IMAGES, MOST_NUMBERS = 4096, 1 << 22
"""Images, and numbers in them, that are in memory together."""

MOST_COMPARED = 500_000
"""Images of all splits together, for each of which the search takes some 700 bytes of memory."""

Shifts = Sequence[tuple[int, int]]


class _Images:
    """The images of several arrays, uint8 of shape (N, C, H, W), one after another; of too many, some."""

    def __init__(self, arrays: Sequence[np.ndarray]) -> None:
        self.arrays = arrays
        self.ends = np.cumsum([len(array) for array in arrays])
        self.compared = _choose(int(self.ends[-1]), MOST_COMPARED)

    def __len__(self) -> int:
        return len(self.compared)

    def batches(self, indices: np.ndarray, copies: int = 1) -> Iterator[np.ndarray]:
        """The indices, as many at a time as fit into the memory that is allowed with `copies` of each image."""
        size = max(min(MOST_IMAGES, MOST_NUMBERS // self.arrays[0][0].size) // copies, 1)
        for begin in range(0, len(indices), size):
            yield indices[begin : begin + size]

    def reduced(self, indices: np.ndarray) -> np.ndarray:
        """Images of at most 32 pixels per side, float32 of shape (n, C, h, w)."""
        indices = self.compared[indices]
        which = np.searchsorted(self.ends, indices, side="right")
        within = indices - np.concatenate([[0], self.ends])[which]
        images = np.stack([self.arrays[array][i] for array, i in zip(which, within, strict=True)]).astype(np.float32)
        height, width = images.shape[2:]
        if max(height, width) <= LARGEST:
            return images
        rows, columns = (_bands(side, min(side, LARGEST), 0, side) for side in (height, width))
        reduced: np.ndarray = rows.T @ images @ columns
        return reduced


def near_duplicates(arrays: Sequence[np.ndarray]) -> np.ndarray:
    """Pairs of images, exact duplicates among them: int64, shape (pairs, 2), the lower index first.

    arrays: uint8, shape (N, C, H, W), which may be memory-mapped; the indices go through one after another. Time and
    memory are proportional to the number of images, of which no more than MOST_COMPARED, drawn at random, are compared.
    """
    images = _Images(arrays)
    if len(images) <= NEIGHBOUR:
        return np.empty((0, 2), np.int64)
    found = np.array(list(_confirmed(images, _candidates(images))), np.int64)
    return images.compared[found.reshape(-1, 2)]


def _bands(length: int, count: int, begin: int, end: int) -> np.ndarray:
    """Weights, shape (length, count), that average the pixels from `begin` to `end` within each of `count` bands."""
    edges = np.linspace(begin, end, count + 1)
    # The part of each pixel that is in each of the bands.
    pixels = np.arange(length)[:, None]
    shares = np.clip(np.minimum(edges[1:], pixels + 1) - np.maximum(edges[:-1], pixels), 0, None)
    weights: np.ndarray = (shares / shares.sum(0)).astype(np.float32)
    return weights


def _scaled(images: np.ndarray) -> np.ndarray:
    """The images as rows of mean 0 and length 1, which brightness and contrast don't change; 0 where of one colour."""
    rows = images.reshape(len(images), -1)
    rows = rows - rows.mean(1, keepdims=True)
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    scaled: np.ndarray = np.divide(rows, length, out=np.zeros_like(rows), where=length > 1e-3)
    return scaled


def _thumbnails(images: np.ndarray, shifts: Shifts) -> np.ndarray:
    """Grey thumbnails of 8x8 pixels of the images without their border, as scaled rows, shape (shifts, n, 64).

    images: float32, shape (n, C, H, W). At the shift that a copy has, its thumbnail is that of the original at none.
    """
    grey = images.mean(1)
    height, width = grey.shape[1:]
    border = int(min(height, width) >= SIDE)
    columns = {
        x: grey @ _bands(width, SIDE, border + x * border, width - border + x * border) for x in {x for _, x in shifts}
    }
    rows = {
        y: _bands(height, SIDE, border + y * border, height - border + y * border).T for y in {y for y, _ in shifts}
    }
    return np.stack([_scaled(rows[y] @ columns[x]) for y, x in shifts])


def _smoothed(images: np.ndarray, shifts: Shifts) -> np.ndarray:
    """The images smoothed, without their border, as scaled rows, shape (shifts, n, pixels).

    images: float32, shape (n, C, H, W).
    """
    for axis in (2, 3):
        lines = np.moveaxis(images, axis, 0)
        padded = np.pad(lines, [(2, 2), (0, 0), (0, 0), (0, 0)], mode="edge")
        smooth = sum(weight * padded[i : i + len(lines)] for i, weight in enumerate(SMOOTHING))
        images = np.moveaxis(np.asarray(smooth, np.float32), 0, axis)
    height, width = images.shape[2:]
    # Within two pixels of an edge, shifted copies are smoothed with what isn't in the original.
    border = 3 if min(height, width) >= 2 * SIDE else int(min(height, width) >= SIDE)
    step = min(border, 1)
    return np.stack(
        [
            _scaled(
                images[
                    :, :, border + y * step : height - border + y * step, border + x * step : width - border + x * step
                ]
            )
            for y, x in shifts
        ]
    )


def _scale(rows: np.ndarray, indices: np.ndarray, references: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """The distance of each row to the third-nearest reference other than itself, shape (n,).

    rows and references: of length 1; which images they are is in `indices` and `chosen`.
    """
    similarity = rows @ references.T
    similarity[indices[:, None] == chosen] = -1
    place = len(chosen) - NEIGHBOUR
    return _distance(np.partition(similarity, place, axis=1)[:, place])


def _distance(similarity: np.ndarray) -> np.ndarray:
    """Between rows of length 1, from their product."""
    distance: np.ndarray = np.sqrt(np.maximum(2 - 2 * similarity, 0))
    return distance


def _choose(count: int, most: int) -> np.ndarray:
    """Indices of reference images, drawn at random."""
    return np.sort(np.random.default_rng(0).permutation(count)[:most])


class _HashTables:
    """Locality-sensitive hashing by random projections: M. Datar and others, SCG 2004, doi 10.1145/997817.997857.

    thumbnails: of all images, as rows.
    """

    def __init__(self, thumbnails: np.ndarray) -> None:
        generator = np.random.default_rng(0)
        self.directions = generator.standard_normal((SIDE * SIDE, TABLES * PROJECTIONS)).astype(np.float32)
        sample = thumbnails[_choose(len(thumbnails), REFERENCES)]
        self.width = (CELL * (sample @ self.directions).std(0) + 1e-6).astype(np.float32)
        self.offsets = generator.random(TABLES * PROJECTIONS, np.float32)
        self.factors = generator.integers(1, 1 << 40, (TABLES, PROJECTIONS)).astype(np.float64)
        starts = range(0, len(thumbnails), MOST_IMAGES)
        keys = np.concatenate([self.keys(thumbnails[start : start + MOST_IMAGES]) for start in starts], axis=1)
        self.orders = np.argsort(keys, axis=1)
        self.sorted_keys = np.take_along_axis(keys, self.orders, axis=1)

    def keys(self, thumbnails: np.ndarray) -> np.ndarray:
        """A key for each table and thumbnail, uint64 of shape (tables, n): its cell and then its place in that.

        Within a cell, the first projection brings those that are alike next to each other.
        """
        projected = (thumbnails @ self.directions / self.width + self.offsets).reshape(-1, TABLES, PROJECTIONS)
        cells = np.floor(projected)
        # Integers below 2 ** 53, which float64 holds exactly.
        numbers = np.stack([cells[:, i].astype(np.float64) @ factors for i, factors in enumerate(self.factors)])
        places = ((projected - cells)[:, :, 0].T * float(1 << int(PLACE_BITS))).astype(np.uint64)
        keys: np.ndarray = numbers.astype(np.int64).astype(np.uint64) << PLACE_BITS
        keys |= np.minimum(places, (1 << int(PLACE_BITS)) - 1)
        return keys

    def neighbours(self, thumbnails: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Indices into `thumbnails` and of images next to them in the same cell, a few for each table."""
        for table, order, wanted in zip(self.sorted_keys, self.orders, self.keys(thumbnails), strict=True):
            # In their order, they are found several times as fast.
            sequence = np.argsort(wanted)
            places, cells = np.searchsorted(table, wanted[sequence]), wanted[sequence] >> PLACE_BITS
            for step in range(-LARGEST_BUCKET // 2, LARGEST_BUCKET // 2):
                near = np.clip(places + step, 0, len(table) - 1)
                together = table[near] >> PLACE_BITS == cells
                yield sequence[together], order[near[together]]


def _candidates(images: _Images) -> np.ndarray:
    """Pairs with similar thumbnails at a shift of at most a pixel, ascending, shape (pairs, 2)."""
    everything = np.arange(len(images))
    thumbnails = np.empty((len(images), SIDE * SIDE), np.float32)
    for batch in images.batches(everything):
        thumbnails[batch] = _thumbnails(images.reduced(batch), SHIFTS[:1])[0]
    tables, chosen = _HashTables(thumbnails), _choose(len(images), THUMBNAIL_REFERENCES)
    found = [np.empty(0, np.int64)]
    for batch in images.batches(everything):
        scale = _scale(thumbnails[batch], batch, thumbnails[chosen], chosen)
        found.append(_similar(images.reduced(batch), batch, THUMBNAILS_CLOSE * scale, tables, thumbnails))
    return np.stack(np.divmod(np.unique(np.concatenate(found)), len(images)), axis=1)


def _similar(
    images: np.ndarray, indices: np.ndarray, limits: np.ndarray, tables: _HashTables, thumbnails: np.ndarray
) -> np.ndarray:
    """The pairs of these images with any whose thumbnails are closer than the limits, as first * N + second."""
    found = [np.empty(0, np.int64)]
    for shifted in _thumbnails(images, SHIFTS):
        for i, other in tables.neighbours(shifted):
            distance = _distance(np.einsum("ij,ij->i", shifted[i], thumbnails[other]))
            close = (distance < limits[i]) & (indices[i] != other)
            first, second = indices[i[close]], other[close]
            found.append(np.minimum(first, second) * len(thumbnails) + np.maximum(first, second))
    return np.unique(np.concatenate(found))


def _confirmed(images: _Images, candidates: np.ndarray) -> Iterator[tuple[int, int]]:
    """The candidates that are much closer to each other than to all but two of the reference images."""
    chosen = _choose(len(images), REFERENCES)
    references = np.concatenate([_smoothed(images.reduced(batch), SHIFTS[:1])[0] for batch in images.batches(chosen)])
    limits = np.zeros(len(images), np.float32)
    for batch in images.batches(np.unique(candidates)):
        limits[batch] = CLOSE * _scale(_smoothed(images.reduced(batch), SHIFTS[:1])[0], batch, references, chosen)
    for pairs in images.batches(candidates, copies=len(ALL_SHIFTS)):
        first = _smoothed(images.reduced(pairs[:, 0]), SHIFTS[:1])[0]
        second = _smoothed(images.reduced(pairs[:, 1]), ALL_SHIFTS)
        distance = _distance(np.einsum("ij,sij->si", first, second)).min(0)
        yield from map(tuple, pairs[distance < limits[pairs].min(1)].tolist())
