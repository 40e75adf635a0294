"""What a classifier says of each image, as files of predictions have it."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import tee
from pathlib import Path

import numpy as np

from src.csv_files import significant, write_csv
from src.datasets import FileNames

COLUMNS = ("image", "file", "actual", "predicted", "probability", "probability_of_actual")
"""Of a file of predictions; a test's has the same as validation's."""


Piece = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Of some images: their indices in their split, ascending; labels, int64 of shape (n,); and probabilities, float64 of
shape (n, K)."""


def write_predictions(path: Path, pieces: Iterable[Piece], files: FileNames, class_names: Sequence[str]) -> None:
    """Write a row for each image: its index and file, its class, the predicted one, and the probabilities of both.

    pieces: one after another, ascending; only one is held. files: what the images of the whole split are called.
    Without images, there is only the line of names.
    """
    write_csv(path, prediction_rows(pieces, files, class_names), COLUMNS)


def in_pieces(indices: np.ndarray, labels: np.ndarray, probabilities: Iterable[np.ndarray]) -> Iterator[Piece]:
    """The pieces of `write_predictions`, as large as those of the probabilities."""
    start = 0
    for piece in probabilities:
        stop = start + len(piece)
        yield indices[start:stop], labels[start:stop], piece
        start = stop


def prediction_rows(
    pieces: Iterable[Piece], files: FileNames, class_names: Sequence[str]
) -> Iterator[dict[str, str | int | float]]:
    """The rows of `write_predictions`, each when it is asked for."""
    images, again = tee(image for piece in pieces for image in zip(*piece, strict=True))
    for (i, actual, row), file in zip(images, files.at(i for i, *_ in again), strict=True):
        yield {
            "image": int(i),
            "file": file,
            "actual": class_names[actual],
            "predicted": class_names[row.argmax()],
            "probability": significant(row.max()),
            "probability_of_actual": significant(row[actual]),
        }
