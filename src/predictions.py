"""What a classifier says of each image, as files of predictions have it."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from src.csv_files import significant, write_csv

COLUMNS = ("image", "file", "actual", "predicted", "probability", "probability_of_actual")
"""Of a file of predictions; a test's has the same as validation's."""


def write_predictions(
    path: Path,
    indices: Sequence[int] | np.ndarray,
    files: Sequence[str],
    labels: np.ndarray,
    probabilities: np.ndarray,
    class_names: Sequence[str],
) -> None:
    """Write a row for each image: its index and file, its class, the predicted one, and the probabilities of both.

    indices: of n images in their split. files: what the images of the whole split are called. labels: int64, shape
    (n,); probabilities: float64, shape (n, K), of the n images. Without images, there is only the line of names.
    """
    rows = [
        {
            "image": int(i),
            "file": files[i],
            "actual": class_names[actual],
            "predicted": class_names[row.argmax()],
            "probability": significant(row.max()),
            "probability_of_actual": significant(row[actual]),
        }
        for i, actual, row in zip(indices, labels, probabilities, strict=True)
    ]
    write_csv(path, rows, COLUMNS)
