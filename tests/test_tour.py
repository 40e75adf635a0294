"""docs/tour.ipynb runs, and prints what is stored in it."""

import re
import subprocess
import sys

import nbformat
import torch

from tests.conftest import PROJECT
from tests.tour import NOTEBOOK


def printed(cell: nbformat.NotebookNode) -> str:
    """What the cell prints; the digits of numbers that another processor may round otherwise are masked."""
    text = "".join(output.get("text", "") for output in cell.outputs if output.get("name") == "stdout")
    return re.sub(r"[0-9]", "#", text) if "varies" in cell.metadata.get("tags", []) else text


def code_cells(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    """Its cells of code."""
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def test_the_tour_prints_what_is_stored(tmp_path):
    """Each cell's text is that of a fresh run, and figures are there where figures are stored."""
    # In a process of its own: the kernel's client leaves sockets open at its end.
    subprocess.run([sys.executable, "-m", "tests.tour", str(tmp_path / "fresh.ipynb")], cwd=PROJECT, check=True)
    stored, fresh = (nbformat.read(path, as_version=4) for path in (NOTEBOOK, tmp_path / "fresh.ipynb"))
    for before, after in zip(code_cells(stored), code_cells(fresh), strict=True):
        if "device" in before.metadata.get("tags", []) and torch.accelerator.is_available():
            continue
        assert printed(after) == printed(before)
        kinds = [[sorted(output.get("data", {})) for output in cell.outputs] for cell in (before, after)]
        assert kinds[0] == kinds[1]
    figures = [
        output for cell in code_cells(stored) for output in cell.outputs if "image/png" in output.get("data", {})
    ]
    assert len(figures) == 2
