"""How well probabilities fit the labels.

By scikit-learn's and SciPy's formulas, to the last bit: to import those two takes evaluate longer than all of this.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

BINS = 15
"""Of confidence, equally wide."""
TWO_SIDED_95 = 1.959963984540054
"""The standard normal distribution's quantile at 0.975."""
MANY_CLASSES = 100
"""Of more, the confusion matrix has too many pairs to list them all: 1,000 classes have a million."""


@dataclass(frozen=True)
class Evaluation:
    """A classifier's answers and what follows from them, each computed once.

    labels, predicted: int64, shape (N,). probabilities: float64, shape (N, K), each row adding up to 1. confusion:
    int64, shape (K, K), one row per actual class. precision, recall, f1: float64, shape (K,), 0 where undefined.
    calibration: one row of `confidence`, `accuracy` and `images` per bin that is not empty.
    """

    class_names: Sequence[str]
    labels: np.ndarray
    probabilities: np.ndarray
    predicted: np.ndarray
    confusion: np.ndarray
    precision: np.ndarray
    recall: np.ndarray
    f1: np.ndarray
    calibration: list[dict[str, float | int]]

    @property
    def errors(self) -> int:
        """The number of images predicted wrongly."""
        return len(self.labels) - int(self.confusion.trace())

    @property
    def calibration_error(self) -> float:
        """The expected calibration error: the mean distance of accuracy from confidence, bins weighted by images."""
        gaps = [abs(row["accuracy"] - row["confidence"]) * row["images"] for row in self.calibration]
        return sum(gaps) / len(self.labels)


def evaluate_predictions(labels: np.ndarray, probabilities: np.ndarray, class_names: Sequence[str]) -> Evaluation:
    """All that the pipeline says about a classifier's answers. labels, probabilities: as in `Evaluation`."""
    predicted = probabilities.argmax(1)
    confusion = confusion_counts(labels, predicted, len(class_names))
    right, actual, found = confusion.diagonal(), confusion.sum(1), confusion.sum(0)
    return Evaluation(
        class_names=class_names,
        labels=labels,
        probabilities=probabilities,
        predicted=predicted,
        confusion=confusion,
        precision=_share(right, found),
        recall=_share(right, actual),
        f1=_share(2 * right, actual + found),
        calibration=calibration_bins(labels, probabilities),
    )


def confusion_counts(labels: np.ndarray, predicted: np.ndarray, num_classes: int) -> np.ndarray:
    """How many images of each class are predicted as each: int64, shape (K, K), one row per actual class."""
    pairs = np.bincount(labels * num_classes + predicted, minlength=num_classes**2)
    return pairs.reshape(num_classes, num_classes)


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """The quotients, 0 where the whole is 0."""
    shares: np.ndarray = np.divide(part, whole, out=np.zeros(len(whole)), where=whole > 0)
    return shares


def summary_metrics(evaluation: Evaluation, train_labels: np.ndarray) -> dict[str, float | int]:
    """The metrics of metrics/test.json; fractions are in [0, 1], log loss is in nats.

    train_labels: int64; the baseline always predicts the commonest of them. Balanced accuracy is the mean recall of the
    classes that have test images.
    """
    images = len(evaluation.labels)
    low, high = wilson_interval(images - evaluation.errors, images)
    present = evaluation.confusion.any(1)
    return {
        "accuracy": (images - evaluation.errors) / images,
        "accuracy_low": low,
        "accuracy_high": high,
        "baseline_accuracy": float((evaluation.labels == np.bincount(train_labels).argmax()).mean()),
        "balanced_accuracy": float(evaluation.recall[present].mean()),
        "macro_f1": float(evaluation.f1.mean()),
        "log_loss": log_loss(evaluation.labels, evaluation.probabilities),
        "ece": evaluation.calibration_error,
        "errors": evaluation.errors,
        "images": images,
    }


def log_loss(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """The mean cross-entropy in nats; a probability of 0 counts as the smallest step from 1 does."""
    of_labels = probabilities[np.arange(len(labels)), labels]
    step = np.finfo(of_labels.dtype).eps
    return float(-np.log(of_labels.clip(step, 1 - step)).mean())


def calibration_bins(labels: np.ndarray, probabilities: np.ndarray) -> list[dict[str, float | int]]:
    """Rows of `confidence`, `accuracy` and `images`, one per bin of confidence that is not empty.

    Confidence is the predicted class's probability; a bin's is its mean, and a bin includes its upper end. Guo and
    others, On calibration of modern neural networks, https://arxiv.org/abs/1706.04599.
    """
    confidence, right = probabilities.max(1), probabilities.argmax(1) == labels
    bins = np.clip(np.ceil(confidence * BINS).astype(int) - 1, 0, BINS - 1)
    return [
        {"confidence": float(confidence[inside].mean()), "accuracy": float(right[inside].mean()),
         "images": int(inside.sum())}
        for number in np.unique(bins) for inside in [bins == number]
    ]  # fmt: skip


def wilson_interval(successes: int, trials: int) -> tuple[float, float]:
    """The 95 % confidence interval of a proportion.

    E. B. Wilson, Probable inference, the law of succession, and statistical inference, JASA 22 (1927).
    """
    share, z = successes / trials, TWO_SIDED_95
    denominator = 2 * (trials + z**2)
    centre = (2 * trials * share + z**2) / denominator
    distance = z / denominator * math.sqrt(4 * trials * share * (1 - share) + z**2)
    return centre - distance if successes else 0.0, centre + distance if successes < trials else 1.0


def confusion_rows(evaluation: Evaluation) -> list[dict[str, str | int]]:
    """The confusion matrix as rows of `actual`, `predicted` and `count`, one per pair of classes.

    Of more than MANY_CLASSES, other pairs than a class with itself are left out where the count is 0.
    """
    names, counts = evaluation.class_names, evaluation.confusion
    listed = np.ones_like(counts) if len(names) <= MANY_CLASSES else counts + np.eye(len(names), dtype=counts.dtype)
    return [{"actual": names[i], "predicted": names[j], "count": int(counts[i, j])} for i, j in np.argwhere(listed)]


def class_rows(evaluation: Evaluation) -> list[dict[str, str | float | int]]:
    """Rows of `class`, `precision`, `recall`, `f1` and `images`, the number of its test images."""
    columns = (evaluation.precision, evaluation.recall, evaluation.f1, evaluation.confusion.sum(1))
    return [
        {"class": name, "precision": float(precision), "recall": float(recall), "f1": float(f1), "images": int(images)}
        for name, precision, recall, f1, images in zip(evaluation.class_names, *columns, strict=True)
    ]
