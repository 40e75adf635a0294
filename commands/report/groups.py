"""The revisions that a page shows, and which of them are seeds of one group."""

import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from src.errors import MnistryError
from src.experiments import flatten
from src.revisions import WORKSPACE, Revision
from src.summaries import Group, Run, named

FEWEST_SEEDS = 3
"""That make a group: two are shown one by one."""
METRICS = ("dataset", "train", "test")
"""Files of metrics/."""


@dataclass(frozen=True)
class Shown:
    """What is shown in one colour: a revision, or several that differ in their seeds or folds alone.

    name: what tells it from the others. settings: its params but for seed and fold.
    """

    name: str
    runs: Sequence[Run]

    @property
    def revisions(self) -> list[str]:
        """The names of its revisions."""
        return [run.name for run in self.runs]

    @property
    def dataset(self) -> str:
        """That it was trained on."""
        return str(self.runs[0].params.get("dataset", "no dataset"))

    @property
    def model(self) -> str:
        """The architecture's name."""
        return str(self.runs[0].params.get("model", "no model"))

    def values(self, metric: str) -> list[float]:
        """The metric of each of its runs that has it; metric: such as `test:accuracy`."""
        return [run.metrics[metric] for run in self.runs if metric in run.metrics]


def read_member(label: str) -> Run:
    """The revision's params and metrics; those that it lacks are left out. label: as DVC calls it."""
    revision = Revision(label.split(",")[0])
    sha = "" if revision.name == WORKSPACE else revision.sha
    params = yaml.safe_load(_read(revision, "params.yaml", "{}")) or {}
    metrics = {
        f"{name}:{key}": value
        for name in METRICS
        for key, value in flatten(json.loads(_read(revision, f"metrics/{name}.json", "{}")))
        if isinstance(value, int | float)
    }
    return Run(label, sha, _parent(sha), dict(flatten(params)), metrics)


def _read(revision: Revision, path: str, otherwise: str) -> str:
    try:
        return revision.read_text(path)
    except MnistryError:
        return otherwise


def _parent(sha: str) -> str:
    """The commit that an experiment started from; empty for the workspace."""
    command = ["git", "rev-parse", "--verify", "--quiet", f"{sha}^"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip() if sha else WORKSPACE


def group_members(runs: Sequence[Run]) -> list[Shown]:
    """The runs, in their order; those of FEWEST_SEEDS or more seeds of the same settings and commit are one."""
    members: dict[str, list[Run]] = {}
    for run in runs:
        key = repr((run.commit, sorted(run.settings.items())))
        twins = [each for each in members.get(key, ()) if each.repeat == run.repeat]
        members.setdefault(f"{key} {run.name}" if twins else key, []).append(run)
    many = [Group(each, {run.repeat: 0.0 for run in each}) for each in members.values() if len(each) >= FEWEST_SEEDS]
    names = {group.runs[0].name: group.name for group in named(many)}
    shown: list[Shown] = []
    for each in members.values():
        if each[0].name in names:
            shown.append(Shown(f"{names[each[0].name]}, {len(each)} seeds", each))
        else:
            shown += [Shown(run.name, [run]) for run in each]
    return shown


def differing_params(groups: Sequence[Shown]) -> list[tuple[str, list[str]]]:
    """Each param that is not the same in all groups, with its values in each; `-` where a group has no such param.

    The recipes of the models that were trained are compared, whichever models they are; other models' are left out.
    """
    recipes = [[_own_params(run) for run in group.runs] for group in groups]
    names = dict.fromkeys(name for group in recipes for params in group for name in params)
    rows = []
    for name in names:
        values = [", ".join(dict.fromkeys(str(params.get(name, "-")) for params in group)) for group in recipes]
        if len(set(values)) > 1:
            rows.append((name, values))
    return rows


def _own_params(run: Run) -> dict[str, Any]:
    """The run's params, those of its model under `recipe`, those of other models left out."""
    own = f"models.{run.params.get('model')}."
    return {
        name.replace(own, "recipe.", 1): value
        for name, value in run.params.items()
        if name.startswith(own) or not name.startswith("models.")
    }
