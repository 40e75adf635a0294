"""Figures that compare: images on which two classifiers disagree."""

import numpy as np
from matplotlib.figure import Figure

from src.comparison import Predictions
from src.plots.base import BLUE, ORANGE, image_grid, shorten, shorten_start

MOST_IMAGES = 24


def disagreements(first: Predictions, second: Predictions) -> np.ndarray:
    """Indices, int64, of images that are predicted differently: those right in one alone first, surest first."""
    different = np.flatnonzero(first.predicted != second.predicted)
    both_wrong = ~(first.right | second.right)[different]
    confidence = np.minimum(first.probability, second.probability)[different]
    return np.asarray(different[np.lexsort((-confidence, both_wrong))])


def disagreements_figure(
    images: np.ndarray, first: Predictions, second: Predictions, names: tuple[str, str], indices: np.ndarray
) -> Figure:
    """The images at `indices`, MOST_IMAGES at most, each under its label, both predictions and its file.

    images: all of the split's, uint8, shape (N, C, H, W). names: what the two are called. Captions are blue where the
    second alone is right, orange where the first alone is, black where both are wrong.
    """
    shown = indices[:MOST_IMAGES]
    captions, colours = [], []
    for i in shown:
        lines = [f"actual: {shorten(first.actual[i], 14)}"]
        for name, each in zip(names, (first, second), strict=True):
            lines.append(f"{shorten(name, 10)}: {shorten(each.predicted[i], 10)} {each.probability[i]:.0%}")
        captions.append("\n".join([*lines, shorten_start(first.files[i], 22)]))
        colours.append(BLUE if second.right[i] else ORANGE if first.right[i] else "black")
    number = f"{len(indices):,} images" if len(shown) == len(indices) else f"{len(shown)} of {len(indices):,} images"
    title = (
        f"{number} on which they disagree\nblue: {shorten(names[1], 24)} alone is right\n"
        f"orange: {shorten(names[0], 24)} alone is right"
    )
    return image_grid(images[first.images[shown]], captions, colours, title=title)
