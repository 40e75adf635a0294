"""What `dvc plots` knows of the revisions: rows of the plots' files, charts and figures."""

import json
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from src.errors import MnistryError
from src.revisions import WORKSPACE

Row = dict[str, str]


@dataclass(frozen=True)
class Plots:
    """All plots of dvc.yaml.

    revisions: in the order to show them. rows: of each chart, by its name in dvc.yaml and by revision. specs: of each
    chart, by its name, in Vega-Lite, from DVC's template. figures: files, by their path in the project and by revision.
    missing: what DVC couldn't read, in words.
    """

    revisions: Sequence[str]
    rows: dict[str, dict[str, list[Row]]]
    specs: dict[str, dict[str, Any]]
    figures: dict[str, dict[str, Path]]
    missing: Sequence[str]
    folder: Path

    def remove_files(self) -> None:
        """Remove the figures' copies."""
        shutil.rmtree(self.folder, ignore_errors=True)


def read_plots(revisions: Sequence[str], folder: Path) -> Plots:
    """The plots of the revisions: none means the workspace, and one is compared with the workspace.

    folder: for copies of the figures. Raises MnistryError where DVC fails.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    verb = "diff" if revisions else "show"
    command = ["dvc", "plots", verb, *revisions, "--json", "--out", str(folder)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        raise MnistryError(f"`{' '.join(command)}` failed: {result.stderr.strip()}")
    plots = parse_plots(json.loads(result.stdout), revisions, folder)
    if not plots.revisions:
        raise MnistryError("no plots to show; run `dvc repro` first")
    return plots


def parse_plots(content: dict[str, Any], revisions: Sequence[str], folder: Path) -> Plots:
    """The plots in the output of `dvc plots diff --json`."""
    rows: dict[str, dict[str, list[Row]]] = {}
    specs: dict[str, dict[str, Any]] = {}
    figures: dict[str, dict[str, Path]] = {}
    found: dict[str, None] = {}
    for name, entries in content.get("data", {}).items():
        for entry in entries:
            found |= dict.fromkeys(entry["revisions"])
            if entry["type"] == "image":
                figures.setdefault(name, {})[entry["revisions"][0]] = Path(entry["url"])
            else:
                spec = entry["content"] if isinstance(entry["content"], dict) else json.loads(entry["content"])
                specs[name] = spec
                for row in spec["data"]["values"]:
                    rows.setdefault(name, {}).setdefault(row["rev"], []).append(row)
    missing = [f"{each['rev']}: {each.get('name') or each.get('source')}" for each in content.get("errors", [])]
    # Two names of one commit are one revision, which DVC calls by both.
    asked = [name for given in revisions for name in found if given in name.split(",")]
    order = dict.fromkeys([*asked, *(name for name in found if name != WORKSPACE), *found])
    return Plots(list(order), rows, specs, figures, missing, folder)
