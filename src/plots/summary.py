"""Figures of groups of runs: a dot plot with intervals, and learning curves with bands."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from src.plots.base import BLUE, GREY, ORANGE, shorten
from src.summaries import Group, Summary, lower_is_better, scale, title

COLOURS = (BLUE, ORANGE, "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
"""Okabe and Ito's, one per group; of more groups, only the best have curves."""
History = Sequence[Mapping[str, float]]


def summary_figure(summaries: Sequence[Summary], histories: Mapping[str, History]) -> Figure:
    """A row per dataset: each group's runs, mean and 95 % interval; and the best groups' learning curves.

    histories: the rows of each run's history, by its revision.
    """
    heights = [max(len(summary.groups), 5) * 0.4 + 1.8 for summary in summaries]
    figure = Figure(figsize=(11, sum(heights)), layout="constrained")
    rows = figure.subplots(len(summaries), 2, squeeze=False, height_ratios=heights)
    for (dots, curves), summary in zip(rows, summaries, strict=True):
        draw_dots(dots, summary)
        draw_curves(curves, summary.groups[: len(COLOURS)], histories)
    return figure


def draw_dots(axis: Axes, summary: Summary) -> None:
    """A line per group, the best on top: runs as rings, the mean and its interval in the colour of its curve."""
    factor = scale(summary.metric)
    for place, group in enumerate(summary.groups):
        colour = COLOURS[place] if place < len(COLOURS) else GREY
        values = [value * factor for value in group.values.values()]
        axis.plot(values, [place + 0.2] * len(values), "o", color=colour, mfc="none", markersize=4, alpha=0.7)
        if group.interval:
            low, high = group.interval
            axis.hlines(place, low * factor, high * factor, color=colour, linewidth=2)
        axis.plot(group.mean * factor, place, "D", color=colour, markersize=6)
    names = [f"{shorten(group.name, 36)}\nn = {len(group.values)}" for group in summary.groups]
    axis.set_yticks(range(len(names)), names, fontsize=9)
    axis.set_ylim(len(names) - 0.4, -0.6)
    axis.grid(axis="x", color="#dddddd")
    axis.set_axisbelow(True)
    better = "lower" if lower_is_better(summary.metric) else "higher"
    axis.set_xlabel(f"{title(summary.metric)} ({better} is better)")
    axis.set_title(f"{summary.groups[0].dataset}: runs, means, 95 % intervals")


def draw_curves(axis: Axes, groups: Sequence[Group], histories: Mapping[str, History]) -> None:
    """The mean validation accuracy after each epoch, ± a standard deviation; of training where nothing was held out."""
    column = "validation_accuracy"
    if not any(column in row for group in groups for run in group.runs for row in histories.get(run.revision, ())):
        column = "train_accuracy"
    for group, colour in zip(groups, COLOURS, strict=False):
        curves = [[row[column] * 100 for row in histories.get(run.revision, ()) if column in row] for run in group.runs]
        if not (curves := [curve for curve in curves if curve]):
            continue
        table = np.array([curve[: min(map(len, curves))] for curve in curves])
        epochs, mean, deviation = range(1, table.shape[1] + 1), table.mean(0), table.std(0, ddof=min(len(table) - 1, 1))
        axis.plot(epochs, mean, color=colour, label=shorten(group.name, 36), marker="o", markersize=3)
        axis.fill_between(epochs, mean - deviation, mean + deviation, color=colour, alpha=0.2, linewidth=0)
    axis.set(xlabel="epoch", title=f"{column.replace('_', ' ').replace('train ', 'training ')}, %: mean ± deviation")
    axis.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axis.grid(color="#dddddd")
    if axis.lines:
        axis.legend(fontsize=9)
