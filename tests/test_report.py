"""The page of plots and the templates of its charts; test_pipeline.py opens the page in a browser."""

import json
import re

import pytest
import vl_convert
from dvc_render.vega import VegaRenderer

from commands.report import CHARTS, escape_data
from tests.conftest import PROJECT


def drawn(template, rows, **columns):
    """The chart as SVG, drawn from our template as DVC fills it."""
    rows = [{"rev": "workspace", "filename": "a.csv", "field": columns["y"], **row} for row in rows]
    renderer = VegaRenderer(rows, "chart", template=template, template_dir=str(PROJECT / ".dvc/plots"), **columns)
    return vl_convert.vegalite_to_svg(renderer.get_filled_template(), vl_version="5.20")


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


def test_class_names_cannot_end_the_script_that_they_stand_in():
    """What follows them and what looks alike before the charts stays as it is."""
    spec = {"values": ["</script><b>", "var spec = {"]}
    page = f"<script>var spec = </b></script>{CHARTS}<script>var spec = {json.dumps(spec)};</script></div>"
    before, after = escape_data(page).split(CHARTS)
    assert before == "<script>var spec = </b></script>"
    assert after.count("</script>") == 1
    assert json.loads(after.removeprefix("<script>var spec = ").removesuffix(";</script></div>")) == spec
