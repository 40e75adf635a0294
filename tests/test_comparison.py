"""Which classifier is better: SciPy's statistics against the literature's examples, and the words."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn import metrics

from src.comparison import (
    Predictions,
    bootstrap_differences,
    compare_predictions,
    describe_mismatch,
    in_both,
    macro_f1,
    mcnemar_test,
    read_predictions,
    tango_interval,
    verdict,
)
from src.errors import MnistryError
from src.plots.base import save
from src.plots.comparison import disagreements, disagreements_figure
from src.predictions import COLUMNS


def predictions(actual, predicted, probability=0.8, of_actual=None):
    """Predictions for images called 0.png, 1.png, ...; the label's probability is 0.8 where it was predicted."""
    actual, predicted = (np.array(list(classes), dtype=object) for classes in (actual, predicted))
    files = np.array([f"{i}.png" for i in range(len(actual))], dtype=object)
    of_actual = np.where(actual == predicted, probability, 0.1) if of_actual is None else np.asarray(of_actual)
    return Predictions(files, actual, predicted, np.full(len(files), probability), of_actual, np.arange(len(files)))


def test_mcnemar_test_is_the_literatures():
    """Airway hyper-responsiveness in 21 children: 1 and 7 discordant pairs give 0.070.

    Fagerland, Lydersen and Laake, The McNemar test for binary matched-pairs data, BMC Medical Research Methodology
    13:91 (2013). By hand: 2 (1 + 8) / 2^8.
    """
    assert mcnemar_test(1, 7) == pytest.approx(18 / 256)
    assert mcnemar_test(7, 1) == mcnemar_test(1, 7)
    assert mcnemar_test(0, 0) == 1


@pytest.mark.parametrize(
    ("only_first", "only_second", "images", "low", "high"),
    [
        # Fagerland, Lydersen and Laake, Statistical analysis of contingency tables (2017), chapter 8: complete response
        # before and after therapy, 16 and 6 of 161 pairs; airway hyper-responsiveness.
        (16, 6, 161, -0.1240, -0.0054),
        (7, 1, 21, -0.5172, -0.0260),
    ],
)
def test_score_interval_is_the_literatures(only_first, only_second, images, low, high):
    """And it turns round with the order of the two."""
    assert tango_interval(only_first, only_second, images) == pytest.approx((low, high), abs=5e-5)
    assert tango_interval(only_second, only_first, images) == pytest.approx((-high, -low), abs=5e-5)


def test_score_interval_at_the_ends():
    """No discordant pair: z² / (n + z²) either way, by hand. Only such pairs: it ends at 1."""
    assert tango_interval(0, 0, 44) == pytest.approx((-0.08029560, 0.08029560))
    assert tango_interval(0, 5, 5) == pytest.approx((0.13103507, 1))


def test_macro_f1_and_log_loss_are_scikit_learns():
    """A class without a label, and a probability of 0, too."""
    generator = np.random.default_rng(0)
    actual, predicted = generator.integers(4, size=50), generator.integers(5, size=50)
    assert macro_f1(actual, predicted, 5) == pytest.approx(metrics.f1_score(actual, predicted, average="macro"))
    probabilities = generator.dirichlet(np.ones(3), 5)
    probabilities[0] = 1, 0, 0
    labels = np.array([1, 0, 1, 2, 2])
    losses = predictions("abcde", "abcde", of_actual=probabilities[range(5), labels]).losses
    assert losses.mean() == pytest.approx(metrics.log_loss(labels, probabilities, labels=range(3)))


def test_bootstrap_interval_is_students_for_a_mean():
    """Of 20 images, log loss's interval is mean ± 2.093 standard errors; the same seed gives the same numbers."""
    generator = np.random.default_rng(1)
    first, second = (predictions("a" * 20, "a" * 20, of_actual=generator.uniform(low, 1, 20)) for low in (0.2, 0.3))
    log_loss, f1 = bootstrap_differences(first, second, seed=0)
    losses = second.losses - first.losses
    error = losses.std() / np.sqrt(len(losses))
    assert log_loss.value == pytest.approx(losses.mean())
    assert (log_loss.low + log_loss.high) / 2 == pytest.approx(losses.mean())
    assert log_loss.high - log_loss.low == pytest.approx(2 * 2.093 * error, 0.03)
    assert (f1.first, f1.second, f1.low, f1.high) == (1, 1, 0, 0)
    assert bootstrap_differences(first, second, seed=0)[0] == log_loss
    assert bootstrap_differences(first, second, seed=1)[0] != log_loss


def test_images_are_compared_pair_by_pair():
    """Ten images that only the second gets right are no chance; one of a hundred either way is."""
    first = predictions("a" * 100, "b" * 11 + "a" * 89)
    second = predictions("a" * 100, "a" * 10 + "b" + "a" * 88 + "b")
    comparison = compare_predictions(first, second)
    assert (comparison.only_first, comparison.only_second, comparison.images) == (1, 10, 100)
    assert comparison.accuracy.value == pytest.approx(0.09)
    assert verdict(comparison, "main", "cnn") == (
        "cnn is 9.00 points better than main; 11 images are right in one alone; this is hardly chance, p = 0.012"
    )
    comparison = compare_predictions(second, predictions("a" * 100, "a" * 9 + "b" + "a" * 89 + "b"))
    assert verdict(comparison, "main", "cnn").endswith("as accurate as main; 2 images are right in one alone; "
                                                      "this could be chance, p = 1")  # fmt: skip
    assert verdict(compare_predictions(first, first), "a", "b") == "b and a are right on the same of 100 test images"


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (predictions("aba", "aba"), "4 and 3 images"),
        (predictions("abba", "abab"), "1 labels differ, such as that of 2.png: 'a' and 'b'"),
        (predictions("abab", "bbbb"), None),
    ],
)
def test_other_test_images_are_described(other, words):
    """Their number, or their labels; other predictions are no difference."""
    ours = predictions("abaa" if words and "labels" in words else "abab", "aaaa")
    assert describe_mismatch(ours, other) == words


def test_images_that_both_held_out_are_paired_by_their_files():
    """In the first's order, whatever their index in another split; none where they share none."""
    first = replace(predictions("abcd", "abcc"), images=np.array([3, 5, 8, 9]))
    second = replace(predictions("cbx", "cax"), files=np.array(["2.png", "1.png", "9.png"], dtype=object))
    ours, theirs = in_both(first, second)
    assert ours.files.tolist() == theirs.files.tolist() == ["1.png", "2.png"]
    assert (ours.predicted.tolist(), theirs.predicted.tolist()) == (["b", "c"], ["a", "c"])
    assert ours.images.tolist() == [5, 8]
    assert len(in_both(first, second.rows(np.array([2])))[0].files) == 0
    comparison = compare_predictions(ours, theirs)
    assert verdict(comparison, "main", "cnn", "validation").startswith(
        "cnn is 50.00 points worse than main on validation images; 1 image is right in one alone"
    )


def test_other_files_are_described():
    """Those that one alone has, or another order of the same."""
    ours = predictions("aa", "aa")
    for files, words in (
        (["1.png", "0.png"], "the same files in another order"),
        (["0.png", "9.png"], "such as 1.png"),
    ):
        other = replace(ours, files=np.array(files, dtype=object))
        assert words in str(describe_mismatch(ours, other))


def test_what_is_no_predictions_csv_is_refused():
    """Other columns, as older versions wrote them, and text for probabilities."""
    header = ",".join(COLUMNS)
    assert read_predictions(f"{header}\n0,a.png,x,y,0.5,0.25\n", "HEAD").probability_of_actual.tolist() == [0.25]
    for text, words in (
        ("image,actual\n0,1\n", "HEAD: expected rows of image, file"),
        (f"{header}\n0,a,x,y,?,1\n", "'?'"),
        (f"{header}\n", "HEAD: no images were held out; set train.validation_fraction"),
    ):
        with pytest.raises(MnistryError, match=words.replace("?", r"\?")):
            read_predictions(text, "HEAD")


def test_disagreements_begin_with_those_that_one_alone_gets_right(tmp_path):
    """The surest first; captions have both predictions and the file, blue where the second is right."""
    first = predictions("aaaa", "baba")
    second = predictions("aaaa", "caab")
    assert disagreements(first, second).tolist() == [2, 3, 0]
    # The rows are images 2 to 5 of their split.
    first = replace(first, images=np.arange(2, 6))
    images = np.arange(6, dtype=np.uint8)[:, None, None, None].repeat(8, 2).repeat(8, 3)
    figure = disagreements_figure(images, first, second, ("main", "cnn"), disagreements(first, second))
    save(figure, tmp_path / "figure.png")
    assert np.asarray(figure.axes[0].images[0].get_array()).max() == 4
    captions = figure.axes[0].texts
    assert captions[0].get_text() == "actual: a\nmain: b 80%\ncnn: a 80%\n2.png"
    assert [caption.get_color() for caption in captions] == ["#0072B2", "#D55E00", "black"]
