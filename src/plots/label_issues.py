"""The figure of images whose label is probably wrong."""

import numpy as np
from matplotlib.figure import Figure

from src.comparison import Predictions
from src.plots.base import image_grid, shorten, shorten_start

MOST_IMAGES = 24


def label_issues_figure(images: np.ndarray, predictions: Predictions, issues: np.ndarray) -> Figure:
    """The first of the issues' images, MOST_IMAGES at most, each under its label, the class suggested and its file.

    images: all of the training split's, uint8, shape (N, C, H, W). issues: rows of the predictions.
    """
    shown = issues[:MOST_IMAGES]
    captions = [
        f"label: {shorten(predictions.actual[i], 14)} {predictions.probability_of_actual[i]:.0%}\n"
        f"suggested: {shorten(predictions.predicted[i], 10)} {predictions.probability[i]:.0%}\n"
        f"{shorten_start(predictions.files[i], 22)}"
        for i in shown
    ]
    number = f"{len(issues):,} labels" if len(shown) == len(issues) else f"{len(shown)} of {len(issues):,} labels"
    return image_grid(images[predictions.images[shown]], captions, title=f"{number} that are probably wrong")
