"""What makes scores untrustworthy: images of one colour, images that are there twice, classes that are too unequal."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from src.near_duplicates import near_duplicates

CHUNK_BYTES = 16 << 20
"""Of images that are looked at together."""
NAMED = 3
"""Images, or pairs of images, that a warning names."""
RARE = 10
TOO_GOOD = "so scores on them are too good"


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
                shown = ", ".join(files[split][i] for i in indices[:NAMED])
                advice = "; dark ink on a transparent ground is black on black" if count > 1 else ""
                yield f"{count} of {int(self.counts[split].sum())} {split} images are of one colour: {shown}{advice}"
        yield from self._pair_warnings(files)
        train = self.counts["train"]
        single = [name for name, count in zip(self.class_names, train, strict=True) if count == 1]
        if single and "validation" not in self.counts:
            shown = ", ".join(map(repr, single[:NAMED])) + (", ..." if len(single) > NAMED else "")
            yield (
                f"classes with 1 training image: {len(single)}, {shown}; train can't hold one out for validation and "
                "will refuse them: add images, or set train.validation_fraction to 0"
            )
        if train.max() >= RARE * max(train.min(), 1):
            yield (
                f"class {self.class_names[int(train.argmin())]!r} has {train.min()} training images, "
                f"{self.class_names[int(train.argmax())]!r} has {train.max()}"
            )

    def _pair_warnings(self, files: Mapping[str, Sequence[str]]) -> Iterator[str]:
        """A line per kind of pairs, with the first ones' file names."""
        for pairs, what, exact_means, near_means in (
            (self.across_splits, "in two splits", TOO_GOOD, TOO_GOOD),
            (self.two_labels, "with two labels", "of which one is wrong", "look whether one is wrong"),
        ):
            for exact, how, means in (
                (True, "the same image", exact_means),
                (False, "nearly the same image", near_means),
            ):
                chosen = [pair for pair in pairs if pair.exact is exact]
                if chosen:
                    number = f"{len(chosen)} pair{'s' if len(chosen) > 1 else ''}"
                    shown = "; ".join(
                        f"{place_of(pair.first, files)} and {place_of(pair.second, files)}" for pair in chosen[:NAMED]
                    )
                    yield f"{number} of {how} {what}, {means}: {shown}{'; ...' if len(chosen) > NAMED else ''}"


def place_of(place: tuple[str, int], files: Mapping[str, Sequence[str]]) -> str:
    """What an image is called, with its split where its name doesn't begin with that."""
    split, i = place
    name = files[split][i]
    return name if name.startswith(f"{split}/") else f"{split}: {name}"


def inspect_dataset(
    images: Mapping[str, np.ndarray], labels: Mapping[str, np.ndarray], class_names: Sequence[str]
) -> Inspection:
    """Look through all images, in time proportional to their number, and in memory of some 100 bytes for each.

    images: for each split, uint8 of shape (N, C, H, W), which may be memory-mapped. labels: int64, shape (N,). Besides
    exact copies, copies that were encoded anew, brightened or shifted by a pixel are found, and images that are as much
    alike: docs/datasets.md has the rates of both.
    """
    counts = {split: np.bincount(each, minlength=len(class_names)) for split, each in labels.items()}
    splits, sizes = list(images), [len(each) for each in images.values()]
    ends = np.cumsum(sizes)
    plain, digests = np.zeros(ends[-1], bool), np.empty((ends[-1], 2), np.uint64)
    for begin, chunk in _chunks(images):
        rows, places = chunk.reshape(len(chunk), -1), slice(begin, begin + len(chunk))
        plain[places] = (chunk == chunk[:, :, :1, :1]).all((1, 2, 3))
        content = b"".join(hashlib.blake2b(row.data, digest_size=16).digest() for row in rows)
        digests[places] = np.frombuffer(content, np.uint64).reshape(-1, 2)
    exact, near = _equal(digests), near_duplicates(list(images.values()))
    near = near[(digests[near[:, 0]] != digests[near[:, 1]]).any(1)]
    pairs = np.concatenate([exact, near])
    order = np.lexsort((pairs[:, 1], pairs[:, 0]))
    # Images of one colour are all alike; they have a line of their own.
    order = order[~plain[pairs[order, 0]]]
    split_of, label_of = (each[pairs[order]].T for each in (
        np.repeat(np.arange(len(splits)), sizes), np.concatenate([labels[split] for split in splits])
    ))  # fmt: skip
    pair = partial(_pair, pairs, len(exact), splits, ends)
    return Inspection(
        class_names,
        counts,
        {split: np.flatnonzero(each).tolist() for split, each in zip(splits, np.split(plain, ends[:-1]), strict=True)},
        across_splits=[pair(number) for number in order[split_of[0] != split_of[1]]],
        two_labels=[pair(number) for number in order[label_of[0] != label_of[1]]],
    )


def _pair(pairs: np.ndarray, exact: int, splits: Sequence[str], ends: np.ndarray, number: int) -> Pair:
    """The pair of that number, of which so many first ones are exact; ends: of the splits, one after another."""
    which = np.searchsorted(ends, pairs[number], side="right")
    within = pairs[number] - np.concatenate([[0], ends])[which]
    first, second = ((splits[split], int(i)) for split, i in zip(which, within, strict=True))
    return Pair(first, second, bool(number < exact))


def _chunks(images: Mapping[str, np.ndarray]) -> Iterator[tuple[int, np.ndarray]]:
    """A few images at a time, with the index of the first among those of all splits."""
    done = 0
    for array in images.values():
        size = max(CHUNK_BYTES // array[0].nbytes, 1) if len(array) else 1
        for begin in range(0, len(array), size):
            yield done + begin, np.ascontiguousarray(array[begin : begin + size])
        done += len(array)


def _equal(digests: np.ndarray) -> np.ndarray:
    """The first image with each digest, and each later one: int64, shape (pairs, 2). digests: uint64, shape (N, 2)."""
    order = np.lexsort(digests.T)
    again = np.r_[False, (digests[order[1:]] == digests[order[:-1]]).all(1)]
    first = order[np.maximum.accumulate(np.where(again, 0, np.arange(len(order))))]
    return np.stack([first[again], order[again]], 1)
