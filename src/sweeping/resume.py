"""Which runs of a sweep are done already."""

import json
from collections.abc import Iterable, Mapping

import yaml
from pydantic import ValidationError

from src.errors import MnistryError
from src.params import Params
from src.sweeping.plan import Run, effective_params
from src.sweeping.repository import Experiment


def finished_runs(runs: Iterable[Run], experiments: Mapping[str, Experiment]) -> dict[str, float]:
    """The accuracies of the runs that have an experiment, by name.

    Raises MnistryError where an experiment has a run's name but other params, or came of other code.
    """
    named = [(run, experiments[run.name]) for run in runs if run.name in experiments]
    others = [run.name for run, experiment in named if not _is_of(experiment, run)]
    if others:
        listed = " ".join(others)
        raise MnistryError(
            f"{listed}: experiments of these names exist, of other params or of code that wasn't committed; remove "
            f"them with `dvc exp remove {listed}`, or give them other names with `dvc exp rename`"
        )
    return {run.name: float(json.loads(experiment.metrics or "")["accuracy"]) for run, experiment in named}


def _is_of(experiment: Experiment, run: Run) -> bool:
    """If the experiment is what the run would come to."""
    if not (experiment.same_inputs and experiment.params and experiment.metrics):
        return False
    try:
        params = Params.model_validate(yaml.safe_load(experiment.params))
    except (yaml.YAMLError, ValidationError):
        return False
    return effective_params(params) == effective_params(run.params)
