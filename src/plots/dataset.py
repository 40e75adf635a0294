"""Figures of a dataset, which normalize draws."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from src.inspection import Pair, place_of
from src.params import Figures
from src.plots.base import BLUE, GREY, MOST_CLASSES, ORANGE, class_axis, image_grid, shorten, shorten_start, show_image

MOST_PAIRS = 12
LARGEST_WITH_VALUES = 40
"""Pixels per side of an image in which there is room for their values."""


def dataset_figures(
    images: np.ndarray, labels: Mapping[str, np.ndarray], class_names: Sequence[str], settings: Figures
) -> Iterator[tuple[str, Figure]]:
    """Named figures: random samples (T1, T4), the first image with its pixels' values (T5), the images per class.

    images: the training split's, uint8 of shape (N, C, H, W). labels: of each split, int64; `train` among them.
    """
    generator = np.random.default_rng(settings.seed)
    drawn = np.sort(generator.choice(len(images), min(settings.samples, len(images)), replace=False))
    captions = [shorten(class_names[label], 20) for label in labels["train"][drawn]]
    yield "samples", image_grid(images[drawn], captions, columns=max(round(len(drawn) ** 0.5), 1))
    first = shorten(class_names[labels["train"][0]], 20)
    yield "first_image", large_image(np.array(images[0]), f"First training image: {first}")
    counts = {name: np.bincount(split, minlength=len(class_names)) for name, split in labels.items()}
    yield "classes", class_counts(counts, class_names)


def large_image(image: np.ndarray, title: str) -> Figure:
    """One image with each pixel's value written in it, as T5 shows its first; without them where it has too many.

    image: uint8, shape (C, H, W); in colour, its mean over the channels is written.
    """
    _, height, width = image.shape
    has_room = max(height, width) <= LARGEST_WITH_VALUES
    scale = 0.36 if has_room else 8 / max(height, width)
    figure = Figure(figsize=(max(width * scale, 3), max(height * scale, 3) + 0.4), layout="constrained")
    axis = figure.subplots()
    show_image(axis, image)
    axis.set_title(f"{title} (mean of its channels)" if has_room and len(image) > 1 else title)
    axis.set_axis_off()
    values = image.mean(0)
    if has_room:
        for y in range(height):
            for x in range(width):
                colour = "black" if values[y, x] > 127 else "white"
                axis.text(x, y, f"{values[y, x]:.0f}", ha="center", va="center", fontsize=7, color=colour)
    return figure


def suspicious_pairs(
    images: Mapping[str, np.ndarray],
    labels: Mapping[str, np.ndarray],
    files: Mapping[str, Sequence[str]],
    pairs: Sequence[Pair],
    class_names: Sequence[str],
) -> Figure:
    """Pairs of images that are the same, or nearly, next to each other, with names and labels; the first dozen."""
    shown = [place for pair in pairs[:MOST_PAIRS] for place in (pair.first, pair.second)]
    captions = [
        f"{shorten_start(place_of((split, i), files), 22)}\n{shorten(class_names[labels[split][i]], 18)}"
        for split, i in shown
    ]
    return image_grid(np.stack([images[split][i] for split, i in shown]), captions, columns=4)


def class_counts(counts: Mapping[str, np.ndarray], class_names: Sequence[str]) -> Figure:
    """The number of images per class, one bar in every split; of too many classes, those with the fewest.

    counts: for each split, shape (K,); `train` among them.
    """
    shown = list(range(len(class_names)))
    title = "Images per class"
    if len(shown) > MOST_CLASSES:
        shown = sorted(np.argsort(counts["train"], kind="stable")[:MOST_CLASSES].tolist())
        title = f"The {MOST_CLASSES} of {len(class_names)} classes with the fewest training images"
    figure, axis = class_axis([class_names[i] for i in shown])
    places, height = np.arange(len(shown)), 0.8 / len(counts)
    for i, ((name, values), colour) in enumerate(zip(counts.items(), (BLUE, ORANGE, GREY), strict=False)):
        axis.barh(places + (i - (len(counts) - 1) / 2) * height, values[shown], height * 0.95, color=colour, label=name)
    axis.set(xlabel="images", title=title)
    figure.legend(loc="outside lower center", ncols=len(counts))
    return figure
