"""How well probabilities fit the labels, with scikit-learn and SciPy."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from scipy.stats import binomtest
from sklearn import metrics

BINS = 15
"""Of confidence, equally wide."""
MANY_CLASSES = 100
"""Of more, the confusion matrix has too many pairs to list them all: 1,000 classes have a million."""


@dataclass(frozen=True)
class Answers:
    """What a classifier said of some images.

    indices: the images', in the test split; labels, predicted: int64; confidence: the predicted class's probability,
    float64. All have shape (n,).
    """

    indices: np.ndarray
    labels: np.ndarray
    predicted: np.ndarray
    confidence: np.ndarray

    def __len__(self) -> int:
        """The number of images."""
        return len(self.indices)

    def __getitem__(self, which: np.ndarray | slice) -> "Answers":
        """Those at the places, in that order."""
        return Answers(*(getattr(self, column.name)[which] for column in fields(self)))

    def __add__(self, others: "Answers") -> "Answers":
        """These, followed by the others."""
        return Answers(*(np.concatenate([getattr(each, column.name) for each in (self, others)])
                         for column in fields(self)))  # fmt: skip


NO_ANSWERS = Answers(*(np.empty(0, dtype) for dtype in (np.int64, np.int64, np.int64, np.float64)))


@dataclass(frozen=True)
class Evaluation:
    """What follows from a classifier's answers.

    confusion: int64, shape (K, K), one row per actual class. precision, recall, f1: float64, shape (K,), 0 where
    undefined. log_loss: in nats. calibration: a row of `confidence`, `accuracy` and `images` per bin that isn't empty.
    chosen: the answers that were asked for. mistakes: those of highest probability first.
    """

    class_names: Sequence[str]
    confusion: np.ndarray
    precision: np.ndarray
    recall: np.ndarray
    f1: np.ndarray
    log_loss: float
    calibration: list[dict[str, float | int]]
    chosen: Answers
    mistakes: Answers

    @property
    def images(self) -> int:
        """The number of images."""
        return int(self.confusion.sum())

    @property
    def errors(self) -> int:
        """The number of images predicted wrongly."""
        return self.images - int(self.confusion.trace())

    @property
    def calibration_error(self) -> float:
        """The expected calibration error: the mean distance of accuracy from confidence, bins weighted by images."""
        gaps = [abs(row["accuracy"] - row["confidence"]) * row["images"] for row in self.calibration]
        return sum(gaps) / self.images


class Evaluator:
    """Evaluates a classifier's answers as they come, and holds none but those that are to be shown.

    chosen: indices of images whose answers are kept, ascending. mistakes: how many of the surest are.
    """

    def __init__(self, class_names: Sequence[str], chosen: Sequence[int] | np.ndarray = (), mistakes: int = 0):
        self.class_names, self._chosen, self._most = class_names, np.asarray(chosen, np.int64), mistakes
        self._confusion = np.zeros((len(class_names), len(class_names)), np.int64)
        self._log_loss, self._done = 0.0, 0
        # Per bin: the sum of confidences, the right ones, all.
        self._bins = np.zeros((BINS, 3))
        self._shown, self._mistakes = NO_ANSWERS, NO_ANSWERS

    def add(self, labels: np.ndarray, probabilities: np.ndarray) -> None:
        """Take in the next images: labels, int64 of shape (n,); probabilities, float64 of shape (n, K)."""
        classes, indices = range(len(self.class_names)), np.arange(self._done, self._done + len(labels))
        answers = Answers(indices, labels, probabilities.argmax(1), probabilities.max(1))
        self._confusion += metrics.confusion_matrix(labels, answers.predicted, labels=classes)
        self._log_loss += float(metrics.log_loss(labels, probabilities, labels=classes, normalize=False))
        self._bins += confidence_bins(answers)
        self._shown += answers[np.isin(indices, self._chosen)]
        mistakes = self._mistakes + answers[answers.predicted != labels]
        self._mistakes = mistakes[np.argsort(-mistakes.confidence, kind="stable")[: self._most]]
        self._done += len(labels)

    def evaluation(self) -> Evaluation:
        """What follows from all answers so far."""
        actual, predicted = np.nonzero(self._confusion)
        precision, recall, f1, _ = metrics.precision_recall_fscore_support(
            actual, predicted, labels=range(len(self.class_names)), sample_weight=self._confusion[actual, predicted],
            zero_division=0,
        )  # fmt: skip
        return Evaluation(
            class_names=self.class_names,
            confusion=self._confusion,
            precision=precision,
            recall=recall,
            f1=f1,
            log_loss=self._log_loss / self._done,
            calibration=[
                {"confidence": float(confidence / images), "accuracy": float(right / images), "images": int(images)}
                for confidence, right, images in self._bins
                if images
            ],
            chosen=self._shown,
            mistakes=self._mistakes,
        )


def summary_metrics(evaluation: Evaluation, train_labels: np.ndarray) -> dict[str, float | int]:
    """The metrics of metrics/test.json; fractions are in [0, 1], log loss is in nats.

    train_labels: int64; the baseline always predicts the commonest of them. Balanced accuracy is the mean recall of the
    classes that have test images.
    """
    images, of_class = evaluation.images, evaluation.confusion.sum(1)
    low, high = wilson_interval(images - evaluation.errors, images)
    return {
        "accuracy": (images - evaluation.errors) / images,
        "accuracy_low": low,
        "accuracy_high": high,
        "baseline_accuracy": int(of_class[np.bincount(train_labels).argmax()]) / images,
        "balanced_accuracy": float(evaluation.recall[of_class > 0].mean()),
        "macro_f1": float(evaluation.f1.mean()),
        "log_loss": evaluation.log_loss,
        "ece": evaluation.calibration_error,
        "errors": evaluation.errors,
        "images": images,
    }


def confidence_bins(answers: Answers) -> np.ndarray:
    """For each of BINS bins of confidence, the sum of the confidences, the right answers and all: float64, (BINS, 3).

    A bin includes its upper end. Guo and others, On calibration of modern neural networks,
    https://arxiv.org/abs/1706.04599.
    """
    numbers = np.clip(np.ceil(answers.confidence * BINS).astype(int) - 1, 0, BINS - 1)
    found, right = np.zeros((BINS, 3)), answers.predicted == answers.labels
    for number in np.unique(numbers):
        inside = numbers == number
        found[number] = answers.confidence[inside].sum(), right[inside].sum(), inside.sum()
    return found


def wilson_interval(successes: int, trials: int) -> tuple[float, float]:
    """The 95 % confidence interval of a proportion.

    E. B. Wilson, Probable inference, the law of succession, and statistical inference, JASA 22 (1927).
    """
    interval = binomtest(successes, trials).proportion_ci(0.95, method="wilson")
    return float(interval.low), float(interval.high)


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
