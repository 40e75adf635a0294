"""Runs grouped by all params but the seed: their names, means, and differences from the best, with SciPy."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
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
    """Runs of the same commit and settings, and the values of one metric, by seed and fold."""

    runs: Sequence[Run]
    values: Mapping[tuple[Any, ...], float]
    name: str = ""

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
        if self.deviation is None:
            return None
        half = float(stats.t.ppf(0.975, len(self.values) - 1)) * self.deviation / np.sqrt(len(self.values))
        return self.mean - half, self.mean + half


@dataclass(frozen=True)
class Summary:
    """A dataset's groups, the best first, and what was left out, in words."""

    metric: str
    groups: Sequence[Group]
    left_out: Sequence[str] = field(default=())


@dataclass(frozen=True)
class MeanDifference:
    """One group's mean minus another's, with its 95 % interval; `paired` by seed, or else Welch's."""

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
        group = groups.setdefault(key, Group([], {}))
        if run.repeat in group.values:
            twin = next(each for each in group.runs if each.repeat == run.repeat)
            said.append(f"{run.name} has the params of {twin.name}, which is counted")
            continue
        groups[key] = Group([*group.runs, run], {**group.values, run.repeat: run.metrics[metric]})
    sign = 1 if lower_is_better(metric) else -1
    summaries = []
    for dataset in sorted(left_out):
        own = [group for group in groups.values() if group.runs and group.dataset == dataset]
        ranked = sorted(named(own), key=lambda group: sign * group.mean)
        summaries.append(Summary(metric, ranked, left_out[dataset]))
    return summaries


def named(groups: Sequence[Group]) -> list[Group]:
    """The groups, each with a name that says how it differs from the others, and no more.

    Settings of a model are compared among the groups that trained it.
    """
    return [Group(group.runs, group.values, _name(group, groups)) for group in groups]


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


def mean_difference(group: Group, best: Group) -> MeanDifference | None:
    """The group's mean minus the best's; None where one has a single run.

    Where both have the same seeds and folds, the differences of each seed are averaged (Student's interval for pairs);
    otherwise Welch's interval, for unequal variances. B. L. Welch, The generalization of Student's problem when several
    different population variances are involved, Biometrika 34 (1947).
    """
    if min(len(group.values), len(best.values)) < 2:
        return None
    paired = group.values.keys() == best.values.keys()
    ours = np.array(list(group.values.values()))
    theirs = np.array([best.values[key] for key in group.values] if paired else list(best.values.values()))
    value = float(ours.mean() - theirs.mean())
    if np.ptp(ours - theirs) == 0 if paired else np.ptp(ours) == np.ptp(theirs) == 0:
        return MeanDifference(value, value, value, paired)
    with warnings.catch_warnings():
        # Nearly equal values: SciPy warns that their variance has few digits.
        warnings.simplefilter("ignore", RuntimeWarning)
        result = stats.ttest_rel(ours, theirs) if paired else stats.ttest_ind(ours, theirs, equal_var=False)
    interval = result.confidence_interval(0.95)
    return MeanDifference(value, float(interval.low), float(interval.high), paired)


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
        return f"{(group.mean - best.mean) * factor:+.{digits}f} (a single run)"
    low, high = difference.low * factor, difference.high * factor
    return f"{difference.value * factor:+.{digits}f} ({low:+.{digits}f} to {high:+.{digits}f})"


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
