"""Whether one classifier is better than another on the same images, and how sure that is, with SciPy."""

import csv
import io
from collections import Counter
from dataclasses import dataclass, fields

import numpy as np
from scipy.optimize import brentq
from scipy.stats import binomtest, norm, t

from src.errors import MnistryError
from src.predictions import COLUMNS

SIGNIFICANCE = 0.05
"""A smaller p is said to be no chance: of two classifiers that are equally good, at most 5 % of pairs get one."""
RESAMPLES = 2000


@dataclass(frozen=True)
class Predictions:
    """What a predictions.csv holds, a row per image, in order.

    files, actual, predicted: strings. probability (of the predicted class), probability_of_actual: float64, in [0, 1].
    images: int64, each one's index in its split.
    """

    files: np.ndarray
    actual: np.ndarray
    predicted: np.ndarray
    probability: np.ndarray
    probability_of_actual: np.ndarray
    images: np.ndarray

    @property
    def right(self) -> np.ndarray:
        """Whether each image's class was predicted, bool of shape (N,)."""
        return np.asarray(self.predicted == self.actual)

    def rows(self, indices: np.ndarray) -> "Predictions":
        """Those of the rows at the indices, in their order."""
        return Predictions(**{field.name: getattr(self, field.name)[indices] for field in fields(self)})

    @property
    def losses(self) -> np.ndarray:
        """Each image's log loss in nats, float64 of shape (N,); probabilities are clipped as scikit-learn does it."""
        smallest = np.finfo(np.float64).eps
        return np.asarray(-np.log(np.clip(self.probability_of_actual, smallest, 1 - smallest)))


@dataclass(frozen=True)
class Difference:
    """A metric of both classifiers, the second's minus the first's, and the 95 % interval of that."""

    first: float
    second: float
    low: float
    high: float

    @property
    def value(self) -> float:
        """The difference."""
        return self.second - self.first


@dataclass(frozen=True)
class Comparison:
    """What two classifiers' predictions say of their difference.

    only_first, only_second: the number of images that one alone gets right. p: of the exact McNemar test.
    """

    images: int
    only_first: int
    only_second: int
    p: float
    accuracy: Difference
    log_loss: Difference
    macro_f1: Difference

    @property
    def could_be_chance(self) -> bool:
        """Whether equally good classifiers would often differ as much."""
        return self.p >= SIGNIFICANCE


def read_predictions(text: str, name: str) -> Predictions:
    """The content of a predictions.csv; raises MnistryError, with `name`, where it is not one."""
    reader = csv.DictReader(io.StringIO(text, newline=""))
    rows = list(reader)
    if set(reader.fieldnames or ()) != set(COLUMNS):
        raise MnistryError(f"{name}: expected rows of {', '.join(COLUMNS)}; an older mnistry's? Run `dvc repro`")
    if not rows:
        raise MnistryError(f"{name}: no images were held out; set train.validation_fraction or train.folds")
    files, actual, predicted = (np.array([row[key] for row in rows], dtype=object) for key in COLUMNS[1:4])
    try:
        probability, of_actual = (np.array([float(row[key]) for row in rows]) for key in COLUMNS[4:])
        images = np.array([int(row["image"]) for row in rows])
    except (TypeError, ValueError) as error:
        raise MnistryError(f"{name}: expected numbers as probabilities and images ({error}); run `dvc repro`") from None
    return Predictions(files, actual, predicted, probability, of_actual, images)


def in_both(first: Predictions, second: Predictions) -> tuple[Predictions, Predictions]:
    """Both predictions of the images that both have, by their files, in the first's order; none where they share none.

    Files are each in a split once.
    """
    _, ours, theirs = np.intersect1d(first.files, second.files, return_indices=True)
    order = np.argsort(ours)
    return first.rows(ours[order]), second.rows(theirs[order])


def describe_mismatch(first: Predictions, second: Predictions) -> str | None:
    """How the images differ, in words; None where their files and labels are the same."""
    if len(first.files) != len(second.files):
        return f"{len(first.files):,} and {len(second.files):,} images"
    if alone := sorted((Counter(first.files) - Counter(second.files)).keys()):
        return f"{len(alone):,} of the first's files are not among the second's, such as {alone[0]}"
    if (moved := np.flatnonzero(first.files != second.files)).size:
        return f"the same files in another order, from image {moved[0]} on"
    if (relabelled := np.flatnonzero(first.actual != second.actual)).size:
        i = relabelled[0]
        return (
            f"{len(relabelled):,} labels differ, such as that of {first.files[i]}: {first.actual[i]!r} and "
            f"{second.actual[i]!r}"
        )
    return None


def compare_predictions(first: Predictions, second: Predictions, seed: int = 0) -> Comparison:
    """The comparison of two classifiers' predictions for the same images in the same order.

    seed: draws the resamples of the bootstrap.
    """
    only_first = int((first.right & ~second.right).sum())
    only_second = int((second.right & ~first.right).sum())
    images = len(first.files)
    log_loss, macro_f1 = bootstrap_differences(first, second, seed)
    return Comparison(
        images=images,
        only_first=only_first,
        only_second=only_second,
        p=mcnemar_test(only_first, only_second),
        accuracy=Difference(
            float(first.right.mean()), float(second.right.mean()), *tango_interval(only_first, only_second, images)
        ),
        log_loss=log_loss,
        macro_f1=macro_f1,
    )


def mcnemar_test(only_first: int, only_second: int) -> float:
    """The p-value of the exact McNemar test, two-sided; 1 where no image is right in one alone.

    If both are equally good, each such image is the first's or the second's with probability 1/2. Q. McNemar, Note on
    the sampling error of the difference between correlated proportions or percentages, Psychometrika 12 (1947).
    """
    discordant = only_first + only_second
    return float(binomtest(only_second, discordant).pvalue) if discordant else 1.0


def tango_interval(only_first: int, only_second: int, images: int) -> tuple[float, float]:
    """The 95 % score interval of the second's accuracy minus the first's, of `images` pairs.

    Recommended for its coverage by Fagerland, Lydersen and Laake, Recommended tests and confidence intervals for paired
    binomial proportions, Statistics in Medicine 33 (2014). T. Tango, Equivalence test and confidence interval for the
    difference in proportions for the paired-sample design, Statistics in Medicine 17 (1998).
    """
    z = float(norm.ppf(0.975))
    observed = (only_second - only_first) / images

    def score(difference: float) -> float:
        # `smallest`: the likeliest probability of "right in the first alone" under that difference.
        linear = (2 * images - only_second + only_first) * difference - only_first - only_second
        constant = -only_first * difference * (1 - difference)
        smallest = (np.sqrt(max(linear**2 - 8 * images * constant, 0)) - linear) / (4 * images)
        variance = images * (2 * smallest + difference * (1 - difference))
        # Without variance, no other difference than the observed one is possible.
        distance = only_second - only_first - images * difference
        return float(np.sign(distance) * min(abs(distance) / np.sqrt(max(variance, 1e-12)), 1e9))

    low = -1.0 if observed == -1 else brentq(lambda value: score(value) - z, -1, observed)
    high = 1.0 if observed == 1 else brentq(lambda value: score(value) + z, observed, 1)
    return float(low), float(high)


def bootstrap_differences(first: Predictions, second: Predictions, seed: int) -> tuple[Difference, Difference]:
    """The differences in log loss and in macro F1, with the paired bootstrap's t intervals.

    Images are drawn with replacement, both classifiers' answers together; an interval is the difference ± Student's t
    times the standard deviation of the resamples' differences. (Their percentiles make too narrow an interval for a few
    hundred images.) Macro F1 is the mean over the classes that occur, as label or prediction. T. Hesterberg, What
    teachers should know about the bootstrap, The American Statistician 69 (2015).
    """
    names, codes = np.unique(np.concatenate([first.actual, first.predicted, second.predicted]), return_inverse=True)
    actual, *predicted = codes.reshape(3, -1)
    losses = np.stack([first.losses, second.losses])

    def metrics(sample: np.ndarray | slice) -> np.ndarray:
        f1 = [macro_f1(actual[sample], classes[sample], len(names)) for classes in predicted]
        return np.array([losses[:, sample].mean(1), f1])

    generator = np.random.default_rng(seed)
    resampled = [metrics(generator.integers(len(actual), size=len(actual))) for _ in range(RESAMPLES)]
    halves = t.ppf(0.975, max(len(actual) - 1, 1)) * np.diff(resampled, axis=2)[..., 0].std(0, ddof=1)
    log_loss, f1 = (
        Difference(float(ours), float(theirs), float(theirs - ours - half), float(theirs - ours + half))
        for (ours, theirs), half in zip(metrics(slice(None)), halves, strict=True)
    )
    return log_loss, f1


def macro_f1(actual: np.ndarray, predicted: np.ndarray, num_classes: int) -> float:
    """The mean F1 over classes, 0 for those without label or prediction. actual, predicted: int64, shape (N,)."""
    hits = np.bincount(actual[actual == predicted], minlength=num_classes)
    found = np.bincount(actual, minlength=num_classes) + np.bincount(predicted, minlength=num_classes)
    return float((2 * hits / np.maximum(found, 1)).mean())


def verdict(comparison: Comparison, first: str, second: str, split: str = "test") -> str:
    """A sentence: by how much the second is better or worse, how many images say so, and whether it is chance.

    split: that of the images; only the test's goes without saying.
    """
    where = "" if split == "test" else f" on {split} images"
    points = comparison.accuracy.value * 100
    alone = comparison.only_first + comparison.only_second
    if not alone:
        return f"{second} and {first} are right on the same of {comparison.images:,} {split} images"
    size = f"{abs(points):.2f} points {'better' if points > 0 else 'worse'} than" if points else "as accurate as"
    chance = "this could be chance" if comparison.could_be_chance else "this is hardly chance"
    images = "1 image is" if alone == 1 else f"{alone:,} images are"
    return f"{second} is {size} {first}{where}; {images} right in one alone; {chance}, p = {comparison.p:.2g}"
