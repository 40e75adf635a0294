"""The charts of a dataset's runs, in Vega-Lite.

Colours are written as names of the page's own, such as `var(--series-1)`: the page puts in what they are in light and
in dark. A chart is as wide as its place; `usermeta` says which are square.
"""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from commands.report.groups import Shown
from commands.report.plots import Row
from src.evaluation import BINS

Rows = Mapping[str, Sequence[Row]]
"""A file's rows, by revision."""
Spec = dict[str, Any]
SERIES = 6
"""Colours that the page has for groups; further groups begin again."""
MOST_NUMBERED = 20
"""Classes of a confusion matrix whose cells have room for numbers."""
SPLITS = {"train": "training", "validation": "validation"}


def colour(number: int) -> str:
    """Of the group with this number, from 0 on."""
    return f"var(--series-{number % SERIES + 1})"


def number(text: str) -> float | None:
    """A cell's value; None of an empty one, and of what is not finite."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def learning_chart(groups: Sequence[Shown], rows: Rows, metric: str) -> Spec | None:
    """`loss` or `accuracy` after each epoch, ± a standard deviation over seeds; None where no run has it.

    Splits without values have no line.
    """
    values = []
    for group in groups:
        for split, label in SPLITS.items():
            epochs: dict[int, list[float]] = defaultdict(list)
            for row in (row for name in group.revisions for row in rows.get(name, ())):
                value = number(row.get(f"{split}_{metric}", ""))
                if value is not None:
                    epochs[int(row["epoch"])].append(value)
            for epoch, found in sorted(epochs.items()):
                mean, spread = float(np.mean(found)), float(np.std(found, ddof=1)) if len(found) > 1 else 0.0
                values.append(
                    {"epoch": epoch, "mean": mean, "low": mean - spread, "high": mean + spread,
                     "group": group.name, "split": label}
                )  # fmt: skip
    if not values:
        return None
    x = {"field": "epoch", "type": "quantitative", "title": "epoch", "scale": {"zero": False, "nice": False},
         "axis": {"format": "d", "tickMinStep": 1, "tickCount": 8, "grid": False}}  # fmt: skip
    title = {"loss": "cross-entropy, nats", "accuracy": "accuracy"}[metric]
    y = {"field": "mean", "type": "quantitative", "title": title, "scale": {"zero": False}}
    series = _series(groups)
    dash = {
        "field": "split", "type": "nominal", "legend": None,
        "scale": {"domain": list(SPLITS.values()), "range": [[4, 3], [1, 0]]},
    }  # fmt: skip
    detail = {"field": "split", "type": "nominal"}
    band = {
        "mark": {"type": "area", "opacity": 0.2},
        "encoding": {"x": x, "y": y | {"field": "low"}, "y2": {"field": "high"}, "color": series, "detail": detail},
    }
    line = {
        "mark": {"type": "line", "strokeWidth": 2},
        "encoding": {"x": x, "y": y, "color": series, "strokeDash": dash},
    }
    tooltip = [*_tooltip("group", "split", "epoch"), {"field": "mean", "title": metric, "format": ".4~f"}]
    points = {
        "mark": {"type": "point", "filled": True, "size": 28},
        "encoding": {"x": x, "y": y, "color": series, "detail": detail, "tooltip": tooltip},
    }
    return {"data": {"values": values}, "height": 260, "layer": [band, line, points]}


def class_chart(groups: Sequence[Shown], rows: Rows, metric: str) -> Spec | None:
    """`recall` or `precision` of each class, the mean over seeds; None without rows.

    Both have one scale: that of the lowest of either.
    """
    values, lowest = [], 1.0
    for group in groups:
        found: dict[str, list[float]] = defaultdict(list)
        for row in (row for name in group.revisions for row in rows.get(name, ())):
            found[row["class"]].append(float(row[metric]))
            lowest = min(lowest, float(row["recall"]), float(row["precision"]))
        values += [{"class": name, "value": float(np.mean(each)), "group": group.name} for name, each in found.items()]
    if not values:
        return None
    # A tenth of what is missing, so that the lowest point isn't on the edge.
    start = max(math.floor((lowest - 0.1 * (1 - lowest)) * 50) / 50, 0) if lowest < 1 else 0.9
    shared = {
        "x": {"field": "value", "type": "quantitative", "title": metric, "scale": {"domain": [start, 1], "nice": False},
              "axis": {"format": "%", "tickCount": 5}},
        "y": {"field": "class", "type": "nominal", "title": None, "sort": None},
        "yOffset": {"field": "group", "sort": None},
        "color": _series(groups),
    }  # fmt: skip
    stem = {
        "mark": {"type": "rule", "strokeWidth": 1.5, "opacity": 0.5},
        "encoding": {**shared, "x2": {"datum": start}},
    }
    points = {
        "mark": {"type": "point", "filled": True, "size": 60, "opacity": 1},
        "encoding": {
            **shared,
            "tooltip": [*_tooltip("group", "class"), {"field": "value", "title": metric, "format": ".2%"}],
        },
    }
    return {
        "data": {"values": values}, "height": {"step": max(20, 13 * len(groups)), "for": "position"},
        "layer": [stem, points],
    }  # fmt: skip


def confusion_chart(group: Shown, rows: Rows) -> Spec | None:
    """The group's confusion matrix: images, the mean over seeds, and as colour the share of the actual class."""
    counts = confusion_counts(group, rows)
    if not counts:
        return None
    classes = list(dict.fromkeys(actual for actual, _ in counts))
    totals = {name: sum(count for (actual, _), count in counts.items() if actual == name) for name in classes}
    values = [
        {"actual": actual, "predicted": predicted, "images": count, "share": count / (totals[actual] or 1)}
        for (actual, predicted), count in counts.items()
    ]
    few = len(classes) <= MOST_NUMBERED
    labels = {"labels": few, "ticks": False, "domain": False, "grid": False, "labelLimit": 90}
    upright = max(map(len, classes)) <= 2
    axes = {
        "x": {"field": "predicted", "type": "nominal", "sort": classes, "title": "predicted",
              "axis": labels | {"labelAngle": 0 if upright else -90}},
        "y": {"field": "actual", "type": "nominal", "sort": classes, "title": "actual", "axis": labels},
    }  # fmt: skip
    # Mistakes are few of a class's images: on a linear scale, they would all look white.
    scale = {"type": "pow", "exponent": 0.5, "domain": [0, 1], "range": ["var(--card)", colour(0)],
             "interpolate": "rgb"}  # fmt: skip
    tooltip = [
        *_tooltip("actual", "predicted"),
        {"field": "images", "format": ",.4~g"},
        {"field": "share", "title": "of the actual class", "format": ".1%"},
    ]
    cells = {
        "mark": {"type": "rect", "stroke": "var(--line)", "strokeWidth": 0.5},
        "encoding": {
            "color": {"field": "share", "type": "quantitative", "scale": scale, "legend": None},
            "tooltip": tooltip,
        },
    }
    numbers = {
        "transform": [{"filter": "datum.images > 0"}],
        "mark": {"type": "text", "fontSize": {"expr": f"min(13, width / {len(classes)} / 2.3)"}, "tooltip": None},
        "encoding": {
            "text": {"field": "images", "type": "quantitative", "format": ",.1~f"},
            "color": {"condition": {"test": "datum.share > 0.3", "value": "var(--on-series)"}, "value": "var(--text)"},
        },
    }
    layer = [cells, numbers] if few else [cells]
    return {"data": {"values": values}, "encoding": axes, "layer": layer, "usermeta": {"square": 460}}


def confusion_counts(group: Shown, rows: Rows) -> dict[tuple[str, str], float]:
    """Images of each actual and predicted class, the mean over seeds, in the classes' order."""
    counts: dict[tuple[str, str], float] = defaultdict(float)
    for row in (row for name in group.revisions for row in rows.get(name, ())):
        counts[row["actual"], row["predicted"]] += float(row["count"]) / len(group.runs)
    return dict(counts)


def confusions(group: Shown, rows: Rows, most: int = 10) -> list[tuple[str, str, float]]:
    """The commonest mistakes: the actual class, the predicted one, and images, the mean over seeds."""
    ranked = sorted(confusion_counts(group, rows).items(), key=lambda item: -item[1])
    wrong = [(actual, predicted, count) for (actual, predicted), count in ranked if actual != predicted and count]
    return wrong[:most]


def reliability_chart(groups: Sequence[Shown], rows: Rows) -> Spec | None:
    """Accuracy against confidence, the bins of all seeds pooled; None without rows."""
    values = _bins(groups, rows)
    if not values:
        return None
    unit = {"domain": [0, 1]}
    axes = {
        "x": {"field": "confidence", "type": "quantitative", "scale": unit, "axis": {"format": "%"},
              "title": CONFIDENCE},
        "y": {"field": "accuracy", "type": "quantitative", "scale": unit, "axis": {"format": "%"},
              "title": "accuracy: share that is right"},
    }  # fmt: skip
    diagonal = {
        "data": {"values": [{"confidence": 0, "accuracy": 0}, {"confidence": 1, "accuracy": 1}]},
        "mark": {"type": "line", "strokeDash": [4, 4], "strokeWidth": 1.5, "color": "var(--quiet)"},
        "encoding": axes,
    }
    line = {"mark": {"type": "line", "strokeWidth": 2}, "encoding": {**axes, "color": _series(groups)}}
    points = {
        "mark": {"type": "point", "filled": True, "opacity": 0.9},
        "encoding": {
            **axes, "color": _series(groups), "tooltip": BIN_TOOLTIP,
            "size": {"field": "images", "type": "quantitative", "legend": None,
                     "scale": {"type": "log", "range": [20, 220]}},
        },
    }  # fmt: skip
    return {"data": {"values": values}, "layer": [diagonal, line, points], "usermeta": {"square": 420}}


def confidence_chart(groups: Sequence[Shown], rows: Rows) -> Spec | None:
    """The number of images per bin of confidence, the mean over seeds, on a logarithmic scale; None without rows.

    Of one group bars, of several lines, which don't hide each other.
    """
    values = _bins(groups, rows)
    if not values:
        return None
    axis = {"format": ",~g", "values": [10**power for power in range(8)]}
    encoding: Spec = {
        "x": {"field": "confidence", "type": "quantitative", "title": CONFIDENCE,
              "scale": {"domain": [0, 1]}, "axis": {"format": "%", "values": [0, 0.2, 0.4, 0.6, 0.8, 1]}},
        # Bars of a logarithmic scale have no zero to begin at.
        "y": {"field": "images", "type": "quantitative", "title": "images",
              "scale": {"type": "log", "domainMin": 0.5}, "axis": axis},
        "color": _series(groups),
        "tooltip": BIN_TOOLTIP,
    }  # fmt: skip
    mark: Spec = {"type": "line", "point": {"size": 40}, "clip": True}
    if len(groups) == 1:
        mark = {"type": "bar", "stroke": "var(--card)"}
        encoding |= {"x": encoding["x"] | {"field": "low"}, "x2": {"field": "high"}, "y2": {"datum": 0.5}}
    return {"data": {"values": values}, "height": 340, "mark": mark, "encoding": encoding}


CONFIDENCE = "confidence: probability of the predicted class"
BIN_TOOLTIP = [
    {"field": "group", "type": "nominal"},
    {"field": "confidence", "format": ".1%"},
    {"field": "accuracy", "format": ".1%"},
    {"field": "images", "format": ",.4~g"},
]


def _bins(groups: Sequence[Shown], rows: Rows) -> list[dict[str, Any]]:
    """Each group's bins of confidence, those of its seeds pooled, their images averaged."""
    values = []
    for group in groups:
        bins: dict[int, list[tuple[float, float, float]]] = defaultdict(list)
        for row in (row for name in group.revisions for row in rows.get(name, ())):
            confidence = float(row["confidence"])
            bins[math.ceil(confidence * BINS)].append((confidence, float(row["accuracy"]), float(row["images"])))
        for place, found in sorted(bins.items()):
            confidences, accuracies, images = np.array(found).T
            values.append(
                {"group": group.name, "images": images.sum() / len(group.runs),
                 "confidence": float(np.average(confidences, weights=images)),
                 "accuracy": float(np.average(accuracies, weights=images)),
                 "low": (place - 1) / BINS, "high": place / BINS}
            )  # fmt: skip
    return values


def _series(groups: Sequence[Shown]) -> Spec:
    """The groups' colours; the page itself has the legend."""
    colours = [colour(i) for i in range(len(groups))]
    domain = [group.name for group in groups]
    return {"field": "group", "type": "nominal", "legend": None, "scale": {"domain": domain, "range": colours}}


def _tooltip(*fields: str) -> list[Spec]:
    return [{"field": field, "type": "nominal"} for field in fields]


def has_values(spec: Mapping[str, Any]) -> bool:
    """Whether one of DVC's own charts has anything to draw: the column of its values is not all empty."""
    for channel in ("y", "x"):
        encoding = spec.get("encoding", {}).get(channel, {})
        if encoding.get("type") == "quantitative":
            return any(number(str(row.get(encoding["field"], ""))) is not None for row in spec["data"]["values"])
    return True
