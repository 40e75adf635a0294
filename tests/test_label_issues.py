"""Wrong labels: confident learning by hand, the choice of folds, and the command's words."""

import csv
import sys

import numpy as np
import pytest

from commands import audit
from src.comparison import Predictions
from src.errors import MnistryError
from src.label_issues import choose_folds, class_thresholds, find_label_issues, join_predictions
from src.plots.base import save
from src.plots.label_issues import label_issues_figure
from src.summaries import Run

HEADER = "image,file,actual,predicted,probability,probability_of_actual\n"


def predictions(*rows, first=0):
    """Predictions from rows of label, predicted class and the probabilities of both."""
    actual, predicted = (np.array([row[column] for row in rows], dtype=object) for column in (0, 1))
    of_actual, probability = (np.array([row[column] for row in rows]) for column in (2, 3))
    images = np.arange(first, first + len(rows))
    files = np.array([f"{i}.png" for i in images], dtype=object)
    return Predictions(files, actual, predicted, probability, of_actual, images)


CATS_AND_DOGS = predictions(
    ("cat", "cat", 0.9, 0.9),
    ("cat", "cat", 0.8, 0.8),
    ("cat", "dog", 0.1, 0.9),
    ("dog", "dog", 0.9, 0.9),
    ("dog", "dog", 0.7, 0.7),
    ("dog", "cat", 0.05, 0.95),
    ("dog", "cat", 0.45, 0.55),
)


def test_issues_are_the_confident_joints_off_diagonal():
    """By hand: thresholds 1.8 / 3 for cat and 2.1 / 4 for dog, so a cat predicted with 0.55 is not sure enough."""
    assert class_thresholds(CATS_AND_DOGS) == pytest.approx({"cat": 0.6, "dog": 0.525})
    # Margins -0.9 and -0.8: the surest first.
    assert find_label_issues(CATS_AND_DOGS).tolist() == [5, 2]


def test_the_threshold_itself_is_enough():
    """The paper counts probabilities that are at least the mean."""
    rows = predictions(("a", "a", 0.5, 0.5), ("b", "a", 0.25, 0.5))
    assert find_label_issues(rows).tolist() == [1]


def test_class_that_is_no_label_is_no_suggestion():
    """It has no threshold."""
    assert find_label_issues(predictions(("a", "b", 0.1, 0.9), ("a", "a", 0.9, 0.9))).tolist() == []


def test_folds_are_joined_in_the_order_of_images():
    """Whatever fold an image was held out in; in two of them, none is."""
    first, second = predictions(("a", "a", 0.9, 0.9), first=1), predictions(("b", "b", 0.8, 0.8), first=0)
    joined = join_predictions([first, second])
    assert joined.images.tolist() == [0, 1]
    assert joined.actual.tolist() == ["b", "a"]
    assert joined.files.tolist() == ["0.png", "1.png"]
    with pytest.raises(
        MnistryError, match=r"1 images, such as image 1, are in two folds: .* run the experiments again"
    ):
        join_predictions([first, first])


def run(name, fold, folds=2, commit="c", **params):
    """An experiment with folds."""
    return Run(name, f"{name}-revision", commit, {"train.folds": folds, "train.fold": fold, "seed": 0, **params}, {})


def test_folds_of_one_training_are_those_that_differ_in_the_fold_alone():
    """Others are left aside where they are incomplete, and asked about where they are not."""
    ours = [run("a0", 0), run("a1", 1)]
    none = Run("plain", "r", "c", {"train.folds": 0, "train.fold": 0}, {})
    for other in (
        run("seed1", 0, seed=1),
        run("cnn", 0, model="cnn"),
        run("three", 0, folds=3),
        run("b", 0, commit="d"),
    ):
        assert {fold: each.name for fold, each in choose_folds([none, other, *ours]).runs.items()} == {0: "a0", 1: "a1"}
    incomplete = choose_folds([run("a2", 2, folds=4), run("a0", 0, folds=4)])
    assert incomplete.missing == [1, 3]
    assert incomplete.describe() == "a0 and 1 more"
    with pytest.raises(MnistryError, match=r"2 cross-validations: a0 and 1 more; s0 and 1 more; name the experiments"):
        choose_folds([*ours, run("s0", 0, seed=1), run("s1", 1, seed=1)])
    with pytest.raises(MnistryError, match=r"none of 1 experiments has folds; make them by `python -m commands.sweep"):
        choose_folds([none])


def test_figure_shows_label_and_suggestion(tmp_path):
    """Of the surest, with the images of those rows and not of others."""
    images = np.arange(7, dtype=np.uint8)[:, None, None, None].repeat(8, 2).repeat(8, 3)
    figure = label_issues_figure(images, CATS_AND_DOGS, np.array([5, 2]))
    captions = [caption.get_text() for caption in figure.axes[0].texts]
    assert captions[:2] == ["label: dog 5%\nsuggested: cat 95%\n5.png", "label: cat 10%\nsuggested: dog 90%\n2.png"]
    assert [np.asarray(image.get_array()).max() for image in figure.axes[0].images] == [5, 2]
    save(figure, tmp_path / "figure.png")


class FakeRevision:
    """A revision of a project that is only its validation predictions and its training images."""

    dataset = "data/normalized/mine"

    def __init__(self, name):
        self.fold = int(name.startswith("a1"))

    def read_text(self, path):
        """Five images in the first fold, two in the second; a file's name holds a control character."""
        assert path == "data/validation.csv"
        rows = [
            f"{i},{i}\x1b.png,{CATS_AND_DOGS.actual[i]},{CATS_AND_DOGS.predicted[i]},"
            f"{CATS_AND_DOGS.probability[i]},{CATS_AND_DOGS.probability_of_actual[i]}\n"
            for i in (range(5, 7) if self.fold else range(5))
        ]
        return HEADER + "".join(rows)

    def read_images(self, split):
        """The images of the training split."""
        assert split == "train"
        return np.zeros((7, 1, 8, 8), np.uint8)


@pytest.fixture
def command(monkeypatch, capsys):
    """Run audit where DVC has these experiments; its output and its warnings."""
    monkeypatch.setattr("src.revisions.Revision", FakeRevision)

    def call(runs, *arguments):
        monkeypatch.setattr("src.experiments.read_experiments", lambda *_, **__: (runs, []))
        monkeypatch.setattr(sys, "argv", ["audit", *arguments])
        assert audit.main() == 0
        return capsys.readouterr()

    return call


def test_audit_prints_writes_and_draws(command, tmp_path):
    """The surest issues first, as printable text; all of them in the CSV."""
    runs = [run("a0", 0), run("a1", 1)]
    table = tmp_path / "issues.csv"
    printed = command(runs, "--csv", str(table), "--figure", str(tmp_path / "f.png"), "--top", "1")
    assert printed.out == (
        "by a0 and 1 more, 2 of 7 labels are probably wrong\n"
        "  label        suggested         file\n"
        "  dog    5.0%  cat        95.0%  5\\x1b.png\n"
    )
    assert printed.err == ""
    with table.open(encoding="utf-8", newline="") as file:
        first, second = csv.DictReader(file)
    assert first == {
        "file": "5\x1b.png", "label": "dog", "given": "dog", "suggested": "cat", "probability_of_given": "0.05",
        "probability_of_suggested": "0.95", "image": "5",
    }  # fmt: skip
    assert second["image"] == "2"
    for label, expected in (("suggested", "cat"), ("none", "")):
        command(runs, "--csv", str(table), "--label", label)
        with table.open(encoding="utf-8", newline="") as file:
            row = next(csv.DictReader(file))
        assert (row["label"], row["given"]) == (expected, "dog")
    assert (tmp_path / "f.png").exists()


def test_corrections_of_before_are_not_overwritten(command, tmp_path):
    """They may have been made by hand."""
    table = tmp_path / "corrected_labels.csv"
    command([run("a0", 0), run("a1", 1)], "--csv", str(table), "--label", "none")
    before = table.read_text()
    with pytest.raises(MnistryError, match=r"corrected_labels.csv: it may hold corrections of before; write another"):
        command([run("a0", 0), run("a1", 1)], "--csv", str(table))
    assert table.read_text() == before


def test_audit_says_which_folds_are_missing(command, tmp_path):
    """And draws nothing where no label is wrong; a pattern chooses experiments."""
    runs = [run("a0", 0, folds=3), run("a1", 1, folds=3)]
    printed = command(runs, "a1", "--figure", str(tmp_path / "f.png"))
    assert printed.err == "warning: of 3 folds, there are no experiments of 0, 2: their images are not judged\n"
    assert printed.out == ("by a1, 0 of 2 labels are probably wrong\nno label is probably wrong: no figure was drawn\n")
    assert not (tmp_path / "f.png").exists()
