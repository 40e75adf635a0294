"""What workers are given to do for the runs of a sweep."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from src.sweeping.plan import Run

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
PREPARING_STAGE = "normalize"
"""The last stage whose results all runs on a dataset share."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """What a worker needs to know for a run; src/sweeping/execution.py does it."""

    name: str = ""
    overrides: tuple[str, ...] = ()
    log: str = ""
    """The file's path here; it is used where the worker has this folder."""
    checkout: tuple[str, ...] = ()
    """The .dvc files of the run's dataset."""
    targets: tuple[str, ...] = ()
    """The last stages to run; all of them where there are none."""
    git: str
    """Path or URL of the repository, as workers reach it."""
    commit: str
    cache: str
    """DVC's, as workers reach it."""
    marker: str
    """The file in the folder of the logs and in the cache by which workers see whether they have these, or others."""
    remote: str
    """DVC's default one in the commit, for workers that don't have the cache; empty where there is none."""
    metrics: str
    """The file that has the accuracy; nothing is pushed where there is none."""
    params: str
    identity: dict[str, str]
    """Git's, for the experiment's commit."""
    environment: dict[str, str]


def make_jobs(runs: Iterable[Run], shared: Job, logs: Path, checkout: Mapping[str, tuple[str, ...]]) -> list[Job]:
    """A job for each run.

    shared: what they have in common. checkout: the .dvc files of each dataset.
    """
    return [
        replace(
            shared,
            name=run.name,
            overrides=run.overrides,
            log=str(logs / f"{run.name}.log"),
            checkout=checkout[run.params.dataset],
        )
        for run in runs
    ]


Group = tuple[Job | None, list[Job]]
"""A job that prepares what others share, and those."""


def group_jobs(runs: Iterable[Run], jobs: Iterable[Job]) -> list[Group]:
    """The runs' jobs by what they share: the dataset as it is normalized.

    Where several do, one job prepares it, so that they find it in the cache instead of each fetching it.
    """
    groups: dict[str, list[Job]] = {}
    for run, job in zip(runs, jobs, strict=True):
        shared = repr((run.params.dataset, run.params.normalize, run.params.figures))
        groups.setdefault(shared, []).append(job)
    return [(_preparation(jobs[0]) if len(jobs) > 1 else None, jobs) for jobs in groups.values()]


def _preparation(job: Job) -> Job:
    log = Path(job.log).with_name(f"prepare-{Path(job.log).name}")
    return replace(job, targets=(PREPARING_STAGE,), metrics="", log=str(log))


def environment_of_runs(threads: int) -> dict[str, str]:
    """What runs get on any worker: the number of threads, and this project's own settings."""
    own = {name: value for name, value in os.environ.items() if name.startswith("MNISTRY_")}
    mirror = Path(own.get("MNISTRY_MIRROR", ""))
    if "MNISTRY_MIRROR" in own and mirror.is_dir():
        # Runs are elsewhere.
        own["MNISTRY_MIRROR"] = str(mirror.resolve())
    return own | dict.fromkeys(THREAD_VARIABLES, str(threads))
