"""How problems and warnings are shown."""

import os

import pytest

from src.sources.findings import Findings
from tests.image_files import load, png, problems_of, put, put_classes, put_images


def test_all_problems_are_shown_together(folder):
    """The first twenty by name, and how many there are."""
    put_classes(folder, "a", "b")
    for i in range(30):
        put(folder, f"a/bad{i:02}.png", "not an image")
    lines = problems_of(folder).splitlines()
    assert lines[0] == "mine: 30 problems; nothing was written"
    assert lines[1].strip().startswith("a/bad00.png: not an image that can be read")
    assert lines[-1].strip() == "... and 10 more"
    assert len(lines) == 22


def test_warnings_are_the_first_twenty(capsys):
    """And how many others there are."""
    findings = Findings()
    for i in range(30):
        findings.warn(f"odd {i}")
    findings.print_warnings()
    assert capsys.readouterr().out.splitlines() == [
        *(f"warning: odd {i}" for i in range(20)),
        "warning: ... and 10 more",
    ]


def test_warnings_of_one_kind_are_one_line(folder, capsys):
    """With an example and their number."""
    put_images(folder, 30)
    put(folder, "labels.csv", "".join(f"{i}.png,{'ab'[i % 2]}\n" for i in range(30)) * 2)
    load(folder)
    warnings = [line for line in capsys.readouterr().out.splitlines() if line.startswith("warning: ")]
    assert len(warnings) == 1
    assert "0.png is listed twice" in warnings[0]
    assert "30 rows" in warnings[0]


def test_name_with_a_line_break_stays_in_its_line(folder):
    """It can't make up a problem."""
    put_classes(folder, "a", "b")
    put(folder, "a/x\n  b: 5 problems\u2028.png", "not an image")
    assert r"a/x\n  b: 5 problems\u2028.png: not an image that can be read" in problems_of(folder)


def test_warning_of_a_name_that_is_not_text_can_be_printed(folder, capsys):
    """Python wouldn't print it where standard output is strict."""
    put_images(folder, 4)
    put(folder, "labels.csv", "0.png,a\n1.png,a\n2.png,b\n3.png,b\n")
    try:
        put(folder, os.fsdecode(b"\xff.png"), png())
    except OSError:
        pytest.skip("this file system takes UTF-8 alone")
    load(folder)
    assert r"images without a row are left out: 1, such as \udcff.png" in capsys.readouterr().out
