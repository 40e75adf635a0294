"""Figures of a classifier's results, which evaluate draws."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from src.evaluation import Answers, Evaluation
from src.params import Figures
from src.plots.base import BLUE, GREY, MOST_CLASSES, ORANGE, class_axis, image_grid, shorten, shorten_start


def result_figures(
    evaluation: Evaluation,
    images: np.ndarray,
    files: Mapping[int, str],
    history: Sequence[Mapping[str, float]],
) -> Iterator[tuple[str, Figure]]:
    """Named figures of everything that evaluate measures, among them the images whose answers were kept.

    images: the test split's, uint8 of shape (N, C, H, W). files: what the mistakes among them are called, by their
    index. history: as for `learning_curves`.
    """
    names = evaluation.class_names
    yield "learning_curves", learning_curves(history)
    yield "confusion", confusion_matrix(evaluation.confusion, names, share_of_row=False)
    yield "confusion_normalized", confusion_matrix(evaluation.confusion, names, share_of_row=True)
    yield "classes", class_metrics(evaluation.precision, evaluation.recall, names)
    yield "reliability", reliability_diagram(evaluation.calibration, evaluation.calibration_error)
    yield "predictions", predicted_images(evaluation.chosen, images, names)
    if evaluation.errors:
        yield "mistakes", predicted_images(evaluation.mistakes, images, names, files)


def drawn_images(count: int, settings: Figures) -> np.ndarray:
    """Which of `count` test images are shown, drawn at random: int64, ascending."""
    generator = np.random.default_rng(settings.seed)
    drawn = generator.choice(count, min(settings.test_images, count), replace=False)
    ascending: np.ndarray = np.sort(drawn)
    return ascending


def heatmap_answers(evaluation: Evaluation, settings: Figures) -> Answers:
    """Which answers are shown with a heat map: half of those drawn at random, and half of the surest mistakes."""
    half = slice(-(-settings.test_images // 2))
    return evaluation.chosen[half] + evaluation.mistakes[half]


def predicted_images(
    answers: Answers,
    images: np.ndarray,
    class_names: Sequence[str],
    files: Mapping[int, str] | None = None,
    maps: np.ndarray | None = None,
) -> Figure:
    """The images, each under its prediction and its label (T3), and its file where `files` are given.

    images: of the whole split. maps: heat maps to draw next to those shown, float32 in [0, 1], shape (n, H, W).
    """
    names = [shorten(name, 14) for name in class_names]
    captions, colours = [], []
    for i, actual, predicted, confidence in zip(
        answers.indices.tolist(), answers.labels, answers.predicted, answers.confidence, strict=True
    ):
        caption = f"{names[predicted]}: {confidence:.1%}\nactual: {names[actual]}"
        captions.append(f"{caption}\n{shorten_start(files[i], 22)}" if files else caption)
        colours.append(BLUE if predicted == actual else ORANGE)
    shown = images[answers.indices]
    if maps is None:
        return image_grid(shown, captions, colours)
    return image_grid(images_with_heatmaps(shown, maps), captions, colours, size=1.3)


def images_with_heatmaps(images: np.ndarray, maps: np.ndarray) -> np.ndarray:
    """Each image, and to its right the same in grey under its heat map: uint8, shape (N, 3, H, 2 * W + gap).

    images: uint8, shape (N, C, H, W). maps: float32 in [0, 1], shape (N, H, W).
    """
    count, _, height, width = images.shape
    colours = np.repeat(images, 3, 1) if images.shape[1] == 1 else images
    heat = colormaps["inferno"](maps)[..., :3].transpose(0, 3, 1, 2) * 255
    under = images.mean(1, keepdims=True)
    gap = np.full((count, 3, height, max(width // 14, 1)), 255)
    return np.concatenate([colours, gap, 0.4 * under + 0.6 * heat], 3).astype(np.uint8)


def class_metrics(precision: np.ndarray, recall: np.ndarray, class_names: Sequence[str]) -> Figure:
    """Precision and recall of each class; of too many classes, those with the lowest recall.

    precision, recall: in [0, 1], shape (K,). They are points, since bars would have to begin at 0.
    """
    title = "Precision and recall of each class"
    if len(class_names) > MOST_CLASSES:
        shown = np.sort(np.argsort(recall, kind="stable")[:MOST_CLASSES])
        title = f"The {MOST_CLASSES} of {len(class_names)} classes with the lowest recall"
        precision, recall, class_names = precision[shown], recall[shown], [class_names[i] for i in shown]
    figure, axis = class_axis(class_names)
    places = range(len(class_names))
    axis.hlines(places, precision, recall, color=GREY, linewidth=1)
    # Rings, so that both are seen where they are equal; not cut at the ends of the axis.
    axis.plot(precision, places, "o", color=BLUE, mfc="none", markersize=9, label="precision", clip_on=False)
    axis.plot(recall, places, "D", color=ORANGE, markersize=4, label="recall", clip_on=False)
    lowest = min(*precision, *recall)
    axis.set_xlim(max(min(lowest - (1 - lowest) * 0.1, 0.9), 0), 1)
    axis.grid(axis="both", color="#dddddd")
    axis.set_axisbelow(True)
    axis.set_title(title)
    figure.legend(loc="outside lower center", ncols=2)
    return figure


def confusion_matrix(counts: np.ndarray, class_names: Sequence[str], share_of_row: bool) -> Figure:
    """The confusion matrix, with its numbers and class names where there is room for them.

    counts: int64, shape (K, K), one row per actual class. share_of_row: show each row's percentages instead of counts.
    """
    size = len(class_names)
    values = counts / np.maximum(counts.sum(1, keepdims=True), 1) * 100 if share_of_row else counts
    many, too_many = size > 20, size > MOST_CLASSES
    side = 9.0 if too_many else max(4.5, size * (0.3 if many else 0.55))
    figure = Figure(figsize=(side + 1.5, side + 1.5), layout="constrained")
    axis = figure.subplots()
    axis.imshow(values, cmap="Blues", vmin=0)
    axis.set_xlabel("predicted", fontsize=12)
    axis.set_ylabel("actual", fontsize=12)
    axis.set_title("Confusion matrix, % of each actual class" if share_of_row else "Confusion matrix, images")
    if too_many:
        axis.set_xlabel("predicted: number of the class, in their order", fontsize=12)
        axis.set_ylabel("actual: number of the class", fontsize=12)
        return figure
    names = [shorten(name, 18) for name in class_names]
    axis.set_xticks(range(size), names, rotation=90 if max(map(len, names)) > 2 else 0, fontsize=10)
    axis.set_yticks(range(size), names, fontsize=10)
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
    upper.plot([0, 1], [0, 1], color=GREY, linestyle="--", label="accuracy = confidence")
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
    """Loss and accuracy after each epoch, of training and, where there was any, of validation.

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
