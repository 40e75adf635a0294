"""From what the systems printed to a table and a figure: how soon each reached which accuracy."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from statistics import median

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator

TARGETS = {"mnist": (97, 98, 99, 99.18), "fashion_mnist": (90, 91)}
"""Test accuracies, in %."""
TICKS = {"mnist": (90, 95, 97, 98, 99, 99.4), "fashion_mnist": (70, 80, 85, 88, 90, 92)}
COLOURS = ("#D55E00", "#E69F00", "#0072B2", "#56B4E9", "#009E73", "#CC79A7", "#000000", "#777777")
"""Okabe and Ito's; systems after the eighth come with dashes."""
SECONDS = (2, 5, 10, 20, 40, 80)
"""That are marked on the axis."""


@dataclass(frozen=True)
class Point:
    """An evaluation. training: seconds of training until then. process: since the process started. accuracy: in %."""

    training: float
    process: float
    accuracy: float


@dataclass(frozen=True)
class Run:
    """One process. compile_seconds: in all. stopped: whether it was ended at the limit of its seconds."""

    points: tuple[Point, ...]
    compile_seconds: float
    stopped: bool


def time_to(points: Sequence[Point], accuracy: float) -> tuple[float, float]:
    """Seconds of training and of the whole process when that accuracy was first found; infinite where it never was."""
    return next(((each.training, each.process) for each in points if each.accuracy >= accuracy), (inf, inf))


def median_times(runs: Sequence[Run], accuracy: float) -> tuple[float, float]:
    """The medians over the runs of both times; infinite where half of the runs, or more, didn't get there."""
    training, process = zip(*(time_to(run.points, accuracy) for run in runs), strict=True)
    return median(training), median(process)


def dataset_table(dataset: str, systems: dict[str, list[Run]]) -> list[str]:
    """A row per system, and below it who was the soonest at each accuracy. systems: the runs of each, by name."""
    targets = TARGETS[dataset]
    lines = [
        f"| {dataset} | rounds | compiling | {' | '.join(f'{target} %' for target in targets)} | highest, % |",
        "|---|---|---|" + "---|" * (len(targets) + 1),
    ]
    for name, runs in systems.items():
        compiling = median(run.compile_seconds for run in runs)
        highest = median(max((point.accuracy for point in run.points), default=0.0) for run in runs)
        stopped = " (stopped)" if any(run.stopped for run in runs) else ""
        cells = [name, str(len(runs)), f"{compiling:.1f}" if compiling else "-"]
        cells += [both_times(*median_times(runs, target)) for target in targets]
        cells.append((f"{highest:.2f}" if highest else "-") + stopped)
        lines.append(f"| {' | '.join(cells)} |")
    return [*lines, "", *(soonest(systems, target) for target in targets)]


def both_times(training: float, process: float) -> str:
    """A cell: seconds of training alone, and of the whole process; - where the accuracy wasn't reached."""
    return "-" if training == inf else f"{training:.1f} / {process:.1f}"


def soonest(systems: dict[str, list[Run]], target: float) -> str:
    """An item of a list: which system was the first at the accuracy, by either clock."""
    times = {name: median_times(runs, target) for name, runs in systems.items()}
    firsts = [min(times, key=lambda name: times[name][clock]) for clock in (0, 1)]
    if times[firsts[0]][0] == inf:
        return f"- {target} %: none got there."
    return f"- {target} %: by training alone {firsts[0]}, by the whole process {firsts[1]}."


def middle_curve(runs: Sequence[Run]) -> tuple[list[float], list[float]]:
    """Seconds of the whole process and accuracies, in %: the medians over the runs, evaluation by evaluation."""
    evaluations = list(zip(*(run.points for run in runs), strict=False))
    seconds = [median(point.process for point in points) for points in evaluations]
    return seconds, [median(point.accuracy for point in points) for points in evaluations]


def accuracy_figure(results: dict[str, dict[str, list[Run]]]) -> Figure:
    """Accuracy against seconds of the whole process: a panel per dataset, a curve per system.

    results: for each dataset, the runs of each system. Errors are drawn on a logarithmic axis, the fewest on top.
    """
    figure = Figure(figsize=(10, 5), layout="constrained")
    for axis, (dataset, systems) in zip(
        figure.subplots(1, len(results), squeeze=False)[0], results.items(), strict=True
    ):
        for index, (name, runs) in enumerate(systems.items()):
            seconds, accuracies = middle_curve(runs)
            errors = np.maximum(100 - np.array(accuracies), 0.01)
            style = {"color": COLOURS[index % len(COLOURS)], "linestyle": "-" if index < len(COLOURS) else "--"}
            axis.plot(seconds, errors, marker="o", markersize=3, label=name, **style)
        ticks = TICKS[dataset]
        axis.set(xscale="log", yscale="log", title=dataset, xlabel="seconds since the process started")
        axis.set_ylim(100 - ticks[0], 100 - ticks[-1])
        axis.yaxis.set_major_locator(FixedLocator([100 - tick for tick in ticks]))
        axis.yaxis.set_major_formatter(FixedFormatter([f"{tick:g} %" for tick in ticks]))
        axis.yaxis.set_minor_locator(NullLocator())
        axis.xaxis.set_major_locator(FixedLocator(SECONDS))
        axis.xaxis.set_major_formatter(FixedFormatter([str(second) for second in SECONDS]))
        axis.xaxis.set_minor_locator(NullLocator())
        axis.grid(alpha=0.3)
    figure.axes[0].set_ylabel("test accuracy")
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside right center", fontsize=9)
    return figure
