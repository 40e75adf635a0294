import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from sklearn import metrics

from src.evaluation import (
    Answers,
    Evaluation,
    Evaluator,
    class_rows,
    confidence_bins,
    confusion_rows,
    summary_metrics,
    wilson_interval,
)


def random_case(images=200, classes=4):
    """Labels and probabilities that have nothing to do with each other."""
    generator = np.random.default_rng(0)
    probabilities = generator.dirichlet(np.ones(classes), images)
    return generator.integers(0, classes, images), probabilities


def evaluated(
    labels: np.ndarray, probabilities: np.ndarray, class_names: Sequence[str], pieces: int = 1, **kept: Any
) -> Evaluation:
    """The evaluation of answers that come in so many pieces."""
    evaluator = Evaluator(class_names, **kept)
    for piece in zip(np.array_split(labels, pieces), np.array_split(probabilities, pieces), strict=True):
        evaluator.add(*piece)
    return evaluator.evaluation()


def certain(labels, predicted, class_names):
    """The evaluation of a classifier that is sure of what it predicts."""
    return evaluated(np.array(labels), np.eye(len(class_names))[predicted], class_names)


def test_wilson_interval_worked_by_hand():
    """8 of 10, from Wilson's formula: 0.4902 to 0.9433."""
    low, high = wilson_interval(8, 10)
    assert (round(low, 4), round(high, 4)) == (0.4902, 0.9433)


@pytest.mark.parametrize("successes", [0, 10])
def test_wilson_interval_stays_in_range(successes):
    """Also where all or none are right."""
    low, high = wilson_interval(successes, 10)
    assert 0 <= low < high <= 1


def test_metrics_equal_scikit_learns():
    """Each by its own function."""
    labels, probabilities = random_case()
    predicted = probabilities.argmax(1)
    summary = summary_metrics(evaluated(labels, probabilities, "abcd"), np.array([2, 3, 3]))
    assert summary["accuracy"] == metrics.accuracy_score(labels, predicted)
    assert summary["balanced_accuracy"] == pytest.approx(metrics.balanced_accuracy_score(labels, predicted))
    assert summary["macro_f1"] == pytest.approx(metrics.f1_score(labels, predicted, average="macro"))
    assert summary["log_loss"] == pytest.approx(-np.log(probabilities[np.arange(200), labels]).mean())
    assert summary["baseline_accuracy"] == (labels == 3).mean()
    assert summary["errors"] == (labels != predicted).sum()
    assert summary["images"] == 200


def test_metrics_are_finite_where_classes_are_missing_and_probabilities_0():
    """A test split may lack a class, and a classifier may be certain and wrong."""
    summary = summary_metrics(certain([0, 0], [1, 0], "abc"), np.array([1]))
    json.dumps(summary, allow_nan=False)
    assert summary["accuracy"] == summary["balanced_accuracy"] == 0.5


def test_calibration_worked_by_hand():
    """Two images at 0.9, one right; one at 0.6, right: |0.5 - 0.9| * 2/3 + |1 - 0.6| * 1/3 = 0.4."""
    evaluation = evaluated(np.array([0, 1, 0]), np.array([[0.9, 0.1], [0.9, 0.1], [0.6, 0.4]]), "ab")
    for row, expected in zip(evaluation.calibration, [(0.6, 1.0, 1), (0.9, 0.5, 2)], strict=True):
        assert tuple(row.values()) == pytest.approx(expected)
    assert evaluation.calibration_error == pytest.approx(0.4)


def test_upper_end_of_a_bin_belongs_to_it():
    """Of 15 bins, 0.6 ends the ninth: with 0.55, it is in one bin; 0.62 is in the next; 1 is in the last."""
    confidence = np.array([0.55, 0.6, 0.62, 0.98, 1.0])
    zeros = np.zeros(5, int)
    images = confidence_bins(Answers(zeros, zeros, zeros, confidence))[:, 2]
    assert images[images > 0].tolist() == [2, 1, 2]


@pytest.mark.parametrize("pieces", [3, 200])
def test_pieces_give_what_all_at_once_gives(pieces):
    """Counts, the answers that are kept and their order bit for bit; sums but for their last bits."""
    labels, probabilities = random_case()
    probabilities[150] = probabilities[20]
    kept = {"chosen": [0, 66, 67, 199], "mistakes": 9}
    whole, found = (evaluated(labels, probabilities, "abcd", count, **kept) for count in (1, pieces))
    assert np.array_equal(found.confusion, whole.confusion)
    assert found.chosen.indices.tolist() == whole.chosen.indices.tolist() == [0, 66, 67, 199]
    assert found.mistakes.indices.tolist() == whole.mistakes.indices.tolist()
    assert np.array_equal(found.mistakes.confidence, whole.mistakes.confidence)
    wanted, given = (summary_metrics(each, labels) for each in (whole, found))
    assert given == pytest.approx(wanted, rel=1e-12)


def test_confusion_rows_count_each_pair():
    """One row per pair of classes, zeros included, in the classes' order."""
    rows = confusion_rows(certain([0, 0, 1], [0, 1, 1], ["cat", "dog"]))
    assert [tuple(row.values()) for row in rows] == [
        ("cat", "cat", 1), ("cat", "dog", 1), ("dog", "cat", 0), ("dog", "dog", 1)
    ]  # fmt: skip
    assert list(rows[0]) == ["actual", "predicted", "count"]


def test_confusion_rows_of_many_classes_leave_zeros_out():
    """But each class's own row stays, so that all classes are in it, in their order."""
    names = [str(i) for i in range(101)]
    rows = confusion_rows(certain([0, 0, 1], [0, 7, 2], names))
    assert [row["actual"] for row in rows if row["actual"] == row["predicted"]] == names
    others = [tuple(row.values()) for row in rows if row["actual"] != row["predicted"]]
    assert others == [("0", "7", 1), ("1", "2", 1)]
    assert sum(int(row["count"]) for row in rows) == 3


def test_class_rows_worked_by_hand():
    """Two cats, one of them taken for a dog; one dog, predicted right."""
    cat, dog, cow = class_rows(certain([0, 0, 1], [0, 1, 1], ["cat", "dog", "cow"]))
    assert cat == {"class": "cat", "precision": 1.0, "recall": 0.5, "f1": pytest.approx(2 / 3), "images": 2}
    assert dog == {"class": "dog", "precision": 0.5, "recall": 1.0, "f1": pytest.approx(2 / 3), "images": 1}
    assert cow == {"class": "cow", "precision": 0.0, "recall": 0.0, "f1": 0.0, "images": 0}
