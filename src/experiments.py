"""The experiments that DVC knows, with their params, metrics and histories."""

import csv
import io
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from dvc.exceptions import DvcException
from dvc.repo import Repo
from dvc.scm import SCMError

from src.errors import MnistryError
from src.summaries import Run


def read_experiments(
    revisions: Sequence[str], commits: int = 1, all_commits: bool = False
) -> tuple[list[Run], list[str]]:
    """The experiments that started from those Git revisions, and what others came to, in words.

    commits: how many, counted back from each revision. all_commits: of whatever commit. Raises MnistryError where there
    is no such revision, or no DVC project.
    """
    try:
        with Repo(".") as repo:
            states = repo.experiments.show(
                revs=list(revisions) or None, num=commits, all_commits=all_commits, hide_workspace=True
            )
    except (DvcException, SCMError) as error:
        raise MnistryError(f"{error}; expected Git revisions of a DVC project") from None
    runs: list[Run] = []
    others: list[str] = []
    for baseline in states:
        for experiment in baseline.experiments or []:
            state = experiment.executor.state if experiment.executor else "success"
            for each in experiment.revs[:1]:
                name = each.name or each.rev[:7]
                if each.data is None or state != "success":
                    others.append(f"{name}: {state if state != 'success' else each.error and each.error.msg}")
                else:
                    runs.append(_run(name, baseline.rev, each))
    # An experiment of a commit that two branches have is listed with each.
    return sorted({run.revision: run for run in runs}.values(), key=lambda run: run.name), sorted(set(others))


def _run(name: str, commit: str, state: Any) -> Run:
    params: dict[str, Any] = {}
    for file in state.data.params.values():
        params |= dict(flatten(file.get("data", {})))
    metrics = {
        f"{path}:{key}": value
        for path, file in state.data.metrics.items()
        for key, value in flatten(file.get("data", {}))
        if isinstance(value, int | float)
    }
    return Run(name, state.rev, commit, params, metrics)


def flatten(section: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The values of nested mappings, each with its dotted name."""
    for name, value in section.items():
        if isinstance(value, Mapping):
            yield from flatten(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def read_history(revision: str, path: str = "metrics/history.csv") -> list[dict[str, float]]:
    """The rows of a run's history, without the cells that are empty; none where Git has no such file there."""
    command = ["git", "show", f"{revision}:./{path}"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    rows = csv.DictReader(io.StringIO(result.stdout if result.returncode == 0 else ""))
    return [{name: float(value) for name, value in row.items() if value} for row in rows]
