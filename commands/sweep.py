"""Run many experiments, each in a clone of HEAD: `python -m commands.sweep -S model=linear,cnn -S 'seed=range(10)'`."""

import argparse
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from commands import count, run_command, warn
from src.errors import MnistryError

if TYPE_CHECKING:
    from src.sweeping.cluster import Outcome
    from src.sweeping.jobs import Job
    from src.sweeping.plan import Plan, Run

PARAMS = Path("params.yaml")
METRICS = Path("metrics/test.json")
SOURCES = Path("data/sources")
CODE = ("dvc.yaml", "src", "stages")
FOLDER = Path(".dvc/tmp/sweep")
LOGS = Path("logs")


def main() -> int:
    """0 where every run came to an experiment, 1 where one did not."""
    arguments = parse_arguments(sys.argv[1:])
    # Ctrl+C raises by itself; so do these, so that whatever ends this program ends its runs.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, end)
    # DVC and Dask take seconds to import: `--help` and wrong arguments don't wait for them.
    from src.sweeping import repository
    from src.sweeping.plan import plan_runs
    from src.sweeping.resume import finished_runs

    if not Path(".dvc").is_dir():
        raise MnistryError(".dvc: no such folder; run from the project's top folder")
    commit = repository.git("rev-parse", "HEAD")
    plan = plan_runs(arguments.set_param, repository.file_at(commit, PARAMS) or "", PARAMS)
    print_plan_size(plan)
    checkout = {name: repository.check_dataset(name, SOURCES) for name in {run.params.dataset for run in plan.runs}}
    inputs = [*CODE, *(f"{SOURCES / name}{suffix}" for name in checkout for suffix in ("", ".dvc"))]
    if not arguments.head:
        refuse_changes(repository.changes([*inputs, str(PARAMS)]))
    if arguments.git:
        repository.fetch_experiments(arguments.git, commit)
    finished = finished_runs(plan.runs, repository.experiments(commit, PARAMS, METRICS, inputs))
    if arguments.dry_run:
        print_plan(plan.runs, finished)
        return 0
    with repository.only_sweep(FOLDER):
        repository.clear_stale_locks(commit, [run.name for run in plan.runs])
        return sweep(arguments, commit, plan.runs, finished, checkout)


def parse_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line's; a wrong one ends with its usage and status 2."""
    parser = argparse.ArgumentParser(
        prog="python -m commands.sweep",
        description="Run an experiment for each combination of params, each in a clone of HEAD.",
    )
    parser.add_argument(
        "-S", "--set-param", action="append", required=True, metavar="NAME=VALUES",
        help="as in `dvc exp run --queue -S`: model=linear,cnn or 'seed=range(10)'; once for each param",
    )  # fmt: skip
    parser.add_argument("--dry-run", action="store_true", help="only list the runs")
    parser.add_argument("--head", action="store_true", help="run HEAD even if the workspace differs from it")
    parser.add_argument("--workers", type=count, metavar="N", help="runs at once (what processors and memory allow)")
    parser.add_argument(
        "--threads", type=count, metavar="N", default=os.environ.get("OMP_NUM_THREADS", "1"),
        help="threads of each run, which decide the last bits of its results (OMP_NUM_THREADS, else 1)",
    )  # fmt: skip
    parser.add_argument(
        "--scheduler", metavar="ADDRESS",
        help="run on this Dask cluster: tcp://node1:8786, or the file of `dask scheduler --scheduler-file`",
    )  # fmt: skip
    parser.add_argument("--git", metavar="URL", help="the repository as workers reach it, with HEAD (this folder)")
    parser.add_argument(
        "--cache", metavar="FOLDER",
        help="this repository's cache as workers reach it (its path here); those that don't use the DVC remote",
    )  # fmt: skip
    parsed = parser.parse_args(arguments)
    if parsed.scheduler and parsed.workers:
        parser.error("--workers: the cluster of --scheduler has its own")
    return parsed


def end(number: int, _: FrameType | None) -> None:
    """End the program as a shell would say that the signal ended it, after all that has to be cleared away."""
    sys.exit(128 + number)


def refuse_changes(changed: Sequence[str]) -> None:
    """Raise MnistryError where files that runs read differ from the commit that they get."""
    if changed:
        raise MnistryError(
            f"{', '.join(changed)}: not as in HEAD, which a sweep runs; commit, or run HEAD as it is with --head"
        )


def print_plan_size(plan: "Plan") -> None:
    """How many runs the options come to, and why not more."""
    runs = len(plan.runs)
    left_out = plan.combinations - runs
    if left_out:
        print(
            f"{plan.combinations} combinations, {runs} runs: {left_out} differ from others only in params "
            "of models that they don't train, or not at all",
            flush=True,
        )


def print_plan(runs: Sequence["Run"], finished: Mapping[str, float]) -> None:
    """Each run's name, what it sets, and its accuracy where it is finished."""
    width = max(len(run.name) for run in runs)
    for run in runs:
        done = f"  (finished, accuracy {finished[run.name]:.4f})" if run.name in finished else ""
        print(f"{run.name:{width}}  {' '.join(run.overrides)}{done}")


def sweep(
    arguments: argparse.Namespace,
    commit: str,
    runs: Sequence["Run"],
    finished: Mapping[str, float],
    checkout: Mapping[str, tuple[str, ...]],
) -> int:
    """Do the runs that are not finished; the exit status."""
    from src.sweeping import cluster
    from src.sweeping.jobs import group_jobs, make_jobs
    from src.sweeping.repository import dvc, marked

    left = [run for run in runs if run.name not in finished]
    if finished:
        print(f"{len(finished)} of {len(runs)} runs are finished", flush=True)
    if not left:
        return 0
    logs = LOGS / commit[:7]
    cache = Path(dvc("cache", "dir").strip()).resolve()
    workers = min(arguments.workers or cluster.default_workers(arguments.threads), len(left))
    opened = (
        cluster.remote_cluster(arguments.scheduler)
        if arguments.scheduler
        else cluster.local_cluster(workers, FOLDER.resolve() / "workers")
    )
    with opened as client, marked(logs, cache) as marker:
        jobs = make_jobs(left, shared_by_jobs(arguments, commit, cache, marker), logs.resolve(), checkout)
        outcomes = cluster.dispatch(client, group_jobs(left, jobs))
        workers = cluster.count_workers(client)
        print(f"workers: {workers}, threads of each run: {arguments.threads}, logs in {logs}/", flush=True)
        if not workers:
            warn(f"--scheduler {arguments.scheduler}: no workers yet; waiting for them")
        with closing(outcomes):
            failed = follow(outcomes, len(runs), len(finished), logs, lambda name: fetch(arguments.git, commit, name))
    if failed:
        warn(f"{failed} of {len(runs)} runs failed; the same command tries them again, and only them", "error")
    return 1 if failed else 0


def shared_by_jobs(arguments: argparse.Namespace, commit: str, cache: Path, marker: str) -> "Job":
    """A job with what all have in common.

    cache: DVC's, here. marker: the file in it and in the folder of the logs.
    """
    from src.sweeping.jobs import Job, environment_of_runs
    from src.sweeping.repository import default_remote, identity

    return Job(
        git=arguments.git or str(Path.cwd()),
        commit=commit,
        cache=arguments.cache or str(cache),
        marker=marker,
        remote=default_remote(commit),
        metrics=METRICS.as_posix(),
        params=PARAMS.as_posix(),
        identity=identity(),
        environment=environment_of_runs(arguments.threads),
    )


def fetch(url: str | None, commit: str, name: str) -> None:
    """Bring the experiment here from the repository that it was pushed to, where that is another."""
    from src.sweeping.repository import fetch_experiments

    if url:
        try:
            fetch_experiments(url, commit, name)
        except MnistryError as error:
            warn(f"{name}: is there, but not here; the same command tries to bring it again ({error})")


def follow(
    outcomes: Iterable["Outcome"], total: int, done: int, logs: Path, fetch_experiment: Callable[[str], None]
) -> int:
    """Print a line for each run as it ends, with a bar below where there is a terminal; how many failed."""
    from tqdm import tqdm

    failed = 0
    # The mean speed, not that of the last runs: they end in bursts.
    with tqdm(
        total=total, initial=done, desc="sweep", unit="run", smoothing=0, disable=None, dynamic_ncols=True
    ) as bar:
        start = time.monotonic()
        for ended, outcome in enumerate(outcomes, start=1):
            if outcome.log is not None:
                (logs / f"{outcome.name}.log").write_text(outcome.log, "utf-8")
            if outcome.error is None:
                fetch_experiment(outcome.name)
            failed += outcome.error is not None
            left = (time.monotonic() - start) / ended * (total - done - ended)
            with bar.external_write_mode():
                print(f"{done + ended}/{total} {describe(outcome)}; {tqdm.format_interval(left)} left", flush=True)
            bar.update()
    return failed


def describe(outcome: "Outcome") -> str:
    """What came of a run."""
    if outcome.error is not None:
        return f"{outcome.name}: failed: {outcome.error}"
    return f"{outcome.name}: accuracy {outcome.accuracy:.4f}, {outcome.seconds:.1f} s"


if __name__ == "__main__":
    run_command(main)
