"""What a sweep needs to know of the repository: its commit, what differs from it, its experiments, its lock."""

import configparser
import fcntl
import json
import subprocess
import sys
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from src.errors import MnistryError, suggest


@dataclass(frozen=True)
class Experiment:
    """One that DVC knows, with the texts of its params and metrics, None where it has no such file."""

    name: str
    params: str | None
    metrics: str | None
    same_inputs: bool
    """If all that its runs read, but for the params, is as in the commit that it is derived from."""


def git(*arguments: str) -> str:
    """What Git prints, without the last line's end; raises MnistryError with what it says where it fails."""
    return _output("git", *arguments)


def dvc(*arguments: str) -> str:
    """What DVC prints; raises MnistryError with what it says where it fails."""
    return _output(sys.executable, "-m", "dvc", *arguments)


def _output(*command: str) -> str:
    result = subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace", check=False)
    if result.returncode:
        message = " ".join(result.stderr.split()) or f"ended with status {result.returncode}"
        raise MnistryError(f"{' '.join(command)}: {message}")
    return result.stdout.removesuffix("\n")


def file_at(commit: str, path: str | Path) -> str | None:
    """The file's text in the commit; None where it isn't there."""
    try:
        return git("show", f"{commit}:{Path(path).as_posix()}")
    except MnistryError:
        return None


def changes(paths: Sequence[str]) -> list[str]:
    """The files below the paths that are not as they are in HEAD, new ones too; those that Git ignores left out."""
    listed = git("status", "--porcelain", "-z", "--no-renames", "--untracked-files=all", "--", *paths)
    return sorted(entry[3:] for entry in listed.split("\0") if entry)


def check_dataset(dataset: str, sources: Path) -> tuple[str, ...]:
    """The .dvc files about the dataset's source, none where Git has all of it.

    Raises MnistryError where HEAD has no such source, or another one than the folder that is here.
    """
    listed = git("ls-tree", "-r", "-z", "--name-only", "HEAD", "--", f"{sources.as_posix()}/").split("\0")
    paths = [PurePosixPath(path) for path in listed if path]
    source = sources / dataset
    own = [path for path in paths if path.is_relative_to(source.as_posix()) or path == _about(source)]
    if not own:
        if source.exists():
            raise MnistryError(
                f"{source}: not tracked, so clones don't have it; run `dvc add {source}`, `git add {sources}` and "
                "`git commit`"
            )
        known = {path.relative_to(sources.as_posix()).parts[0].removesuffix(".dvc") for path in paths}
        raise MnistryError(f"dataset is {dataset!r}; {suggest(dataset, sorted(known - {'.gitignore'}))}")
    tracking = tuple(str(path) for path in own if path.suffix == ".dvc")
    status = json.loads(dvc("status", "--json", *tracking)) if tracking else {}
    if changed := sorted({path for reasons in status.values() for path in _modified(reasons)}):
        raise MnistryError(
            f"{', '.join(changed)}: changed since `dvc add`, and clones have what was added; run `dvc add` again and "
            "commit, or `dvc checkout`"
        )
    return tracking


def _about(source: Path) -> PurePosixPath:
    return PurePosixPath(f"{source.as_posix()}.dvc")


def _modified(reasons: list[Any]) -> Iterator[str]:
    """The outputs that `dvc status --json` has as modified."""
    for reason in reasons:
        if isinstance(reason, dict):
            for states in reason.values():
                yield from (path for path, state in states.items() if state == "modified")


def identity() -> dict[str, str]:
    """Git's user.name and user.email here, which a clone doesn't inherit where they are this repository's own."""
    listed = git("config", "--null", "--list").split("\0")
    values = dict(entry.split("\n", 1) for entry in listed if "\n" in entry)
    return {key: values[key] for key in ("user.name", "user.email") if values.get(key)}


def experiments(commit: str, params: Path, metrics: Path, inputs: Sequence[str]) -> dict[str, Experiment]:
    """The experiments that are derived from the commit, by name."""
    found = {}
    prefix = f"{references(commit)}/"
    for line in git("for-each-ref", "--format=%(objectname) %(refname)", prefix).splitlines():
        revision, _, reference = line.partition(" ")
        name = reference.removeprefix(prefix)
        changed = git("diff", "--name-only", commit, revision, "--", *inputs)
        found[name] = Experiment(name, file_at(revision, params), file_at(revision, metrics), not changed)
    return found


def references(commit: str) -> str:
    """Where DVC keeps the experiments that are derived from the commit."""
    return f"refs/exps/{commit[:2]}/{commit[2:]}"


def fetch_experiments(url: str, commit: str, name: str = "*") -> None:
    """Bring the experiment, or all that are derived from the commit, from the repository at the URL."""
    pattern = f"{references(commit)}/{name}"
    git("fetch", "--quiet", url, f"{pattern}:{pattern}")


def default_remote(commit: str) -> str:
    """The name of DVC's default remote in the commit, as clones have it; empty where there is none."""
    config = configparser.ConfigParser(interpolation=None, strict=False)
    try:
        config.read_string(file_at(commit, ".dvc/config") or "")
    except configparser.Error as error:
        raise MnistryError(f".dvc/config: not understood ({' '.join(str(error).split())})") from None
    return config.get("core", "remote", fallback="").strip("\"'")


@contextmanager
def marked(*folders: Path) -> Iterator[str]:
    """The name of an empty file that each of the folders has meanwhile, and no other folder of the same path."""
    name = f"sweep-{uuid.uuid4()}"
    try:
        for folder in folders:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / name).touch()
        yield name
    finally:
        for folder in folders:
            (folder / name).unlink(missing_ok=True)


@contextmanager
def only_sweep(folder: Path) -> Iterator[None]:
    """Keep other sweeps out of this repository; raises MnistryError where there is one."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise MnistryError("another sweep runs in this repository; wait for it, or end it with Ctrl+C") from None
        yield


def clear_stale_locks(commit: str, names: Sequence[str]) -> None:
    """Remove the lock files that a push leaves on its experiment where it is killed; no sweep may run."""
    folder = Path(git("rev-parse", "--git-path", references(commit)))
    for name in names:
        (folder / f"{name}.lock").unlink(missing_ok=True)
