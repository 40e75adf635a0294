"""The page: for each dataset, what was run, then a section for each question."""

import base64
import html
import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from commands.report import charts
from commands.report.groups import Shown, differing_params
from commands.report.plots import Plots
from src.comparison import compare_predictions, describe_mismatch, read_predictions, verdict
from src.errors import MnistryError
from src.revisions import Revision
from src.summaries import Group, difference_words

TEMPLATE = Path(__file__).with_name("page.html")
VEGA_LITE = "5.20"
"""DVC's charts are written for version 5."""
PREDICTIONS = "data/predictions.csv"
ACCURACY = "test:accuracy"
HISTORY, CONFUSION = "metrics/history.csv", "metrics/confusion.csv"
CLASSES, CALIBRATION = "metrics/classes.csv", "metrics/calibration.csv"
DRAWN = {HISTORY, CONFUSION, CLASSES, CALIBRATION, "Loss", "Accuracy", "Precision", "Confusion matrix, shares"}
"""Charts of dvc.yaml that this page draws in its own way."""
FIGURES = {
    "figures/dataset/first_image.png": "The first training image, with its pixels",
    "figures/dataset/samples.png": "Training images, drawn at random",
    "figures/dataset/classes.png": "Images per class",
    "figures/test/mistakes.png": "The surest mistakes",
    "figures/test/predictions.png": "Test images, drawn at random",
    "figures/test/heatmaps.png": "Where the classifier looked: test images drawn at random, then the surest mistakes",
}
AGAIN = {f"figures/test/{name}.png" for name in
         ("learning_curves", "confusion", "confusion_normalized", "classes", "reliability")}  # fmt: skip
"""Figures of what the page has a chart for."""
PERCENT, PLAIN, COUNT = "{:.2%}", "{:.4f}", "{:,.0f}"
RESULTS: tuple[tuple[str, str, str, int], ...] = (
    (ACCURACY, "accuracy", PERCENT, 1),
    ("test:balanced_accuracy", "balanced accuracy", PERCENT, 1),
    ("test:macro_f1", "macro F1", PERCENT, 1),
    ("test:log_loss", "log loss, nats", PLAIN, -1),
    ("test:ece", "expected calibration error", PLAIN, -1),
    ("test:errors", "errors", COUNT, -1),
    ("test:images", "of images", COUNT, 0),
    ("test:baseline_accuracy", "accuracy of always the commonest class", PERCENT, 0),
    ("train:validation_accuracy", "validation accuracy", PERCENT, 1),
    ("train:train_accuracy", "training accuracy", PERCENT, 0),
    ("train:epochs", "epochs", COUNT, 0),
    ("train:parameters", "parameters", COUNT, 0),
)
"""Metric, its words, its format, and whether more (1) or less (-1) of it is better."""


def make_page(groups: Sequence[Shown], plots: Plots) -> str:
    """The page in HTML, with all that it needs inside it."""
    # The package carries all of Vega; nothing else here needs it.
    import vl_convert

    bundle = vl_convert.javascript_bundle(vl_version=VEGA_LITE)  # type: ignore[call-arg]  # its stub lacks defaults
    datasets = dict.fromkeys(group.dataset for group in groups)
    articles = [article(name, [group for group in groups if group.dataset == name], plots) for name in datasets]
    title = html.escape(", ".join(datasets) + ": " + ", ".join(dict.fromkeys(group.model for group in groups)))
    start, rest = TEMPLATE.read_text("utf-8").split("@TITLE@")
    head, rest = rest.split("@SCRIPT@")
    body, end = rest.split("@CONTENT@")
    return "".join([start, title, head, bundle, body, *articles, end])


def article(dataset: str, groups: Sequence[Shown], plots: Plots) -> str:
    """All about the runs on one dataset."""
    sections: tuple[tuple[str, str, Callable[[Sequence[Shown], Plots], Iterable[str]]], ...] = (
        ("Data", "What is there to learn from?", data_cards),
        ("Learning", "Does it learn, and does it learn by heart?", learning_cards),
        ("Result", "How good is it on images that it never saw?", result_cards),
        ("Classes", "Which classes are recognized, and which are taken for another?", class_cards),
        ("Confidence", "Is it right as often as it is sure?", confidence_cards),
        ("Mistakes", "Where is it wrong?", mistake_cards),
        ("Comparison", "What differs, and is one better?", comparison_cards),
        ("Further plots", "What else dvc.yaml has plots for.", further_cards),
    )
    parts = [f"<article>\n<header><h1>{html.escape(dataset)}</h1>\n{headings(groups)}</header>"]
    for title, question, make in sections:
        if cards := list(make(groups, plots)):
            parts.append(
                f"<section>\n<h2>{title}</h2>\n<p>{question}</p>\n<div class='grid'>{''.join(cards)}</div></section>"
            )
    return "\n".join([*parts, "</article>\n"])


def headings(groups: Sequence[Shown]) -> str:
    """Each group's model, revisions and accuracy, in its colour."""
    cards = []
    for i, group in enumerate(groups):
        commit = f" at {group.runs[0].revision[:7]}" if len(group.runs) == 1 and group.runs[0].revision else ""
        title = group.name if len(group.runs) > 1 else group.model
        accuracy = _cell(group, ACCURACY, PERCENT)
        cards.append(
            f"<div class='card'><h2>{_dot(i)}<span>{html.escape(title)}</span></h2>"
            f"<p>{html.escape(', '.join(group.revisions))}{commit}</p>"
            + (f"<p class='large'>{accuracy}</p></div>" if accuracy else "</div>")
        )
    return f"<div class='grid shown'>{''.join(cards)}</div>"


def data_cards(groups: Sequence[Shown], plots: Plots) -> Iterable[str]:
    """What metrics/dataset.json counts, and the dataset's figures, each once."""
    names = dict.fromkeys(name for group in groups for name in group.runs[0].metrics if name.startswith("dataset:"))
    counts = {name: [group.runs[0].metrics.get(name) for group in groups] for name in names}
    same = all(len(set(values)) == 1 for values in counts.values())
    rows = [
        f"<tr><th scope='row'>{_words(name)}</th>"
        + "".join(_count(name, value) for value in values[: 1 if same else None])
        + "</tr>"
        for name, values in counts.items()
    ]
    if rows:
        head = "" if same else _table_head(groups)
        table = f"<table class='number'>{head}<tbody>{''.join(rows)}</tbody></table>"
        yield _card("In numbers", f"<div class='scroll'>{table}</div>")
    yield from _figure_cards("figures/dataset/", groups, plots)


def learning_cards(groups: Sequence[Shown], plots: Plots) -> Iterable[str]:
    """Loss and accuracy after each epoch."""
    rows = plots.rows.get(HISTORY, {})
    for metric, title in (("loss", "Loss"), ("accuracy", "Accuracy")):
        if spec := charts.learning_chart(groups, rows, metric):
            splits = {row["split"] for row in spec["data"]["values"]}
            lines = [f"<li>{_line(name == 'training')}{name}</li>" for name in charts.SPLITS.values() if name in splits]
            key = f"<ul class='key'>{_legend(groups)}{''.join(lines)}</ul>"
            seeds = any(len(group.runs) > 1 for group in groups)
            note = "<p class='note'>Lines are means over seeds, bands ± a standard deviation.</p>" if seeds else ""
            yield _card(f"{title} after each epoch", f"{key}{_chart(spec)}{note}")


def result_cards(groups: Sequence[Shown], _plots: Plots) -> Iterable[str]:
    """The metrics of all groups, the best of each in bold."""
    for title, prefix in (("On the test split", "test:"), ("In training", "train:")):
        names = dict.fromkeys(name for group in groups for run in group.runs for name in run.metrics)
        known = {name for name, *_ in RESULTS}
        further = [
            (name, _words(name), "{:,.5g}", 0)
            for name in names
            if name not in known and not name.endswith(("_low", "_high"))
        ]
        shown = [row for row in (*RESULTS, *further) if row[0].startswith(prefix)]
        rows = [row for metric in shown for row in _result_row(groups, *metric)]
        if rows:
            table = f"<table class='number'>{_table_head(groups)}<tbody>{''.join(rows)}</tbody></table>"
            seeds = any(len(group.runs) > 1 for group in groups)
            notes = ["The better in bold." if len(groups) == 2 else "The best in bold."] if len(groups) > 1 else []
            notes += ["Mean ± standard deviation over seeds."] if seeds else []
            note = f"<p class='note'>{' '.join(notes)}</p>" if notes else ""
            yield _card(title, f"<div class='scroll'>{table}</div>{note}", wide=len(groups) > 2)


def _result_row(groups: Sequence[Shown], metric: str, words: str, form: str, better: int) -> Iterable[str]:
    """The row of one metric; none where no group has it."""
    cells = [_cell(group, metric, form) for group in groups]
    if any(cells):
        means = [float(np.mean(found)) * better if (found := group.values(metric)) else -np.inf for group in groups]
        best = max(means) if better and len(set(means)) > 1 else None
        columns = "".join(
            f"<td{' class=best' if mean == best else ''}>{cell or '-'}</td>"
            for mean, cell in zip(means, cells, strict=True)
        )
        yield f"<tr><th scope='row'>{words}</th>{columns}</tr>"


def class_cards(groups: Sequence[Shown], plots: Plots) -> Iterable[str]:
    """Recall and precision, on one scale; each group's confusion matrix, on one scale of colour."""
    rows = plots.rows.get(CLASSES, {})
    words = {"recall": "Recall: of a class's images, the share that is found",
             "precision": "Precision: of a class's predictions, the share that is right"}  # fmt: skip
    for metric, title in words.items():
        if spec := charts.class_chart(groups, rows, metric):
            yield _card(title, f"{_key(groups)}{_chart(spec)}")
    counts = plots.rows.get(CONFUSION, {})
    for i, group in enumerate(groups):
        if spec := charts.confusion_chart(group, counts):
            mean = ", mean over seeds" if len(group.runs) > 1 else ""
            note = f"<p class='note'>Numbers are images{mean}; colour is the share of the actual class.</p>"
            yield _card("Confusion matrix" + _of(i, groups), _chart(spec) + note)
    for i, group in enumerate(groups):
        if pairs := charts.confusions(group, counts):
            items = [
                f"<tr><td>{html.escape(actual)}</td><td>{html.escape(predicted)}</td><td>{f'{count:,.1f}'.removesuffix('.0')}</td></tr>"
                for actual, predicted, count in pairs
            ]
            head = "".join(f"<th scope='col'>{name}</th>" for name in ("actual", "predicted", "images"))
            table = f"<table class='last-number'><thead><tr>{head}</tr></thead><tbody>{''.join(items)}</tbody></table>"
            yield _card("Commonest mistakes" + _of(i, groups), table)


def confidence_cards(groups: Sequence[Shown], plots: Plots) -> Iterable[str]:
    """The reliability diagram, and what it shows."""
    if spec := charts.reliability_chart(groups, plots.rows.get(CALIBRATION, {})):
        note = (
            "<p class='note'>On the dashed line, it is right as often as it is sure; below it, it is too sure. "
            "Larger points are of more images.</p>"
        )
        yield _card("Reliability", _key(groups) + _chart(spec) + note)
    if spec := charts.confidence_chart(groups, plots.rows.get(CALIBRATION, {})):
        yield _card("How sure it is of how many images", _key(groups) + _chart(spec))


def mistake_cards(groups: Sequence[Shown], plots: Plots) -> Iterable[str]:
    """The figures of the results that no chart stands for."""
    yield from _figure_cards("figures/test/", groups, plots)


def comparison_cards(groups: Sequence[Shown], _plots: Plots) -> Iterable[str]:
    """Of several groups: each against the first in words, and the params that differ."""
    if len(groups) < 2:
        return
    verdicts = "".join(f"<p class='verdict'>{html.escape(_verdict(groups[0], group))}.</p>" for group in groups[1:])
    yield _card("Verdict", verdicts, wide=True)
    rows = [
        f"<tr><th scope='row'>{html.escape(name)}</th>"
        + "".join(f"<td>{html.escape(value)}</td>" for value in values)
        + "</tr>"
        for name, values in differing_params(groups)
    ]
    if rows:
        table = f"<table>{_table_head(groups)}<tbody>{''.join(rows)}</tbody></table>"
        yield _card("Params that differ", f"<div class='scroll'>{table}</div>", wide=True)


def further_cards(groups: Sequence[Shown], plots: Plots) -> Iterable[str]:
    """Charts and figures that a user added to dvc.yaml, and what DVC couldn't read."""
    names = {name for group in groups for name in group.revisions}
    for name, spec in plots.specs.items():
        own = {**spec, "data": {"values": [row for row in spec["data"]["values"] if row["rev"] in names]}}
        if name not in DRAWN and charts.has_values(own):
            own.pop("title", None)
            yield _card(html.escape(name), _chart(own))
    for path in plots.figures:
        if path not in FIGURES and path not in AGAIN and not path.startswith(("figures/dataset/", "figures/test/")):
            yield from _figure_cards(path, groups, plots)
    if plots.missing:
        items = "".join(f"<li>{html.escape(each)}</li>" for each in plots.missing)
        yield _card("Not in DVC's cache", f"<ul>{items}</ul><p class='note'>`dvc pull` may bring them.</p>")


def _figure_cards(prefix: str, groups: Sequence[Shown], plots: Plots) -> Iterable[str]:
    """A card per figure under the prefix and, where they differ, per group: that of the group's first run."""
    known = [path for path in FIGURES if path in plots.figures]
    for path in [*known, *(path for path in plots.figures if path not in FIGURES)]:
        if not path.startswith(prefix) or path in AGAIN:
            continue
        found = {i: plots.figures[path].get(group.revisions[0]) for i, group in enumerate(groups)}
        contents = {i: file.read_bytes() for i, file in found.items() if file}
        for i, content in contents.items():
            if content in (contents[before] for before in contents if before < i):
                continue
            of = _of(i, groups) if len(set(contents.values())) > 1 else ""
            name = FIGURES.get(path, Path(path).stem.replace("_", " "))
            kind = "jpeg" if path.lower().endswith((".jpg", ".jpeg")) else path.rpartition(".")[2].lower()
            data = base64.b64encode(content).decode()
            image = f"<img alt='{html.escape(name)}' src='data:image/{kind};base64,{data}'>"
            yield _card(html.escape(name) + of, image)


def _verdict(first: Shown, second: Shown) -> str:
    """Of two runs, image by image; of groups of seeds, the difference between their means."""
    if max(len(first.runs), len(second.runs)) > 1:
        base, means = (
            Group(each.runs, {run.repeat: run.metrics[ACCURACY] for run in each.runs if ACCURACY in run.metrics})
            for each in (first, second)
        )
        if not base.values or not means.values:
            return f"{first.name} and {second.name}: one has no test accuracy"
        difference = difference_words(means, base, "test.json:accuracy")
        return f"{second.name}, against {first.name}: {difference} points of test accuracy"
    names = first.revisions[0], second.revisions[0]
    try:
        ours, theirs = (read_predictions(Revision(name.split(",")[0]).read_text(PREDICTIONS), name) for name in names)
    except MnistryError as error:
        return str(error)
    if mismatch := describe_mismatch(ours, theirs):
        return f"{names[1]} and {names[0]} have other test images: {mismatch}"
    return verdict(compare_predictions(ours, theirs), *names)


def _cell(group: Shown, metric: str, form: str) -> str:
    """The metric, with its interval where it has one; the mean ± standard deviation of several runs."""
    values = group.values(metric)
    if not values:
        return ""
    mean = form.format(np.mean(values))
    if len(values) > 1:
        return f"{mean} ± {form.format(np.std(values, ddof=1))}" if np.ptp(values) else mean
    low, high = (group.values(f"{metric}_{end}") for end in ("low", "high"))
    return f"{mean}<small>95 %: {form.format(low[0])} to {form.format(high[0])}</small>" if low and high else mean


def _card(title: str, content: str, wide: bool = False) -> str:
    return f"<div class='card{' wide' if wide else ''}'><h3>{title}</h3>{content}</div>"


def _chart(spec: dict[str, Any]) -> str:
    """The place of a chart. A class's name could end the script that it is part of: `</` is escaped."""
    data = json.dumps(spec, ensure_ascii=False).replace("</", "<\\/")
    return f"<div class='chart'><script type='application/json'>{data}</script><div></div></div>"


def _table_head(groups: Sequence[Shown]) -> str:
    """A column for each group; nothing of a single one."""
    if len(groups) < 2:
        return ""
    columns = "".join(f"<th scope='col'>{_dot(i)} {html.escape(group.name)}</th>" for i, group in enumerate(groups))
    return f"<thead><tr><td></td>{columns}</tr></thead>"


def _of(number: int, groups: Sequence[Shown]) -> str:
    """Which group a card is of, where there are several."""
    return f": {_dot(number)} {html.escape(groups[number].name)}" if len(groups) > 1 else ""


def _key(groups: Sequence[Shown]) -> str:
    return f"<ul class='key'>{_legend(groups)}</ul>" if len(groups) > 1 else ""


def _legend(groups: Sequence[Shown]) -> str:
    """The groups' colours; nothing of a single one."""
    items = [f"<li>{_dot(i)}{html.escape(group.name)}</li>" for i, group in enumerate(groups)]
    return "".join(items) if len(groups) > 1 else ""


def _dot(number: int) -> str:
    return f"<span class='dot' style='color:{charts.colour(number)}'></span>"


def _line(dashed: bool) -> str:
    pattern = " stroke-dasharray='4 3'" if dashed else ""
    return (
        "<svg width='28' height='8' aria-hidden='true'>"
        f"<path d='M0 4h28' stroke='currentColor' stroke-width='2'{pattern}/></svg>"
    )


def _words(name: str) -> str:
    return html.escape(name.partition(":")[2].replace("_", " ").replace("train ", "training "))


def _count(name: str, value: float | None) -> str:
    """A cell of metrics/dataset.json, marked where a reader should look: images in two splits, or of two classes."""
    bad = value and any(word in name for word in ("duplicates", "one_colour", "without_test"))
    return f"<td{' class=alert' if bad else ''}>{'-' if value is None else f'{value:,}'}</td>"
