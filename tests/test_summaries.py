"""Groups of runs: their names, and means compared, with SciPy's intervals against the literature's."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from src.errors import MnistryError
from src.plots.base import save
from src.plots.summary import summary_figure
from src.summaries import (
    Group,
    Run,
    choice_note,
    difference_words,
    find_metric,
    held_out_per_trained,
    markdown_table,
    mean_difference,
    mean_interval,
    named,
    spread,
    summarize,
    title,
)

ACCURACY = "metrics/test.json:accuracy"


HELD_OUT = "metrics/train.json:validation_accuracy"


def run(accuracy=0.9, seed=0, commit="a" * 40, name="run", **params):
    """A run of digits' mlp; params' double underscores are dots."""
    changed = {key.replace("__", "."): value for key, value in params.items()}
    settings = {"dataset": "digits", "model": "mlp", "seed": seed, "models.mlp.epochs": 15, "models.cnn.epochs": 5}
    metrics = {} if accuracy is None else {ACCURACY: accuracy, "metrics/train.json:parameters": 650}
    return Run(name, f"{name} {seed}", commit, settings | {"figures.seed": 0} | changed, metrics)


def group(*values, seeds=None):
    """A group with these values, of seeds 0, 1, ..."""
    return Group([run()], dict(zip(((seed, None) for seed in seeds or range(len(values))), values, strict=True)))


def test_interval_for_pairs_is_the_literatures():
    """Student's own example, the additional hours of sleep by two drugs: 0.70 to 2.46 for their difference.

    Student, The probable error of a mean, Biometrika 6 (1908); R's help page of t.test has the interval.
    """
    first = group(0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0)
    second = group(1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4)
    difference = mean_difference(second, first)
    assert difference is not None
    assert difference.paired
    assert (difference.value, difference.low, difference.high) == pytest.approx((1.58, 0.7001142, 2.4598858))


def test_welchs_interval_is_the_literatures():
    """The same hours as two groups of ten: R's t.test says -0.2054832 to 3.3654832, with 17.776 degrees of freedom."""
    first = group(0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0)
    second = group(1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4, seeds=range(10, 20))
    difference = mean_difference(second, first)
    assert difference is not None
    assert not difference.paired
    assert (difference.low, difference.high) == pytest.approx((-0.2054832, 3.3654832))


def test_differences_without_spread_have_an_interval_all_the_same():
    """Of equal values, its ends are the difference; of a single run, there is none."""
    difference = mean_difference(group(0.5, 0.6), group(0.4, 0.5))
    assert difference is not None
    assert (difference.low, difference.high) == pytest.approx((0.1, 0.1))
    assert mean_difference(group(0.5), group(0.4, 0.5)) is None


def test_interval_of_folds_is_corrected_as_in_the_literature():
    """scikit-learn's example of Nadeau and Bengio's test: t = 0.750, p = 0.227 for 10 folds, 10 times.

    Its differences in area under the curve, of SVMs with rbf and linear kernels for 100 points of make_moons, are
    multiples of 0.04. https://scikit-learn.org/stable/auto_examples/model_selection/plot_grid_search_stats.html
    """
    differences = np.repeat([0, 1, -1, 2, -2, -3, 5], [53, 29, 10, 4, 2, 1, 1]) * 0.04
    low, high = mean_interval(differences, held_out=10 / 90)
    quantile = stats.t.ppf(0.975, 99)
    t = differences.mean() / ((high - low) / 2 / quantile)
    assert t == pytest.approx(0.750, abs=5e-4)
    assert stats.t.sf(t, 99) == pytest.approx(0.227, abs=5e-4)
    assert (low + high) / 2 == pytest.approx(0.01)


def test_held_out_images_are_counted_per_image_trained_on():
    """Of folds and of a fraction, for metrics of validation images; not where the source has its own."""
    folds = run(train__folds=5, train__fold=2, train__validation_fraction=0.05)
    fraction = run(train__folds=0, train__validation_fraction=0.2)
    own = replace(fraction, metrics={"metrics/dataset.json:validation_images": 9})
    assert held_out_per_trained(folds, HELD_OUT) == 1 / 4
    assert held_out_per_trained(fraction, HELD_OUT) == 0.2 / 0.8
    assert held_out_per_trained(own, HELD_OUT) == held_out_per_trained(folds, ACCURACY) == 0


def fold(value, number, seed=0, **params):
    """A run of one of three folds with that validation accuracy."""
    each = run(0.5, seed, name=f"fold{number}", train__folds=3, train__fold=number, **params)
    return replace(each, metrics=each.metrics | {HELD_OUT: value})


def test_folds_are_one_group_whose_interval_is_wider():
    """By hand: differences -0.1, -0.2, -0.3, variance 0.01 (1/3 + 1/2), t of 2 degrees of freedom 4.303."""
    runs = [fold(0.9, number) for number in range(3)]
    runs += [fold(value, number, model="cnn") for number, value in enumerate((0.8, 0.7, 0.6))]
    (summary,) = summarize(runs, HELD_OUT)
    assert [(each.name, len(each.values)) for each in summary.groups] == [("mlp", 3), ("cnn", 3)]
    difference = mean_difference(summary.groups[1], summary.groups[0])
    assert difference is not None
    assert difference.high - difference.value == pytest.approx(4.30265 * 0.1 * (5 / 6) ** 0.5, 1e-5)
    assert summary.groups[1].interval == pytest.approx((difference.low + 0.9, difference.high + 0.9))
    assert title(HELD_OUT) == "validation accuracy, %"
    assert choice_note(summary) == (
        "chosen on validation images, of which the best of 2 is a little flattered; "
        "test accuracy of mlp: 50.00 ± 0.00 %"
    )
    assert choice_note(summarize(runs, ACCURACY)[0]) is None


def test_runs_that_held_out_other_images_are_not_paired():
    """Other folds or other seeds: a difference without an interval; and folds without a run are named."""
    runs = [fold(0.9, number) for number in range(3)]
    runs += [fold(0.8, number, model="cnn", seed=seed) for seed in (0, 1) for number in range(2 + seed)]
    (summary,) = summarize(runs, HELD_OUT)
    mlp, cnn = summary.groups
    assert mean_difference(cnn, mlp) is None
    assert difference_words(cnn, mlp, HELD_OUT) == "-10.00 (other images held out)"
    assert summary.left_out == ["cnn, seed 0: of 3 folds, 2 without a run"]


def test_mean_has_students_interval():
    """By SciPy; a single run has neither interval nor deviation."""
    assert group(1.0, 2.0, 4.0).interval == pytest.approx(
        stats.t.interval(0.95, 2, loc=7 / 3, scale=stats.sem([1, 2, 4]))
    )
    assert (group(1.0).interval, group(1.0).deviation) == (None, None)


def test_runs_are_grouped_by_all_but_the_seed():
    """Other models' recipes and the figures' params make no further groups; the best comes first."""
    runs = [
        run(0.8, seed=0),
        run(0.9, seed=1, models__cnn__epochs=9, figures__seed=7),
        run(0.95, seed=0, model="cnn"),
        run(0.7, seed=0, dataset="mnist"),
    ]
    digits, mnist = summarize(runs, ACCURACY)
    assert [(each.name, each.mean, len(each.runs)) for each in digits.groups] == [
        ("cnn", 0.95, 1),
        ("mlp", pytest.approx(0.85), 2),
    ]
    assert [each.name for each in mnist.groups] == ["mlp"]
    assert spread(digits.groups[1], ACCURACY) == "85.00 ± 7.07"


def test_lowest_loss_is_best():
    """Unlike accuracy's."""
    runs = [Run(str(loss), "", "", {"model": str(loss)}, {"t:log_loss": loss}) for loss in (0.5, 0.1)]
    assert [each.name for each in summarize(runs, "t:log_loss")[0].groups] == ["0.1", "0.5"]


def test_names_say_what_differs_and_no_more():
    """A model's own settings are compared among its groups; lists are short; commits are named where they differ."""
    runs = [
        run(models__mlp__hidden_sizes=[512, 10]),
        run(models__mlp__hidden_sizes=[512], train__class_weights="balanced"),
        run(model="cnn", train__class_weights="none"),
    ]
    groups = named([Group([each], {}) for each in runs])
    assert [each.name for each in groups] == [
        "mlp hidden_sizes=[512,10]",
        "mlp hidden_sizes=[512] class_weights=balanced",
        "cnn class_weights=none",
    ]
    groups = named([Group([run()], {}), Group([run(commit="b" * 40)], {})])
    assert [each.name for each in groups] == ["mlp at aaaaaaa", "mlp at bbbbbbb"]


def test_what_is_not_counted_is_named():
    """Runs without the metric, and runs that repeat another with the same seed."""
    (summary,) = summarize([run(name="a"), run(None, seed=1, name="b"), run(0.8, name="c")], ACCURACY)
    assert summary.left_out == ["b has no accuracy", "c has the params of a, which is counted"]
    assert summary.groups[0].mean == 0.9


def test_metrics_are_found_by_their_last_name():
    """Two files with the same need the file's; a wrong name gets a suggestion."""
    runs = [Run("a", "", "", {}, {"metrics/test.json:images": 1, "metrics/old.json:images": 1, ACCURACY: 1})]
    assert find_metric("accuracy", runs) == ACCURACY
    assert find_metric("test.json:images", runs) == "metrics/test.json:images"
    with pytest.raises(MnistryError, match=r"images may be metrics/old.json:images or metrics/test.json:images"):
        find_metric("images", runs)
    with pytest.raises(MnistryError, match="did you mean accuracy"):
        find_metric("acuracy", runs)
    assert title(ACCURACY) == "test accuracy, %"


def test_markdown_table_has_all_datasets():
    """Each with its own best."""
    runs = [run(0.9, seed) for seed in (0, 1)] + [run(0.8, seed, model="cnn") for seed in (0, 1)]
    lines = markdown_table(summarize([*runs, run(0.5, dataset="mnist")], ACCURACY))
    assert lines == [
        "| dataset | what | parameters | test accuracy, % | seeds | difference from the best, 95 % | commit |",
        "|---|---|---|---|---|---|---|",
        "| digits | mlp | 650 | 90.00 ± 0.00 | 2 | best | aaaaaaa |",
        "| digits | cnn | 650 | 80.00 ± 0.00 | 2 | -10.00 (-10.00 to -10.00) | aaaaaaa |",
        "| mnist | mlp | 650 | 50.00 | 1 | best | aaaaaaa |",
    ]


def test_figure_shows_means_intervals_and_bands(tmp_path):
    """A row per dataset; runs without a history have no curve."""
    runs = [run(0.9 + seed / 100, seed) for seed in (0, 1)] + [run(0.5, dataset="mnist")]
    histories = {
        f"run {seed}": [{"epoch": i, "validation_accuracy": 0.5 + seed / 10 + i / 100} for i in (1, 2)]
        for seed in (0, 1)
    }
    summaries = summarize(runs, ACCURACY)
    figure = summary_figure(summaries[:1], histories)
    save(figure, tmp_path / "figure.png")
    dots, curves = figure.axes
    assert [np.asarray(line.get_xdata()).tolist() for line in dots.lines] == [[90, 91], pytest.approx([90.5])]
    assert np.asarray(curves.lines[0].get_ydata()) == pytest.approx([56, 57])
    (band,) = curves.collections
    assert np.max(np.asarray(band.get_paths()[0].vertices), axis=0)[1] == pytest.approx(57 + 10 / 2**0.5)
    save(summary_figure(summaries, {}), tmp_path / "without_curves.png")
