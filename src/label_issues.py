"""Labels that are probably wrong, by confident learning, from predictions for images that were not trained on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np

from src.comparison import Predictions
from src.errors import MnistryError
from src.summaries import Run


@dataclass(frozen=True)
class Folds:
    """The runs of a cross-validation, by the fold that each held out, and the number of folds."""

    runs: Mapping[int, Run]
    count: int

    @property
    def missing(self) -> list[int]:
        """The folds without a run."""
        return [fold for fold in range(self.count) if fold not in self.runs]

    def describe(self) -> str:
        """An experiment's name, and the number of the others."""
        first, *others = sorted(run.name for run in self.runs.values())
        return f"{first} and {len(others)} more" if others else first


def choose_folds(runs: Sequence[Run]) -> Folds:
    """The one cross-validation among the runs: those that differ in train.fold alone.

    Of several, the only one with all its folds; raises MnistryError where there is no one such.
    """
    found: dict[str, dict[int, Run]] = {}
    for run in runs:
        if int(run.params.get("train.folds", 0)):
            key = repr((run.commit, run.params.get("seed"), sorted(run.settings.items())))
            found.setdefault(key, {}).setdefault(int(run.params["train.fold"]), run)
    every = [Folds(each, int(next(iter(each.values())).params["train.folds"])) for each in found.values()]
    chosen = [folds for folds in every if not folds.missing] or every
    if not chosen:
        raise MnistryError(
            f"none of {len(runs)} experiments has folds; make them by "
            "`python -m commands.sweep -S train.folds=5 -S 'train.fold=range(5)'`"
        )
    if len(chosen) > 1:
        raise MnistryError(
            f"{len(chosen)} cross-validations: {'; '.join(folds.describe() for folds in chosen)}; name the experiments "
            "of one, such as 'cnn-*'"
        )
    return chosen[0]


def join_predictions(parts: Sequence[Predictions]) -> Predictions:
    """All folds' predictions, in the order of the images; raises MnistryError where folds share an image."""
    joined = Predictions(
        **{field.name: np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(Predictions)}
    )
    joined = joined.rows(np.argsort(joined.images, kind="stable"))
    images = joined.images
    if (twice := images[1:][images[1:] == images[:-1]]).size:
        raise MnistryError(
            f"{twice.size:,} images, such as image {twice[0]}, are in two folds: those are of different datasets or "
            "versions of mnistry; run the experiments again"
        )
    return joined


def find_label_issues(predictions: Predictions) -> np.ndarray:
    """Indices, int64, of the rows whose label is probably wrong, the surest first.

    They are the off-diagonal of the confident joint: another class than the label is predicted, with at least the
    probability that the images labelled with that class have for it on average. The surest have the lowest margin:
    the label's probability minus the predicted class's. The predictions must be for images not trained on. Northcutt,
    Jiang and Chuang, Confident learning: estimating uncertainty in dataset labels, JAIR 70 (2021),
    https://arxiv.org/abs/1911.00068. Where the likeliest class misses its threshold, the paper goes on to the next
    class; here, as files of predictions have the likeliest alone, the image is not an issue.
    """
    thresholds = class_thresholds(predictions)
    needed = np.array([thresholds.get(name, np.inf) for name in predictions.predicted])
    issues = np.flatnonzero(~predictions.right & (predictions.probability >= needed))
    margins = (predictions.probability_of_actual - predictions.probability)[issues]
    return np.asarray(issues[np.argsort(margins, kind="stable")])


def class_thresholds(predictions: Predictions) -> dict[str, float]:
    """For each class that is a label, the mean probability that the images with that label have for it."""
    names, codes = np.unique(predictions.actual, return_inverse=True)
    means = np.bincount(codes, predictions.probability_of_actual) / np.bincount(codes)
    return dict(zip(names, means.tolist(), strict=True))


COLUMNS = ("file", "label", "given", "suggested", "probability_of_given", "probability_of_suggested", "image")
"""Of a table to go through, which then takes the name corrected_labels.csv."""


def issue_rows(
    predictions: Predictions, issues: np.ndarray, label: str = "given"
) -> list[dict[str, str | float | int]]:
    """A row of COLUMNS for each issue, in their order.

    label: what the column of that name has: given, suggested or none, which leaves the images out.
    """
    labels = {"given": predictions.actual, "suggested": predictions.predicted}
    columns = (
        predictions.files,
        labels.get(label, np.full(len(predictions.files), "", dtype=object)),
        predictions.actual,
        predictions.predicted,
        predictions.probability_of_actual.tolist(),
        predictions.probability.tolist(),
        predictions.images.tolist(),
    )
    return [dict(zip(COLUMNS, (column[i] for column in columns), strict=True)) for i in issues]
