"""One run of a sweep, as a program: reads a job as JSON on standard input, and prints as JSON what came of it.

Workers run it as `python -c <this text>`: they need Git, DVC and the project's environment, but neither the project's
folder nor its package, so it imports nothing of it. It goes on reading standard input. Where that ends before the run,
the worker was killed or nobody wants the run any more: then its processes and its folder go.
"""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, TextIO

from platformdirs import user_cache_path

CONFIG = """[cache]
    dir = {cache}
    type = "reflink,hardlink,copy"
[core]
    analytics = false
    check_update = false
    site_cache_dir = {site}
"""
"""Of DVC in a clone. Nothing of it is outside of the clone's folder but the cache; its files are linked, not copied."""
MISSING = "Checkout failed"
"""What DVC says where neither cache nor remote has a content, and where the remote doesn't answer."""
GIVE_UP_SECONDS = 5
"""Within which killed processes let go of their folder."""


class RunError(Exception):
    """Says why there is no result."""


class Commands:
    """Runs commands in the clone, one at a time, until it is told to stop."""

    def __init__(self, folder: Path, environment: dict[str, str], log: TextIO):
        self.folder, self.environment, self.log = folder, environment, log
        self._process: subprocess.Popen | None = None
        self._lock = threading.Lock()

    def run(self, *command: str) -> None:
        """Run the command with its output in the log; raises RunError with the last line where it fails."""
        self.log.write(f"$ {' '.join(command)}\n")
        self.log.flush()
        start = self.log.tell()
        with self._lock:
            # In a session of its own, so that all its processes can be killed at once.
            self._process = subprocess.Popen(
                command,
                cwd=self.folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=self.log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        status = self._process.wait()
        with self._lock:
            self._process = None
        self.log.seek(0, os.SEEK_END)
        if status:
            self.log.seek(start)
            raise RunError(last_error(self.log.read()) or f"{command[0]} ended with status {status}")

    def stop(self) -> None:
        """Kill what runs, and let nothing else start: whoever waits for it waits for ever."""
        self._lock.acquire()
        if self._process:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)


def last_error(output: str) -> str:
    """The last line of what failed: what precedes DVC's words that it did, unless that is only the stage's command.

    Of what DVC itself failed at, its last error: what follows, it says of any.
    """
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    for i, line in enumerate(lines):
        if line.startswith("ERROR: failed to reproduce"):
            return lines[i - 1] if i and not lines[i - 1].startswith("> ") else line
    return next((line for line in reversed(lines) if line.startswith("ERROR: ")), lines[-1] if lines else "")


def perform(job: dict[str, Any], commands: Commands) -> float | None:
    """Clone, run the experiment and push it; its accuracy, if the job asks for it. Raises RunError.

    Outputs go into the sweep's cache, or, where this host has another disk, into the DVC remote.
    """
    dvc = (sys.executable, "-m", "dvc")
    shares_cache = is_shared(Path(job["cache"]), job)
    check_ways(job, shares_cache)
    clone_commit(job, commands)
    configure_clone(commands.folder, Path(job["cache"]) if shares_cache else own_cache())
    if job["checkout"]:
        bring_images(job, commands, "checkout" if shares_cache else "pull")
    changes = [part for override in job["overrides"] for part in ("--set-param", override)]
    pull = [] if shares_cache else ["--pull"]
    commands.run(*dvc, "exp", "run", *pull, "--name", job["name"], *changes, *job["targets"])
    if not shares_cache:
        # Before the experiment: once that is there, nobody does this run again.
        prepared = ["--run-cache", "--with-deps"] if job["targets"] else []
        commands.run(*dvc, "push", *prepared, *(job["targets"] or ["dvc.yaml"]))
    if not job["metrics"]:
        return None
    accuracy = json.loads((commands.folder / job["metrics"]).read_text("utf-8"))["accuracy"]
    commands.run(*dvc, "exp", "push", "--no-cache", "origin", job["name"])
    check_pushed(job, commands)
    return float(accuracy)


def is_shared(folder: Path, job: dict[str, Any]) -> bool:
    """If the folder is the sweep's own: this host may have another one of the same path."""
    return (folder / str(job["marker"])).exists()


def own_cache() -> Path:
    """Where this host keeps what its runs need and make, if it shares no cache with the sweep."""
    return user_cache_path("mnistry", appauthor=False) / "dvc"


def check_ways(job: dict[str, Any], shares_cache: bool) -> None:
    """Raise RunError where this host has no way to the code, or none for data and results."""
    host, logs = socket.gethostname(), Path(job["log"]).parent
    # The sweep's own folder, where --git names no other place, has the logs in it.
    if logs.is_relative_to(job["git"]) and not is_shared(logs, job):
        raise RunError(
            f"{host} doesn't have the sweep's {job['git']}; name the repository as it is reached by --git URL"
        )
    if not (shares_cache or job["remote"]):
        raise RunError(
            f"{host} doesn't have the sweep's {job['cache']}, and HEAD names no DVC remote; `dvc remote add -d` one "
            "and commit, or name the cache as workers reach it by --cache FOLDER"
        )


def clone_commit(job: dict[str, Any], commands: Commands) -> None:
    """Clone the repository, at the sweep's commit; raises RunError."""
    identity = [f"--config={key}={value}" for key, value in job["identity"].items()]
    commands.run("git", "clone", "--quiet", "--no-checkout", *identity, job["git"], str(commands.folder))
    try:
        commands.run("git", "cat-file", "-e", f"{job['commit']}^{{commit}}")
    except RunError:
        raise RunError(f"{job['git']} doesn't have the commit {job['commit'][:7]}; `git push` it there") from None
    commands.run("git", "checkout", "--quiet", "--detach", job["commit"])


def bring_images(job: dict[str, Any], commands: Commands, way: str) -> None:
    """Have DVC check out or pull the dataset; raises RunError."""
    try:
        commands.run(sys.executable, "-m", "dvc", way, *job["checkout"])
    except RunError as error:
        if MISSING not in str(error):
            raise
        names, place = " ".join(job["checkout"]), "remote" if way == "pull" else "cache"
        remedy = f"`dvc push {names}` in a clone that has it" if way == "pull" else f"`dvc pull {names}`"
        raise RunError(f"{names}: the DVC {place} doesn't have all of it; run {remedy}") from None


def configure_clone(clone: Path, cache: Path) -> None:
    """Make DVC in the clone use the cache."""
    site = clone / ".dvc" / "tmp" / "site"
    text = CONFIG.format(cache=json.dumps(str(cache), ensure_ascii=False), site=json.dumps(str(site)))
    (clone / ".dvc" / "config.local").write_text(text, "utf-8")


def check_pushed(job: dict[str, Any], commands: Commands) -> None:
    """Raise RunError where another experiment has the name: DVC only says so, and ends as if it had pushed.

    An experiment of the same params is this run's, by a worker that was thought dead.
    """
    reference = f"refs/exps/{job['commit'][:2]}/{job['commit'][2:]}/{job['name']}"
    try:
        commands.run("git", "fetch", "--quiet", "origin", reference)
        commands.run("git", "diff", "--quiet", "FETCH_HEAD", reference, "--", job["params"])
    except RunError:
        raise RunError(f"{job['git']} has no experiment {job['name']} of these params; see the log") from None


def main() -> None:
    """Do the job that standard input names."""
    job = json.loads(sys.stdin.readline())
    folder, log = Path(job["folder"]), Path(job["log"])
    folder.mkdir(parents=True, exist_ok=True)
    # Where the log's place is not here, its text travels with the result.
    travels = not is_shared(log.parent, job)
    with (folder / "log" if travels else log).open("a+", encoding="utf-8", errors="replace") as file:
        file.write(f"{job['name']} on {socket.gethostname()}, {time.strftime('%Y-%m-%d %H:%M:%S')}, ")
        file.write(f"threads: {job['environment']['OMP_NUM_THREADS']}\n")
        start, offset = time.monotonic(), file.tell()
        (folder / "clone").mkdir()
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
        commands = Commands(folder / "clone", os.environ | job["environment"] | {"PATH": path}, file)
        threading.Thread(target=give_up_at_end_of_input, args=(commands, folder), daemon=True).start()
        result: dict[str, Any] = {"name": job["name"], "accuracy": None, "error": None, "log": None}
        try:
            result["accuracy"] = perform(job, commands)
        except (RunError, OSError, ValueError, KeyError) as error:
            result["error"] = str(error)
        file.seek(offset)
        result |= {"seconds": time.monotonic() - start, "log": file.read() if travels else None}
    print(json.dumps(result), flush=True)
    shutil.rmtree(folder, ignore_errors=True)


def give_up_at_end_of_input(commands: Commands, folder: Path) -> None:
    """Wait for it; then kill the run, remove its folder and exit."""
    # Not by sys.stdin, whose lock this thread would hold when the program ends.
    while os.read(0, 1024):
        pass
    commands.stop()
    deadline = time.monotonic() + GIVE_UP_SECONDS
    while folder.exists() and time.monotonic() < deadline:
        # What was killed may take a moment to end, and Dask may be removing the same files.
        shutil.rmtree(folder, ignore_errors=True)
        time.sleep(0.05)
    os._exit(1)


if __name__ == "__main__":
    main()
