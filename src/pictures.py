"""Pictures of datasets and of results, drawn with matplotlib; the same input gives the same bytes.

All have a white background, so that they can be read on dark pages too, and colours that colour-blind people tell
apart: Okabe and Ito's, https://jfly.uni-koeln.de/color, and shades of one blue.
"""

import unicodedata
import warnings
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from itertools import accumulate
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import fontManager
from matplotlib.text import Text
from matplotlib.ticker import NullFormatter

BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "#777777"
DOTS_PER_INCH = 100
LARGEST_WITH_VALUES = 40
"""Pixels a side of an image in which there is room for their values."""
FONT_PACKAGES = ("noto_cjk_sans_jp_regular", "manimgx_fonts")
"""Noto's fonts for Chinese, Japanese and Korean, and for emoji and further scripts."""


@cache
def font_families() -> list[str]:
    """The fonts that are asked for a character, in order: all come with packages, so every machine draws the same."""
    paths = [font for package in FONT_PACKAGES for font in Path(str(files(package))).iterdir()]
    families = []
    for path in sorted(path for path in paths if path.suffix in (".otf", ".ttf") and "Italic" not in path.name):
        fontManager.addfont(path)
        families.append(fontManager.ttflist[-1].name)
    return ["DejaVu Sans", *families]


def save(figure: Figure, path: Path) -> None:
    """Write the figure as its name says, PNG or JPEG, without anything in it that changes from run to run."""
    with warnings.catch_warnings():
        # A character that none of the fonts has is drawn as a box.
        warnings.filterwarnings("ignore", "Glyph .* missing from font", UserWarning)
        path.parent.mkdir(parents=True, exist_ok=True)
        for text in figure.findobj(Text):
            assert isinstance(text, Text)
            if not text.get_text().isascii():
                text.set_fontfamily(font_families())
            # Dollars in class names are no mathematics.
            text.set_parse_math(False)
        _fit_titles(figure)
        metadata = {"Software": None} if path.suffix.lower() == ".png" else None
        figure.savefig(path, dpi=DOTS_PER_INCH, facecolor="white", metadata=metadata)


def shorten(name: str, width: int) -> str:
    """The name, cut to the width in columns with an ellipsis; a Chinese character takes two."""
    columns = [2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in name]
    if sum(columns) <= width:
        return name
    kept = sum(total < width for total in accumulate(columns))
    return name[:kept].rstrip() + "…"


def image_grid(images: np.ndarray, captions: Sequence[str], colours: Sequence[str] = (), columns: int = 4) -> Figure:
    """Images in rows, each under its caption.

    images: uint8, shape (N, C, H, W). colours: of the captions; black by default.
    """
    rows = -(-len(images) // columns)
    lines = max(caption.count("\n") for caption in captions) + 1
    figure = Figure(figsize=(1.9 * columns, (1.6 + 0.24 * lines) * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis in axes:
        axis.set_axis_off()
    for i, (axis, image, caption) in enumerate(zip(axes, images, captions, strict=False)):
        _show(axis, image)
        axis.set_title(caption, fontsize=10, color=colours[i] if colours else "black")
    return figure


def large_image(image: np.ndarray, title: str) -> Figure:
    """One image with each pixel's value written in it, as T5 shows its first; without them where it has too many.

    image: uint8, shape (C, H, W); in colour, its mean over the channels is written.
    """
    _, height, width = image.shape
    has_room = max(height, width) <= LARGEST_WITH_VALUES
    scale = 0.36 if has_room else 8 / max(height, width)
    figure = Figure(figsize=(max(width * scale, 3), max(height * scale, 3) + 0.4), layout="constrained")
    axis = figure.subplots()
    _show(axis, image)
    axis.set_title(f"{title} (mean of its channels)" if has_room and len(image) > 1 else title)
    axis.set_axis_off()
    values = image.mean(0)
    if has_room:
        for y in range(height):
            for x in range(width):
                colour = "black" if values[y, x] > 127 else "white"
                axis.text(x, y, f"{values[y, x]:.0f}", ha="center", va="center", fontsize=7, color=colour)
    return figure


def class_counts(counts: Mapping[str, np.ndarray], class_names: Sequence[str]) -> Figure:
    """The number of images a class, a bar each in every split. counts: for each split, shape (K,)."""
    figure, axis = _class_axis(class_names)
    places, height = np.arange(len(class_names)), 0.8 / len(counts)
    for i, ((name, values), colour) in enumerate(zip(counts.items(), (BLUE, ORANGE), strict=False)):
        axis.barh(places + (i - 0.5) * height, values, height=height * 0.95, color=colour, label=name)
    axis.set(xlabel="images", title="Images a class")
    figure.legend(loc="outside lower center", ncols=2)
    return figure


def class_figures(precision: Sequence[float], recall: Sequence[float], class_names: Sequence[str]) -> Figure:
    """Precision and recall of each class, in [0, 1]: points, for bars would have to begin at 0."""
    figure, axis = _class_axis(class_names)
    places = range(len(class_names))
    axis.hlines(places, precision, recall, color=GREY, linewidth=1)
    # Rings, so that both are seen where they are equal; not cut at the ends of the axis.
    axis.plot(precision, places, "o", color=BLUE, mfc="none", markersize=9, label="precision", clip_on=False)
    axis.plot(recall, places, "D", color=ORANGE, markersize=4, label="recall", clip_on=False)
    lowest = min(*precision, *recall)
    axis.set_xlim(max(min(lowest - (1 - lowest) * 0.1, 0.9), 0), 1)
    axis.grid(axis="both", color="#dddddd")
    axis.set_axisbelow(True)
    axis.set_title("Precision and recall of each class")
    figure.legend(loc="outside lower center", ncols=2)
    return figure


def confusion_matrix(counts: np.ndarray, class_names: Sequence[str], share_of_row: bool) -> Figure:
    """The confusion matrix, with its numbers where there is room for them.

    counts: int64, shape (K, K), a row an actual class. share_of_row: show each row's percentages instead of counts.
    """
    size, names = len(class_names), [shorten(name, 18) for name in class_names]
    values = counts / np.maximum(counts.sum(1, keepdims=True), 1) * 100 if share_of_row else counts
    many = size > 20
    side = max(4.5, size * (0.3 if many else 0.55))
    figure = Figure(figsize=(side + 1.5, side + 1.5), layout="constrained")
    axis = figure.subplots()
    axis.imshow(values, cmap="Blues", vmin=0)
    axis.set_xticks(range(size), names, rotation=90 if max(map(len, names)) > 2 else 0, fontsize=10)
    axis.set_yticks(range(size), names, fontsize=10)
    axis.set_xlabel("predicted", fontsize=12)
    axis.set_ylabel("actual", fontsize=12)
    axis.set_title("Confusion matrix, % of each actual class" if share_of_row else "Confusion matrix, images")
    for (y, x), value in np.ndenumerate(values):
        if value >= (0.05 if share_of_row and not many else 0.5):
            text = f"{value:.1f}" if share_of_row and not many else f"{value:.0f}"
            colour = "white" if value > values.max() / 2 else "black"
            axis.text(x, y, text, ha="center", va="center", fontsize=7 if many else 9, color=colour)
    return figure


def reliability_diagram(bins: Sequence[Mapping[str, float]], error: float) -> Figure:
    """Accuracy against confidence, with the images in each bin; on the diagonal, confidence is right.

    bins: with `confidence`, `accuracy` and `images`. error: the expected calibration error.
    """
    figure = Figure(figsize=(5.2, 6), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    confidence, accuracy = ([row[name] for row in bins] for name in ("confidence", "accuracy"))
    upper.plot([0, 1], [0, 1], color=GREY, linestyle="--", label="right confidence")
    upper.plot(confidence, accuracy, color=BLUE, marker="o", label="this classifier")
    upper.set(xlim=(0, 1), ylim=(-0.02, 1.02), ylabel="accuracy", title=f"Reliability: calibration error {error:.4f}")
    images = [row["images"] for row in bins]
    lower.bar(confidence, images, width=0.03, color=BLUE)
    lower.set(xlabel="confidence: probability of the predicted class", ylabel="images", yscale="log")
    lower.set_ylim(0.7, max(*images, 8) * 1.5)
    lower.yaxis.set_major_formatter("{x:,.0f}")
    lower.yaxis.set_minor_formatter(NullFormatter())
    figure.legend(loc="outside lower center", ncols=2)
    return figure


def learning_curves(history: Sequence[Mapping[str, float]]) -> Figure:
    """Loss and accuracy after each epoch, training beside validation where there was any.

    history: with `epoch`, `train_loss`, `train_accuracy` and perhaps `validation_loss` and `validation_accuracy`.
    """
    figure = Figure(figsize=(9, 3.8), layout="constrained")
    for axis, name in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
        for split, colour, marker in (("train", BLUE, "o"), ("validation", ORANGE, "s")):
            if f"{split}_{name}" in history[0]:
                values = [row[f"{split}_{name}"] for row in history]
                label = {"train": "training", "validation": "validation"}[split]
                axis.plot([row["epoch"] for row in history], values, color=colour, marker=marker, label=label)
        axis.set(xlabel="epoch", title={"loss": "Cross-entropy", "accuracy": "Accuracy"}[name])
        axis.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
        axis.legend()
    return figure


def _class_axis(class_names: Sequence[str]) -> tuple[Figure, Axes]:
    """A figure with a line for each class, the first on top."""
    size = len(class_names)
    figure = Figure(figsize=(7.5, max(2.5, 0.3 * size + 1.4)), layout="constrained")
    axis = figure.subplots()
    axis.set_yticks(range(size), [shorten(name, 24) for name in class_names])
    axis.set_ylim(size - 0.4, -0.6)
    return figure, axis


def _fit_titles(figure: Figure) -> None:
    """Shrink titles that are wider than their column of the figure."""
    renderer = FigureCanvasAgg(figure).get_renderer()  # type: ignore[no-untyped-call]
    for axis in figure.axes:
        places = axis.get_subplotspec()
        assert places is not None
        room = 0.97 * figure.bbox.width / places.get_gridspec().ncols
        width = axis.title.get_window_extent(renderer).width
        if width > room:
            axis.title.set_fontsize(float(axis.title.get_fontsize()) * room / width)


def _show(axis: Axes, image: np.ndarray) -> None:
    pixels = image[0] if len(image) == 1 else image.transpose(1, 2, 0)
    axis.imshow(pixels, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
