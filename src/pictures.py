"""Pictures of datasets and of results, drawn with matplotlib; the same input gives the same bytes.

All have a white background, so that they can be read on dark pages too, and colours that colour-blind people tell
apart: Okabe and Ito's, https://jfly.uni-koeln.de/color, and the map cividis.
"""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import fontManager
from matplotlib.text import Text

BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "#777777"
DOTS_PER_INCH = 100
LARGEST_WITH_VALUES = 40
"""Pixels a side of an image in which there is room for their values."""
FONTS = (
    "DejaVu Sans", "Noto Sans CJK JP", "Noto Sans CJK SC", "Noto Sans CJK KR", "Noto Sans JP", "Hiragino Sans",
    "Apple SD Gothic Neo", "PingFang SC", "Yu Gothic", "Malgun Gothic", "Microsoft YaHei", "WenQuanYi Zen Hei",
    "IPAGothic", "Noto Emoji", "Symbola", "Segoe UI Emoji",
)  # fmt: skip
"""Those of them that are installed are asked for a character in this order."""


def save(figure: Figure, path: Path) -> None:
    """Write the figure as a PNG, without anything in it that changes from run to run."""
    installed = {font.name for font in fontManager.ttflist}
    families = [name for name in FONTS if name in installed]
    with warnings.catch_warnings():
        # A character that no installed font has is drawn as a box.
        warnings.filterwarnings("ignore", "Glyph .* missing from font", UserWarning)
        path.parent.mkdir(parents=True, exist_ok=True)
        for text in figure.findobj(Text):
            assert isinstance(text, Text)
            text.set_fontfamily(families)
            # Class names are no formulas, whatever dollars they hold.
            text.set_parse_math(False)
        figure.savefig(path, dpi=DOTS_PER_INCH, facecolor="white", metadata={"Software": None})


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
    axis.set_title(title)
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
    figure, axis = _class_bars(class_names, counts)
    axis.set_xlabel("images")
    axis.set_title("Images a class")
    return figure


def class_figures(precision: Sequence[float], recall: Sequence[float], class_names: Sequence[str]) -> Figure:
    """Precision and recall of each class, in [0, 1]."""
    figure, axis = _class_bars(class_names, {"precision": np.array(precision), "recall": np.array(recall)})
    lowest = min(*precision, *recall)
    axis.set_xlim(0 if lowest < 0.5 else max(lowest - 0.05, 0), 1)
    axis.set_title("Precision and recall of each class on the test split")
    return figure


def confusion_matrix(counts: np.ndarray, class_names: Sequence[str], share_of_row: bool) -> Figure:
    """The confusion matrix, with its numbers where there is room for them.

    counts: int64, shape (K, K), a row an actual class. share_of_row: show each row's percentages instead of counts.
    """
    size = len(class_names)
    values = counts / np.maximum(counts.sum(1, keepdims=True), 1) * 100 if share_of_row else counts
    side = max(5.0, size * (0.55 if size <= 20 else 0.3))
    figure = Figure(figsize=(side + 1.5, side + 0.5), layout="constrained")
    axis = figure.subplots()
    image = axis.imshow(values, cmap="cividis", vmin=0)
    small = 9 if size <= 20 else 6
    axis.set_xticks(range(size), class_names, rotation=90 if max(map(len, class_names)) > 2 else 0, fontsize=small + 1)
    axis.set_yticks(range(size), class_names, fontsize=small + 1)
    axis.set_xlabel("predicted")
    axis.set_ylabel("actual")
    axis.set_title("Confusion matrix, % of each actual class" if share_of_row else "Confusion matrix, images")
    for (y, x), value in np.ndenumerate(values):
        if value >= (0.05 if share_of_row else 1):
            text = f"{value:.1f}" if share_of_row and size <= 20 else f"{value:.0f}"
            colour = "black" if value > values.max() / 2 else "white"
            axis.text(x, y, text, ha="center", va="center", fontsize=small - 1, color=colour)
    figure.colorbar(image, ax=axis, shrink=0.8)
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
    upper.set(xlim=(0, 1), ylim=(0, 1.02), ylabel="accuracy", title=f"Reliability: calibration error {error:.4f}")
    upper.legend(loc="upper left")
    lower.bar(confidence, [row["images"] for row in bins], width=0.03, color=BLUE)
    lower.set(xlabel="confidence: probability of the predicted class", ylabel="images", yscale="log")
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
        axis.xaxis.get_major_locator().set_params(integer=True)
        axis.legend()
    return figure


def _class_bars(class_names: Sequence[str], series: Mapping[str, np.ndarray]) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(8, max(2.5, 0.32 * len(class_names) + 1.2)), layout="constrained")
    axis = figure.subplots()
    places = np.arange(len(class_names))
    for i, ((name, values), colour) in enumerate(zip(series.items(), (BLUE, ORANGE), strict=False)):
        axis.barh(places + (i - 0.5) * 0.38, values, height=0.36, color=colour, label=name)
    axis.set_yticks(places, class_names)
    axis.invert_yaxis()
    axis.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return figure, axis


def _show(axis: Axes, image: np.ndarray) -> None:
    pixels = image[0] if len(image) == 1 else image.transpose(1, 2, 0)
    axis.imshow(pixels, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
