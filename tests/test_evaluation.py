import json

import numpy as np
import pytest
from sklearn import metrics

from src.evaluation import (
    calibration_bins,
    class_rows,
    confusion_rows,
    expected_calibration_error,
    summary_metrics,
    wilson_interval,
)


def random_case(images=200, classes=4):
    generator = np.random.default_rng(0)
    probabilities = generator.dirichlet(np.ones(classes), images)
    return generator.integers(0, classes, images), probabilities


def test_wilson_interval_worked_by_hand():
    """8 of 10, from Wilson's formula: 0.4902 to 0.9433."""
    low, high = wilson_interval(8, 10)
    assert (round(low, 4), round(high, 4)) == (0.4902, 0.9433)


@pytest.mark.parametrize("successes", [0, 10])
def test_wilson_interval_stays_in_range(successes):
    """Also where all or none are right."""
    low, high = wilson_interval(successes, 10)
    assert 0 <= low < high <= 1


def test_figures_equal_scikit_learns():
    """Each by its own function."""
    labels, probabilities = random_case()
    predicted = probabilities.argmax(1)
    figures = summary_metrics(labels, probabilities)
    assert figures["accuracy"] == metrics.accuracy_score(labels, predicted)
    assert figures["balanced_accuracy"] == pytest.approx(metrics.balanced_accuracy_score(labels, predicted))
    assert figures["macro_f1"] == pytest.approx(metrics.f1_score(labels, predicted, average="macro"))
    assert figures["log_loss"] == pytest.approx(-np.log(probabilities[np.arange(200), labels]).mean())
    assert figures["errors"] == (labels != predicted).sum()
    assert figures["images"] == 200


def test_figures_are_finite_where_classes_are_missing_and_probabilities_0():
    """A test split may lack a class, and a classifier may be certain and wrong."""
    figures = summary_metrics(np.array([0, 0]), np.array([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0]]))
    json.dumps(figures, allow_nan=False)
    assert figures["accuracy"] == figures["balanced_accuracy"] == 0.5


def test_calibration_worked_by_hand():
    """Two images at 0.9, one right; one at 0.6, right: |0.5 - 0.9| * 2/3 + |1 - 0.6| * 1/3 = 0.4."""
    rows = calibration_bins(np.array([0, 1, 0]), np.array([[0.9, 0.1], [0.9, 0.1], [0.6, 0.4]]))
    assert [tuple(row.values()) for row in rows] == [
        (pytest.approx(0.6), 1.0, 1), (pytest.approx(0.9), 0.5, 2)
    ]  # fmt: skip
    assert expected_calibration_error(rows) == pytest.approx(0.4)


def test_confusion_rows_count_each_pair():
    """One row a pair of classes, zeros included, in the classes' order."""
    rows = confusion_rows(np.array([0, 0, 1]), np.array([0, 1, 1]), ["cat", "dog"])
    assert [tuple(row.values()) for row in rows] == [
        ("cat", "cat", 1), ("cat", "dog", 1), ("dog", "cat", 0), ("dog", "dog", 1)
    ]  # fmt: skip
    assert list(rows[0]) == ["actual", "predicted", "count"]


def test_class_rows_worked_by_hand():
    """Two cats, one taken for a dog; one dog, rightly."""
    cat, dog, cow = class_rows(np.array([0, 0, 1]), np.array([0, 1, 1]), ["cat", "dog", "cow"])
    assert cat == {"class": "cat", "precision": 1.0, "recall": 0.5, "f1": pytest.approx(2 / 3), "images": 2}
    assert dog == {"class": "dog", "precision": 0.5, "recall": 1.0, "f1": pytest.approx(2 / 3), "images": 1}
    assert cow == {"class": "cow", "precision": 0.0, "recall": 0.0, "f1": 0.0, "images": 0}
