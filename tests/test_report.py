"""The report's groups, charts and page, in a browser too, and the templates of DVC's charts.

test_pipeline.py draws the page of a real run.
"""

import json
import re
from dataclasses import replace

import pytest
import vl_convert
from dvc_render.vega import VegaRenderer
from selenium.webdriver.support.ui import WebDriverWait

from commands.report.charts import (
    class_chart,
    confidence_chart,
    confusion_chart,
    confusions,
    has_values,
    learning_chart,
    reliability_chart,
)
from commands.report.groups import Shown, differing_params, group_members
from commands.report.markdown import confusion_markdown
from commands.report.page import make_page
from commands.report.plots import Plots, parse_plots
from src.summaries import Run
from tests.browser import open_browser
from tests.conftest import PROJECT

CLASS_NAMES = ("cat", "<b>dog</b>", "</script><script>alert(1)</script>")


def drawn(template, rows, **columns):
    """The chart as SVG, drawn from our template as DVC fills it."""
    rows = [{"rev": "workspace", "filename": "a.csv", "field": columns["y"], **row} for row in rows]
    renderer = VegaRenderer(rows, "chart", template=template, template_dir=str(PROJECT / ".dvc/plots"), **columns)
    return vl_convert.vegalite_to_svg(renderer.get_filled_template(), vl_version="5.20")


def member(name, seed=0, model="mlp", commit="abc", dataset="digits", **params):
    """A run with a few params and metrics."""
    own = {"dataset": dataset, "model": model, "seed": seed, f"models.{model}.epochs": 2, "models.resnet.epochs": 7}
    metrics = {
        "dataset:train_images": 100, "dataset:near_duplicates_across_splits": 3,
        "test:accuracy": 0.9 + seed / 100, "test:accuracy_low": 0.85, "test:accuracy_high": 0.95,
    }  # fmt: skip
    return Run(name, f"{name}0000000", commit, own | params, metrics)


def history(losses, validation=True):
    """Rows of history.csv as DVC gives them, without validation's cells where nothing was held out."""
    return [
        {"epoch": str(epoch), "train_loss": str(loss), "train_accuracy": "0.5",
         "validation_loss": str(loss * 2) if validation else "", "validation_accuracy": "0.6" if validation else ""}
        for epoch, loss in enumerate(losses, 1)
    ]  # fmt: skip


def confusion(counts, names=CLASS_NAMES):
    """Rows of confusion.csv."""
    return [
        {"actual": actual, "predicted": predicted, "count": str(count)}
        for actual, row in zip(names, counts, strict=True)
        for predicted, count in zip(names, row, strict=True)
    ]


@pytest.fixture(autouse=True)
def _no_project(tmp_path, monkeypatch):
    """The runs are no revisions of a repository."""
    monkeypatch.chdir(tmp_path)


def plots_of(runs, validation=True, names=CLASS_NAMES):
    """The plots of the runs, as `dvc plots` would give them."""
    files = {
        "metrics/history.csv": history([2.0, 1.0], validation),
        "metrics/confusion.csv": confusion([[8, 2, 0], [0, 9, 1], [0, 0, 10]], names),
        "metrics/classes.csv": [{"class": name, "recall": "0.9", "precision": "0.8"} for name in names],
        "metrics/calibration.csv": [{"confidence": "0.95", "accuracy": "0.9", "images": "30"}],
    }
    rows = {path: {run.name: rows for run in runs} for path, rows in files.items()}
    empty = {
        "data": {"values": [{"rev": runs[0].name, "loss": ""}]},
        "encoding": {"y": {"field": "loss", "type": "quantitative"}},
    }
    own = {
        "data": {"values": [{"rev": runs[0].name, "x": "1", "loss": "0.5"}]},
        "mark": "point",
        "encoding": {"x": {"field": "x", "type": "quantitative"}, "y": {"field": "loss", "type": "quantitative"}},
    }
    return Plots([run.name for run in runs], rows, {"Empty": empty, "My own": own}, {}, [], PROJECT)


def test_epochs_without_a_figure_are_not_drawn_as_zero():
    """history.csv's cells are empty where nothing was held out."""
    rows = [{"epoch": i, "loss": loss} for i, loss in enumerate(["0.5", "", "0.25"], 1)]
    chart = drawn("epochs", rows, x="epoch", y="loss")
    points = re.findall('aria-label="epoch: ([0-9]); loss: ([0-9.]+)[^"]*"[^>]*aria-roledescription="point"', chart)
    assert points == [("1", "0.5"), ("3", "0.25")]


@pytest.mark.parametrize("template", ["confusion_counts", "confusion_shares"])
def test_confusion_matrices_have_the_classes_in_their_order(template):
    """Not by the alphabet: 2 before 10, and `z` where it is among the classes."""
    names = ["z", "2", "10", "a"]
    rows = [{"actual": a, "predicted": p, "count": (a == p) * 3} for a in names for p in names]
    texts = re.findall("<text[^>]*>([^<]*)</text>", drawn(template, rows, x="predicted", y="actual"))
    assert [text for text in texts if text in names] == names * 2


def test_three_seeds_of_the_same_params_are_one_group():
    """Two are shown one by one, and so are other commits' and what differs in more than its seed."""
    cnns = [member(f"cnn-{seed}", seed, "cnn") for seed in range(3)]
    others = [member("a", 0), member("b", 1), member("c", 2, commit="def"), member("again", 2, "cnn")]
    groups = group_members([*others[:2], *cnns, *others[2:]])
    assert [group.revisions for group in groups] == [["a"], ["b"], ["cnn-0", "cnn-1", "cnn-2"], ["c"], ["again"]]
    assert [group.name for group in groups] == ["a", "b", "cnn, 3 seeds", "c", "again"]


def test_params_that_differ_are_those_of_the_trained_models():
    """By their short names, whichever the models are; equal ones and other models' are left out."""
    groups = [Shown("a", [member("a")]), Shown("b", [member("b", 1, "cnn", **{"models.cnn.epochs": 5})])]
    assert differing_params(groups) == [
        ("model", ["mlp", "cnn"]),
        ("seed", ["0", "1"]),
        ("recipe.epochs", ["2", "5"]),
    ]


def test_learning_curves_are_means_and_deviations_over_seeds():
    """Losses of 1, 2 and 3: 2 ± 1, worked by hand; a single run has no band."""
    seeds = Shown("mlp", [member(name) for name in "abc"])
    rows = {name: history([loss], validation=False) for name, loss in zip("abcd", (1.0, 2.0, 3.0, 5.0), strict=True)}
    chart = learning_chart([seeds, Shown("d", [member("d")])], rows, "loss")
    assert chart is not None
    shown = [(row["group"], row["split"], row["mean"], row["low"], row["high"]) for row in chart["data"]["values"]]
    assert shown == [("mlp", "training", 2, 1, 3), ("d", "training", 5, 5, 5)]
    assert learning_chart([seeds], {}, "loss") is None


def test_confusion_matrix_has_shares_of_the_actual_class_and_means_over_seeds():
    """Colours of all matrices are on one scale, from 0 to 1."""
    seeds = Shown("mlp", [member("a"), member("b")])
    rows = {"a": confusion([[8, 2], [0, 0]], "xy"), "b": confusion([[6, 4], [0, 0]], "xy")}
    chart = confusion_chart(seeds, rows)
    assert chart is not None
    cells = {(row["actual"], row["predicted"]): (row["images"], row["share"]) for row in chart["data"]["values"]}
    assert cells == {("x", "x"): (7, 0.7), ("x", "y"): (3, 0.3), ("y", "x"): (0, 0), ("y", "y"): (0, 0)}
    assert chart["layer"][0]["encoding"]["color"]["scale"]["domain"] == [0, 1]
    assert confusions(seeds, rows) == [("x", "y", 3)]


def test_confusion_matrix_is_a_table_in_markdown():
    """Empty cells for 0; no class name ends a cell or is HTML; of many classes, the mistakes alone."""
    names = ["a|b", "<i>c", "d"]
    run = Shown("my_run", [member("my_run")])
    lines = confusion_markdown([run], {"my_run": confusion([[8, 2, 0], [0, 1234, 1], [0, 0, 10]], names)}).splitlines()
    assert lines[0] == r"**Confusion matrix of my\_run**: images"
    assert lines[2:] == [
        r"| actual / predicted | a\|b | \<i\>c | d |",
        "|---|---:|---:|---:|",
        r"| a\|b | 8 | 2 |  |",
        r"| \<i\>c |  | 1,234 | 1 |",
        "| d |  |  | 10 |",
    ]
    many = confusion(
        [[int(i == j) or int(j == i + 1) for j in range(30)] for i in range(30)], list(map(str, range(30)))
    )
    assert "| 0 | 1 | 1 |" in confusion_markdown([run], {"my_run": many}).splitlines()


def test_recall_and_precision_have_one_scale():
    """It begins below the lowest of both."""
    rows = {"a": [{"class": "x", "recall": "0.9", "precision": "0.7"}]}
    groups = [Shown("a", [member("a")])]
    scales = [
        chart["layer"][0]["encoding"]["x"]["scale"]["domain"]
        for chart in (class_chart(groups, rows, metric) for metric in ("recall", "precision"))
        if chart
    ]
    assert scales == [[0.66, 1], [0.66, 1]]


def test_reliability_pools_the_bins_of_all_seeds():
    """Weighted by their images; the axes say what they are."""
    rows = {
        "a": [{"confidence": "0.95", "accuracy": "1.0", "images": "30"}],
        "b": [{"confidence": "0.97", "accuracy": "0.6", "images": "10"}],
    }
    groups = [Shown("mlp", [member("a"), member("b")])]
    chart = reliability_chart(groups, rows)
    assert chart is not None
    (bin,) = chart["data"]["values"]
    assert (bin["images"], bin["confidence"], bin["accuracy"]) == pytest.approx((20, 0.955, 0.9))
    assert "probability of the predicted class" in chart["layer"][1]["encoding"]["x"]["title"]
    assert confidence_chart(groups, {}) is None


def test_charts_without_a_value_are_known():
    """DVC's own chart of validation accuracy, where nothing was held out."""
    encoding = {"x": {"field": "epoch", "type": "quantitative"}, "y": {"field": "v", "type": "quantitative"}}
    assert not has_values({"data": {"values": [{"epoch": "1", "v": ""}]}, "encoding": encoding})
    assert has_values({"data": {"values": [{"epoch": "1", "v": "0.5"}]}, "encoding": encoding})


def test_output_of_dvc_plots_is_read(tmp_path):
    """Revisions are in the order in which they were asked for, under the names that DVC gives them."""
    spec = {"data": {"values": [{"rev": "cnn", "a": "1"}, {"rev": "main,HEAD", "a": "2"}]}}
    content = {
        "data": {
            "Loss": [{"type": "vega", "revisions": ["cnn", "main,HEAD"], "content": json.dumps(spec)}],
            "figures/a.png": [{"type": "image", "revisions": ["cnn"], "url": "static/a.png"}],
        },
        "errors": [{"rev": "cnn", "name": "figures/b.png", "type": "FileNotFoundError", "msg": ""}],
    }
    plots = parse_plots(content, ["HEAD", "cnn"], tmp_path)
    assert plots.revisions == ["main,HEAD", "cnn"]
    assert [row["a"] for row in plots.rows["Loss"]["main,HEAD"]] == ["2"]
    assert plots.figures["figures/a.png"]["cnn"].name == "a.png"
    assert plots.missing == ["cnn: figures/b.png"]


SECTIONS = ["Data", "Learning", "Result", "Classes", "Confidence"]


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    """A browser for all pages here, where one is installed."""
    with open_browser(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


def open_report(browser, path, page, width, scheme="light"):
    """Show the page in a window of that width and wait until its charts are drawn."""
    path.write_text(page, "utf-8")
    window = {"width": width, "height": 844, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", window)
    preference = {"name": "prefers-color-scheme", "value": scheme}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [preference]})
    browser.get(path.as_uri())
    all_drawn = "return [...document.querySelectorAll('.chart')].every(chart => chart.dataset.drawn)"
    WebDriverWait(browser, 20).until(lambda b: b.execute_script(all_drawn))


def headings(browser):
    """The sections' titles, from top to bottom."""
    return [each.text for each in browser.find_elements("css selector", "section > h2")]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_page_fits_a_phone_and_answers_in_order(browser, tmp_path, scheme):
    """Two runs on one dataset and one on another: no sideways scroll, and no class name is read as HTML."""
    runs = [member("main"), member("cnn", 1, "cnn"), member("other", dataset="<i>mine</i>")]
    runs[1] = replace(runs[1], name="a-name-that-is-much-too-long-for-a-column-of-a-table")
    groups = [Shown(run.name, [run]) for run in runs]
    open_report(browser, tmp_path / "page.html", make_page(groups, plots_of(runs)), 390, scheme)
    assert browser.execute_script("return document.documentElement.scrollWidth") <= 390
    assert [each.text for each in browser.find_elements("css selector", "h1")] == ["digits", "<i>mine</i>"]
    assert headings(browser) == [*SECTIONS, "Comparison", "Further plots", *SECTIONS]
    charts = browser.find_elements("css selector", ".chart svg")
    # Loss, accuracy, recall, precision, reliability, confidence: 6 per dataset; 3 matrices and a chart of the user's.
    assert len(charts) == 16
    assert all(chart.size["width"] <= 390 for chart in charts)
    assert not [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]


def test_page_has_no_empty_frames_without_validation(browser, tmp_path):
    """The lines of training alone, no line for validation in the key, and no chart without values."""
    runs = [member("main")]
    page = make_page([Shown("main", runs)], plots_of(runs, validation=False))
    open_report(browser, tmp_path / "page.html", page, 1280)
    assert headings(browser) == [*SECTIONS, "Further plots"]
    cards = [each.text for each in browser.find_elements("css selector", ".card h3")]
    assert "Empty" not in cards
    assert "My own" in cards
    keys = [each.text.split() for each in browser.find_elements("css selector", ".key")]
    assert keys == [["training"], ["training"]]
    for chart in browser.find_elements("css selector", ".chart"):
        assert chart.find_elements("css selector", ".mark-line path, .mark-rect path, .mark-symbol path")


def luminance(colour):
    """Relative luminance of `#rrggbb` or `#rgb`, in [0, 1]: WCAG 2.2."""
    digits = colour[1:] if len(colour) == 7 else "".join(digit * 2 for digit in colour[1:])
    parts = [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(first, second):
    """Of two colours: 1 to 21."""
    light, dark = sorted((luminance(first), luminance(second)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("page", ["report", "demo"])
@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_colours_can_be_seen(page, scheme):
    """Text at 4.5 : 1 and lines and bars at 3 : 1, as WCAG 2.2 asks, in light and in dark."""
    style = (PROJECT / "commands" / page / "page.html").read_text("utf-8")
    colours = dict(re.findall(r"(--[\w-]+): (#\w+)", re.findall(r":root \{(.*?)\}", style, re.DOTALL)[scheme]))
    for ground in ("--back", "--card"):
        for text in ("--text", "--quiet", "--bad"):
            assert contrast(colours[text], colours[ground]) >= 4.5, (text, ground)
    marks = [name for name in colours if re.match("--(series|bar|best)", name)]
    assert len(marks) >= 2
    for mark in marks:
        assert contrast(colours[mark], colours["--card"]) >= 3, mark
        assert contrast(colours[mark], colours.get("--track", colours["--card"])) >= 3, mark
