"""Runs grouped by all params but the seed: their names, means, and differences from the best, with SciPy."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from scipy import stats

from src.errors import MnistryError, suggest

REPEATS = ("seed", "train.fold")
"""Params that tell the runs of one group apart."""
NO_TRAINING = ("evaluate.", "figures.")
"""Sections of params on which no result depends."""
LOWER_IS_BETTER = ("loss", "ece", "errors")
"""How the names of such metrics end."""
FRACTIONS = ("accuracy", "_f1")
"""How the names of metrics end that are shown in percent."""
VALIDATION = "validation_"
"""How the names of metrics begin that are of images held out of training."""


@dataclass(frozen=True)
class Run:
    """An experiment: its name, Git revision, and the commit that it started from; params and metrics by dotted name.

    metrics: `<file>:<name>`, such as `metrics/test.json:accuracy`.
    """

    name: str
    revision: str
    commit: str
    params: Mapping[str, Any]
    metrics: Mapping[str, float]

    @property
    def repeat(self) -> tuple[Any, ...]:
        """Its seed and fold."""
        return tuple(self.params.get(name) for name in REPEATS)

    @property
    def settings(self) -> dict[str, Any]:
        """The params that its result depends on, without those of REPEATS and of models that it did not train."""
        own = f"models.{self.params.get('model')}."
        return {
            name: value
            for name, value in self.params.items()
            if name not in REPEATS
            and not name.startswith(NO_TRAINING)
            and (name.startswith(own) or not name.startswith("models."))
        }


@dataclass(frozen=True)
class Group:
    """Runs of the same commit and settings, and the values of one metric, by seed and fold.

    held_out: see `held_out_per_trained`.
    """

    runs: Sequence[Run]
    values: Mapping[tuple[Any, ...], float]
    name: str = ""
    held_out: float = 0

    @property
    def settings(self) -> dict[str, Any]:
        """What all its runs share."""
        return self.runs[0].settings

    @property
    def dataset(self) -> str:
        """Groups of one dataset are compared."""
        return str(self.settings.get("dataset", ""))

    @property
    def mean(self) -> float:
        """Of the metric."""
        return float(np.mean(list(self.values.values())))

    @property
    def deviation(self) -> float | None:
        """The standard deviation, with n - 1; None of a single run."""
        return float(np.std(list(self.values.values()), ddof=1)) if len(self.values) > 1 else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """The mean's 95 % interval, Student's; None of a single run."""
        values = list(self.values.values())
        return None if len(values) < 2 else mean_interval(np.array(values), self.held_out)


@dataclass(frozen=True)
class Summary:
    """A dataset's groups, the best first, and what was left out, in words."""

    metric: str
    groups: Sequence[Group]
    left_out: Sequence[str] = field(default=())


@dataclass(frozen=True)
class MeanDifference:
    """One group's mean minus another's, with its 95 % interval; `paired` by seed and fold, or else Welch's."""

    value: float
    low: float
    high: float
    paired: bool


def find_metric(name: str, runs: Sequence[Run]) -> str:
    """The full name of the metric `name`, such as `accuracy`, `test.json:accuracy`; raises MnistryError."""
    full = sorted({each for run in runs for each in run.metrics})
    found = [each for each in full if each == name or each.endswith((f":{name}", f"/{name}"))]
    if len(found) == 1:
        return found[0]
    if found:
        raise MnistryError(f"--metric: {name} may be {' or '.join(found)}; name its file, too")
    raise MnistryError(
        f"--metric: no experiment has {name!r}; {suggest(name, sorted({each.split(':')[1] for each in full}))}"
    )


def lower_is_better(metric: str) -> bool:
    """Whether the best group is that of the lowest mean."""
    return metric.endswith(LOWER_IS_BETTER)


def summarize(runs: Sequence[Run], metric: str) -> list[Summary]:
    """A summary for each dataset, in the order of their names, of the metric with this full name."""
    groups: dict[str, Group] = {}
    left_out: dict[str, list[str]] = {}
    for run in runs:
        dataset = str(run.params.get("dataset", ""))
        said = left_out.setdefault(dataset, [])
        if metric not in run.metrics:
            said.append(f"{run.name} has no {metric.split(':')[-1]}")
            continue
        key = repr((run.commit, sorted(run.settings.items())))
        group = groups.setdefault(key, Group([], {}, held_out=held_out_per_trained(run, metric)))
        if run.repeat in group.values:
            twin = next(each for each in group.runs if each.repeat == run.repeat)
            said.append(f"{run.name} has the params of {twin.name}, which is counted")
            continue
        groups[key] = replace(group, runs=[*group.runs, run], values={**group.values, run.repeat: run.metrics[metric]})
    sign = 1 if lower_is_better(metric) else -1
    summaries = []
    for dataset in sorted(left_out):
        own = [group for group in groups.values() if group.runs and group.dataset == dataset]
        ranked = sorted(named(own), key=lambda group: sign * group.mean)
        missing = missing_folds(ranked) if of_validation(metric) else []
        summaries.append(Summary(metric, ranked, [*left_out[dataset], *missing]))
    return summaries


def named(groups: Sequence[Group]) -> list[Group]:
    """The groups, each with a name that says how it differs from the others, and no more.

    Settings of a model are compared among the groups that trained it.
    """
    return [replace(group, name=_name(group, groups)) for group in groups]


def _name(group: Group, groups: Sequence[Group]) -> str:
    model = group.settings.get("model")
    parts = [str(model)] if model is not None else []
    for name, value in group.settings.items():
        peers = [each for each in groups if not name.startswith("models.") or each.settings.get("model") == model]
        if name != "model" and any(each.settings.get(name) != value for each in peers):
            short = name.removeprefix(f"models.{model}.").removeprefix("train.")
            parts.append(f"{short}={str(value).replace(' ', '')}")
    commit = group.runs[0].commit
    if any(each.runs[0].commit != commit for each in groups):
        parts.append(f"at {commit[:7]}")
    return " ".join(parts) or "all runs"


def of_validation(metric: str) -> bool:
    """Whether the metric is of images that were held out of training, on which choices are made."""
    return metric.rpartition(":")[2].startswith(VALIDATION)


def held_out_per_trained(run: Run, metric: str) -> float:
    """How many images were held out for each one trained on, where another seed or fold holds out others.

    0 for other metrics than those of validation images, and where the source has validation images of its own.
    """
    if not of_validation(metric):
        return 0
    if folds := int(run.params.get("train.folds", 0)):
        return 1 / (folds - 1)
    fraction = float(run.params.get("train.validation_fraction", 0))
    return 0 if "metrics/dataset.json:validation_images" in run.metrics else fraction / (1 - fraction)


def missing_folds(groups: Sequence[Group]) -> list[str]:
    """For each group and seed with folds, those that have no run, in words."""
    lines = []
    for group in groups:
        folds = int(group.settings.get("train.folds", 0))
        for seed in sorted({seed for seed, _ in group.values}) if folds else ():
            missing = [str(fold) for fold in range(folds) if (seed, fold) not in group.values]
            if missing:
                lines.append(f"{group.name}, seed {seed}: of {folds} folds, {', '.join(missing)} without a run")
    return lines


def mean_difference(group: Group, best: Group) -> MeanDifference | None:
    """The group's mean minus the best's; None where one has a single run, or other images were held out.

    Where both have the same seeds and folds, the differences of each seed are averaged (`mean_interval`); otherwise
    Welch's interval, for unequal variances. B. L. Welch, The generalization of Student's problem when several different
    population variances are involved, Biometrika 34 (1947).
    """
    paired = group.values.keys() == best.values.keys()
    if min(len(group.values), len(best.values)) < 2 or not same_images(group, best):
        return None
    ours = np.array(list(group.values.values()))
    theirs = np.array([best.values[key] for key in group.values] if paired else list(best.values.values()))
    value = float(ours.mean() - theirs.mean())
    if paired:
        return MeanDifference(value, *mean_interval(ours - theirs, group.held_out), paired)
    if np.ptp(ours) == np.ptp(theirs) == 0:
        return MeanDifference(value, value, value, paired)
    with warnings.catch_warnings():
        # Nearly equal values: SciPy warns that their variance has few digits.
        warnings.simplefilter("ignore", RuntimeWarning)
        interval = stats.ttest_ind(ours, theirs, equal_var=False).confidence_interval(0.95)
    return MeanDifference(value, float(interval.low), float(interval.high), paired)


def same_images(group: Group, best: Group) -> bool:
    """Whether both metrics are of the same images: not where seeds and folds that differ held out others."""
    if group.held_out == best.held_out == 0:
        return True
    return group.held_out == best.held_out and group.values.keys() == best.values.keys()


def mean_interval(values: np.ndarray, held_out: float) -> tuple[float, float]:
    """The 95 % interval of the mean of two or more values, Student's, corrected for images that runs share.

    held_out: how many images were held out for each one trained on, where each run held out others: the training sets
    then overlap, the values are correlated, and their variance is not divided by their number n, but multiplied with
    1/n + held_out. 0 for values of the same images. C. Nadeau and Y. Bengio, Inference for the generalization error,
    Machine Learning 52 (2003); for folds of several seeds, R. Bouckaert and E. Frank, Evaluating the replicability of
    significance tests for comparing learning algorithms, PAKDD 2004.
    """
    count = len(values)
    half = float(stats.t.ppf(0.975, count - 1) * np.std(values, ddof=1) * np.sqrt(1 / count + held_out))
    return float(values.mean()) - half, float(values.mean()) + half


def scale(metric: str) -> int:
    """What a metric is multiplied with to be shown: 100 where it is a fraction."""
    return 100 if metric.endswith(FRACTIONS) else 1


def title(metric: str) -> str:
    """The metric in words, with its unit."""
    file, _, name = metric.rpartition(":")
    words = name.replace("_", " ")
    split = "test " if file.endswith("test.json") else ""
    return f"{split}{words}{', %' if scale(metric) == 100 else ''}"


def spread(group: Group, metric: str) -> str:
    """The group's mean ± standard deviation."""
    factor = scale(metric)
    digits = 2 if factor == 100 else 4
    around = "" if group.deviation is None else f" ± {group.deviation * factor:.{digits}f}"
    return f"{group.mean * factor:.{digits}f}{around}"


def difference_words(group: Group, best: Group, metric: str) -> str:
    """How far the group's mean is from the best's, with the interval."""
    if group is best:
        return "best"
    factor = scale(metric)
    digits = 2 if factor == 100 else 4
    difference = mean_difference(group, best)
    if difference is None:
        reason = "a single run" if same_images(group, best) else "other images held out"
        return f"{(group.mean - best.mean) * factor:+.{digits}f} ({reason})"
    low, high = difference.low * factor, difference.high * factor
    return f"{difference.value * factor:+.{digits}f} ({low:+.{digits}f} to {high:+.{digits}f})"


def choice_note(summary: Summary) -> str | None:
    """What to say of a choice made on validation images; None where the metric is of others."""
    if not of_validation(summary.metric):
        return None
    best, test = summary.groups[0], "metrics/test.json:accuracy"
    note = f"chosen on validation images, of which the best of {len(summary.groups)} is a little flattered"
    if len(summary.groups) == 1:
        note = "of validation images"
    values = {run.repeat: run.metrics[test] for run in best.runs if test in run.metrics}
    return f"{note}; test accuracy of {best.name}: {spread(Group(best.runs, values), test)} %" if values else note


def markdown_table(summaries: Sequence[Summary]) -> list[str]:
    """The lines of a table of all datasets' groups, the best first."""
    metric = summaries[0].metric
    header = ["dataset", "what", "parameters", title(metric), "seeds", "difference from the best, 95 %", "commit"]
    rows = [header, ["---"] * len(header)]
    for summary in summaries:
        for group in summary.groups:
            run = group.runs[0]
            parameters = next((value for name, value in run.metrics.items() if name.endswith(":parameters")), None)
            rows.append(
                [
                    group.dataset,
                    group.name,
                    "-" if parameters is None else f"{parameters:,}",
                    spread(group, metric),
                    str(len(group.values)),
                    difference_words(group, summary.groups[0], metric),
                    run.commit[:7],
                ]
            )
    return [f"| {' | '.join(row)} |" if row[0] != "---" else f"|{'|'.join(row)}|" for row in rows]
