"""How well probabilities fit the labels, with scikit-learn."""

from collections.abc import Sequence
from math import sqrt

import numpy as np
from sklearn import metrics

Z_95 = 1.959963984540054
"""The normal distribution's 97.5 % quantile."""


def summary_metrics(labels: np.ndarray, probabilities: np.ndarray) -> dict[str, float | int]:
    """The figures of metrics/test.json; fractions are in [0, 1], log loss is in nats.

    labels: int64, shape (N,). probabilities: float64, shape (N, K), each row adding up to 1.
    """
    predicted = probabilities.argmax(1)
    errors, images = int((predicted != labels).sum()), len(labels)
    low, high = wilson_interval(images - errors, images)
    every_class = range(probabilities.shape[1])
    present = np.unique(labels)
    return {
        "accuracy": (images - errors) / images,
        "accuracy_low": low,
        "accuracy_high": high,
        "balanced_accuracy": float(
            metrics.recall_score(labels, predicted, labels=present, average="macro", zero_division=0)
        ),
        "macro_f1": float(metrics.f1_score(labels, predicted, labels=every_class, average="macro", zero_division=0)),
        "log_loss": float(metrics.log_loss(labels, probabilities, labels=every_class)),
        "ece": expected_calibration_error(calibration_bins(labels, probabilities)),
        "errors": errors,
        "images": images,
    }


def calibration_bins(labels: np.ndarray, probabilities: np.ndarray, bins: int = 15) -> list[dict[str, float | int]]:
    """Rows of `confidence`, `accuracy` and `images`, one for each of equally wide bins of confidence that isn't empty.

    Confidence is the predicted class's probability; a bin's is its mean. Guo and others, On calibration of modern
    neural networks, https://arxiv.org/abs/1706.04599.
    """
    confidence, right = probabilities.max(1), probabilities.argmax(1) == labels
    places = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    return [
        {"confidence": float(confidence[inside].mean()), "accuracy": float(right[inside].mean()),
         "images": int(inside.sum())}
        for place in np.unique(places) for inside in [places == place]
    ]  # fmt: skip


def expected_calibration_error(rows: Sequence[dict[str, float | int]]) -> float:
    """The mean distance of accuracy from confidence, each bin weighted by its images."""
    gaps = [abs(row["accuracy"] - row["confidence"]) * row["images"] for row in rows]
    return sum(gaps) / sum(row["images"] for row in rows)


def wilson_interval(successes: int, trials: int) -> tuple[float, float]:
    """The 95 % confidence interval of a proportion.

    E. B. Wilson, Probable inference, the law of succession, and statistical inference, JASA 22 (1927).
    """
    proportion, z2 = successes / trials, Z_95**2
    centre = proportion + z2 / (2 * trials)
    margin = Z_95 * sqrt(proportion * (1 - proportion) / trials + z2 / (4 * trials**2))
    scale = 1 + z2 / trials
    # Rounding may leave the ends a hair outside at 0 and at all successes.
    return max((centre - margin) / scale, 0.0), min((centre + margin) / scale, 1.0)


def confusion_rows(labels: np.ndarray, predicted: np.ndarray, class_names: Sequence[str]) -> list[dict[str, str | int]]:
    """The confusion matrix as rows of `actual`, `predicted` and `count`, one for each pair of classes."""
    counts = metrics.confusion_matrix(labels, predicted, labels=range(len(class_names)))
    return [
        {"actual": actual, "predicted": predicted_name, "count": int(counts[i, j])}
        for i, actual in enumerate(class_names)
        for j, predicted_name in enumerate(class_names)
    ]


def class_rows(
    labels: np.ndarray, predicted: np.ndarray, class_names: Sequence[str]
) -> list[dict[str, str | float | int]]:
    """Rows of `class`, `precision`, `recall`, `f1` and `images`, the number of test images; 0 where undefined."""
    columns = metrics.precision_recall_fscore_support(
        labels, predicted, labels=range(len(class_names)), zero_division=0
    )
    return [
        {"class": name, "precision": float(precision), "recall": float(recall), "f1": float(f1), "images": int(images)}
        for name, precision, recall, f1, images in zip(class_names, *columns, strict=True)
    ]
