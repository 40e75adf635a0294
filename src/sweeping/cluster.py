"""The workers of a sweep: a Dask cluster of this machine or any other, and the dispatch of runs to it."""

import json
import logging
import shutil
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import cloudpickle
import dask
from dask.system import CPU_COUNT
from distributed import Client, Future, KilledWorker, LocalCluster, Security, as_completed, get_worker
from distributed.system import MEMORY_LIMIT

from src.errors import MnistryError
from src.sweeping import execution
from src.sweeping.jobs import Group, Job

MEMORY_PER_RUN = 2 * 2**30
"""Bytes: torch takes 0.5 GB before it trains anything."""
NO_PAGES: dict[str, list[str]] = {"distributed.scheduler.http.routes": [], "distributed.worker.http.routes": []}
"""Dask's setting that leaves its web servers nothing to show."""
IGNORE_CTRL_C = "import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\n"
"""What workers run first: a terminal sends Ctrl+C to them as well, but it is the sweep that ends them."""
CONNECT_SECONDS = 10
POLL_SECONDS = 0.5
"""Between looks at whether a run has ended or is no longer wanted."""


@dataclass(frozen=True)
class Outcome:
    """What came of a run: the accuracy, or the line that says why there is none."""

    name: str
    accuracy: float | None
    error: str | None
    seconds: float
    log: str | None
    """What the run printed, where its worker couldn't write the log."""


def default_workers(threads: int) -> int:
    """As many runs at once as the processors that this program may use, and the memory, are enough for."""
    return int(max(1, min(CPU_COUNT // threads, MEMORY_LIMIT // MEMORY_PER_RUN)))


@contextmanager
def local_cluster(workers: int, folder: Path) -> Iterator[Client]:
    """A client of a new cluster on this machine, one run at a time per worker, their files in the folder.

    It listens on the loopback alone, and only to those who have its keys: whoever could reach a scheduler without
    keys could run programs as this user.
    """
    # What a killed sweep left: its workers' folders, with clones in them.
    shutil.rmtree(folder, ignore_errors=True)
    # Runs are processes of their own: Dask doesn't see their memory, and shouldn't judge by its own.
    with (
        _removed_when_left(folder),
        dask.config.set(NO_PAGES),
        LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            processes=True,
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0",
            memory_limit=0,
            security=Security.temporary(),
            local_directory=str(folder),
            preload=[IGNORE_CTRL_C],
            silence_logs=logging.CRITICAL,
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client


@contextmanager
def _removed_when_left(folder: Path) -> Iterator[None]:
    """The folder goes in the end; the clones in it are left to their runs, which end first, for a moment."""
    try:
        yield
    finally:
        deadline = time.monotonic() + execution.GIVE_UP_SECONDS
        while any(folder.glob("*/worker-*/run-*")) and time.monotonic() < deadline:
            time.sleep(0.05)
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def remote_cluster(address: str) -> Iterator[Client]:
    """A client of the cluster whose scheduler has the address, or wrote the file; raises MnistryError without one."""
    # It prints a traceback where the scheduler goes; each run says it in a line.
    logging.getLogger("distributed.client").setLevel(logging.CRITICAL)
    place = {"scheduler_file": address} if Path(address).is_file() else {"address": address}
    try:
        client = Client(**place, timeout=CONNECT_SECONDS)
    except (OSError, ValueError, ImportError, KeyError) as error:
        raise MnistryError(
            f"--scheduler {address}: no Dask scheduler answers ({str(error).splitlines()[0]}); expected an address "
            "such as tcp://node1:8786, or the file that `dask scheduler --scheduler-file` writes"
        ) from None
    with client:
        yield client


def count_workers(client: Client) -> int:
    """How many runs its workers do at once."""
    return sum(client.nthreads().values())


def dispatch(client: Client, groups: Sequence[Group]) -> Generator[Outcome, None, None]:
    """Run all jobs, those of a group after what prepares it, and yield what came of them as they end."""
    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    source = Path(execution.__file__).read_text("utf-8")
    waiting: dict[str, list[Job]] = {}
    futures = as_completed()
    for preparation, jobs in groups:
        if preparation:
            future = _submit(client, source, preparation)
            waiting[str(future.key)] = jobs
            futures.add(future)
        else:
            futures.update([_submit(client, source, job) for job in jobs])
    try:
        for future in futures:
            outcome = outcome_of(future)
            if str(future.key) not in waiting:
                yield outcome
            elif outcome.error:
                yield from (Outcome(job.name, None, outcome.error, 0, outcome.log) for job in waiting[str(future.key)])
            else:
                futures.update([_submit(client, source, job) for job in waiting[str(future.key)]])
    finally:
        client.cancel(list(futures.futures))


def _submit(client: Client, source: str, job: Job) -> Future:
    # A key of its own each time: under one that a lost client submitted, Dask would take that one's task for this.
    key = f"{job.name}-{uuid.uuid4()}"
    return client.submit(execute, source, json.dumps(asdict(job)), key=key, pure=False)


def outcome_of(future: Future) -> Outcome:
    """What came of a run that ended, or was lost by Dask."""
    name = str(future.key).rsplit("-", 5)[0]
    try:
        return Outcome(**json.loads(future.result()))
    except KilledWorker as error:
        times = error.allowed_failures + 1
        return Outcome(name, None, f"its worker was killed {times} times; out of memory?", 0, None)
    except CancelledError:
        return Outcome(name, None, "lost by the scheduler", 0, None)
    except RuntimeError as error:
        return Outcome(name, None, str(error), 0, None)


def execute(source: str, job: str) -> str:
    """The outcome, as JSON, of the job: what `source`, execution.py's text, makes of it in a process of its own.

    Workers get this function by its text as well. The process ends where its standard input does: with this worker,
    or here, where the client is gone or doesn't want the run any more.
    """
    worker = get_worker()
    key = worker.get_current_task()
    folder = tempfile.mkdtemp(prefix="run-", dir=worker.local_directory)
    command = [sys.executable, "-c", source]
    with (
        tempfile.TemporaryFile("w+", encoding="utf-8") as output,
        # In a session of its own: what kills this worker's whole group leaves it the time to clear up.
        subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=output, stderr=output, text=True, start_new_session=True
        ) as process,
    ):
        assert process.stdin is not None
        process.stdin.write(json.dumps(json.loads(job) | {"folder": folder}) + "\n")
        process.stdin.flush()
        while process.poll() is None:
            task = worker.state.tasks.get(key)
            if task is None or task.state == "cancelled":
                raise RuntimeError("no longer wanted")
            with suppress(subprocess.TimeoutExpired):
                process.wait(POLL_SECONDS)
        output.seek(0)
        lines = output.read().splitlines()
    if process.returncode or not lines:
        raise RuntimeError(f"the run's process ended with status {process.returncode}: {' '.join(lines[-1:])}")
    return lines[-1]
