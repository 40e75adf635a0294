"""Faults injected into real runs of the pipeline, in a copy of the project: `make faults`, or `make faults FAULTS=10`.

After each fault the README's recovery, `make recover`, is run, then `dvc repro`: its metrics and its classifier have to
have the bytes of a run that nothing disturbed. Prints one line per fault, and a table at the end. Full and read-only
disks need the right to mount one in memory, which root has on Linux; without it, they are left out.
"""

import argparse
import hashlib
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path

from src.devices import processor_name
from src.parallel import available_cores
from tests.conftest import copy_project

SIGNALS = ("SIGKILL", "SIGTERM", "SIGINT", "SIGHUP")
OURS = re.compile(rb"-m\0stages\.")
STAGES = ("check", "download", "normalize", "train", "evaluate")
STILL_RUNNING_SECONDS = 10
"""After which a process that is still there counts as left behind."""
QUEUED, QUEUE_SECONDS = 20, 1800
"""Experiments in DVC's queue, and how long they may take."""


class Copy:
    """A copy of the project in a folder, with a quick recipe, run once and committed."""

    def __init__(self, folder: Path):
        self.folder = folder
        copy_project(folder)
        params = (folder / "params.yaml").read_text("utf-8")
        params = params.replace("model: mlp", "model: linear", 1).replace("epochs: 8", "epochs: 2", 1)
        (folder / "params.yaml").write_text(params, "utf-8")
        self.run("git", "init", "-q")
        self.commit()
        self.run("dvc", "repro")
        self.commit()
        self.expected = self.results()

    def commit(self) -> None:
        """Commit all that Git does not ignore."""
        self.run("git", "add", "-A")
        self.run("git", "-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qm", "copy")

    def run(self, *command: str) -> str:
        """What the command prints; CalledProcessError where it fails."""
        return subprocess.run(
            command, cwd=self.folder, check=True, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        ).stdout

    def start(self, *command: str) -> "subprocess.Popen[str]":
        """The command, running in a session of its own."""
        process: subprocess.Popen[str] = subprocess.Popen(
            command, cwd=self.folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            start_new_session=True,
        )  # fmt: skip
        return process

    def results(self) -> dict[str, str]:
        """The digest of each metric's file and of the classifier."""
        files = [*sorted((self.folder / "metrics").iterdir()), self.folder / "models/classifier.safetensors"]
        return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}

    def left(self) -> list[int]:
        """Processes of stages of this copy that run."""
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                ours = OURS.search((process / "cmdline").read_bytes())
                if ours and (process / "cwd").resolve().is_relative_to(self.folder):
                    found.append(int(process.name))
            except OSError:
                continue
        return found

    def check(self) -> list[str]:
        """What is wrong after a fault and the recovery from it; nothing where all is well."""
        deadline = time.monotonic() + STILL_RUNNING_SECONDS
        while (left := self.left()) and time.monotonic() < deadline:
            time.sleep(0.05)
        problems = [f"{len(left)} processes left"] if left else []
        for process in left:
            os.kill(process, signal.SIGKILL)
        try:
            self.run("make", "recover")
            self.run("dvc", "repro")
        except subprocess.CalledProcessError as error:
            return [*problems, f"{' '.join(error.cmd)}: {error.output[-500:]}"]
        if self.results() != self.expected:
            problems.append("other results")
        if status := self.run("git", "status", "--short"):
            problems.append(f"git status: {status}")
        return problems


def kill(copy: Copy, draw: random.Random) -> list[str]:
    """Start a run of all stages or an experiment, and send DVC, its stage or both a signal at a random moment."""
    command = draw.choice([("dvc", "repro", "--force"), ("dvc", "exp", "run", "--force", "-S", "seed=1")])
    name, whom = draw.choice(SIGNALS), draw.choice(("DVC", "the stage", "both"))
    run = copy.start(*command)
    time.sleep(draw.uniform(0.5, 14))
    stages = copy.left()
    number = getattr(signal, name)
    for process in ([] if whom == "DVC" else stages) + ([] if whom == "the stage" else [run.pid]):
        try:
            os.kill(process, number)
        except ProcessLookupError:
            continue
    output, _ = run.communicate(timeout=120)
    problems = ["a traceback"] if "Traceback" in output and whom == "the stage" else []
    return problems + copy.check()


def kill_stage(copy: Copy, draw: random.Random) -> list[str]:
    """Kill one stage's process and its workers, as the kernel does when memory runs out; DVC has to say which one."""
    stage = draw.choice(STAGES)
    run = copy.start("dvc", "repro", "--force", "--single-item", stage)
    while not (found := copy.left()) and run.poll() is None:
        time.sleep(0.01)
    time.sleep(draw.uniform(0, 4))
    for process in (killed := [number for number in copy.left() if number in found]):
        os.kill(process, signal.SIGKILL)
    output, _ = run.communicate(timeout=120)
    said = re.search(rf"failed to reproduce '{stage}': failed to run: .*, exited with -?\d+", output)
    # A process that has just ended is seen for a moment, and a kill comes too late.
    problems = [f"{stage}: not named: {output[-300:]}"] if killed and run.returncode and not said else []
    return problems + (["a traceback"] if "Traceback" in output else []) + copy.check()


def no_memory(copy: Copy, draw: random.Random) -> list[str]:
    """Let training run with a limit on its memory."""
    limit = draw.randrange(200_000, 3_000_000)
    run = copy.start("sh", "-c", f"ulimit -v {limit}; exec python -m stages.train data/normalized/digits c t h v")
    output, _ = run.communicate(timeout=120)
    for name in "cthv":
        (copy.folder / name).unlink(missing_ok=True)
    problems = [] if run.returncode == 0 or "error: " in output else [f"no error: {output[-300:]}"]
    return problems + (["a traceback"] if "Traceback" in output else []) + copy.check()


def no_room(copy: Copy, draw: random.Random) -> list[str]:
    """Let normalize run with a limit on the size of files that is too small for its arrays."""
    blocks = draw.randrange(1, 160)
    command = f"ulimit -f {blocks}; exec python -m stages.normalize data/raw/digits n.partial/n n.partial/d n.partial/f"
    run = copy.start("sh", "-c", command)
    output, _ = run.communicate(timeout=120)
    whole = (copy.folder / "n.partial/n").exists()
    subprocess.run(["rm", "-rf", "n.partial"], cwd=copy.folder, check=True)
    problems = [] if re.search(r"error: n.partial/\S+: file too large", output) else [f"not named: {output[-300:]}"]
    return problems + (["a partial folder has the output's name"] if whole else []) + copy.check()


@contextmanager
def small_disk(copy: Copy, size: int) -> Iterator[Path]:
    """A disk in memory of `size` bytes, mounted in the copy."""
    disk = copy.folder / "small.partial"
    disk.mkdir()
    try:
        mount("-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(disk))
        yield disk
        subprocess.run(["umount", str(disk)], check=True)
    finally:
        disk.rmdir()


def mount(*arguments: str) -> None:
    """Raises CalledProcessError where this user may not."""
    subprocess.run(["mount", *arguments], check=True, stderr=subprocess.DEVNULL)


def may_mount() -> bool:
    """Whether a disk in memory can be mounted here."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            mount("-t", "tmpfs", "tmpfs", folder)
        except (OSError, subprocess.CalledProcessError):
            return False
        subprocess.run(["umount", folder], check=True)
    return True


def written_on(copy: Copy, disk: Path, draw: random.Random) -> tuple[int, str]:
    """Status and output of a stage, drawn, that writes its outputs on the disk."""
    at = disk.relative_to(copy.folder)
    command = draw.choice(
        [
            f"download data/sources/digits {at}/a",
            f"normalize data/raw/digits {at}/a {at}/b {at}/c",
            f"train data/normalized/digits {at}/a {at}/b {at}/c",
        ]
    )
    run = copy.start("python", "-m", *f"stages.{command}".split())
    output, _ = run.communicate(timeout=120)
    return run.returncode, output


def full_disk(copy: Copy, draw: random.Random) -> list[str]:
    """Let a stage write on a disk that may be too small: a line names an output, and none is there in part."""
    with small_disk(copy, draw.randrange(4096, 400_000, 4096)) as disk:
        status, output = written_on(copy, disk, draw)
        partial = [path.name for path in disk.rglob("*") if "partial" in path.name]
    problems = (
        [] if status == 0 or re.search(r"error: small.partial/\S+: ", output) else [f"not named: {output[-300:]}"]
    )
    problems += [f"left on the disk: {partial}"] if partial else []
    return problems + (["a traceback"] if "Traceback" in output else []) + copy.check()


def read_only_disk(copy: Copy, draw: random.Random) -> list[str]:
    """Let a stage write on a disk that can only be read: a line names the output."""
    with small_disk(copy, 1 << 20) as disk:
        mount("-o", "remount,ro", str(disk))
        status, output = written_on(copy, disk, draw)
    named = status == 1 and re.search(r"error: small.partial/\w\S*: .*read-only file system", output)
    problems = [] if named else [f"not named: {output[-300:]}"]
    return problems + (["a traceback"] if "Traceback" in output else []) + copy.check()


def queue(copy: Copy, _: random.Random) -> list[str]:
    """Twenty experiments in DVC's own queue, two at a time: each has to end in success."""
    seeds = ",".join(str(seed) for seed in range(1, QUEUED + 1))
    copy.run("dvc", "exp", "run", "--queue", "-S", f"seed={seeds}")
    start = time.monotonic()
    # Its workers go on when it has ended, and would keep a pipe open.
    subprocess.run(["dvc", "queue", "start", "--jobs", "2"], cwd=copy.folder, check=True, stdout=subprocess.DEVNULL)
    while re.search("Queued|Running", status := copy.run("dvc", "queue", "status")):
        if time.monotonic() > start + QUEUE_SECONDS:
            break
        time.sleep(2)
    done = status.count("Success")
    print(f"queue: {done} of {QUEUED} in {time.monotonic() - start:.0f} s", flush=True)
    copy.run("dvc", "queue", "stop", "--kill")
    return ([] if done == QUEUED else [f"{done} of {QUEUED}: {status}"]) + copy.check()


def two_runs(copy: Copy, _: random.Random) -> list[str]:
    """Two runs at once: one of them waits or is refused."""
    runs = [copy.start("dvc", "repro", "--force") for _ in range(2)]
    for run in runs:
        run.communicate(timeout=240)
    return ([] if any(run.returncode == 0 for run in runs) else ["both failed"]) + copy.check()


def main() -> int:
    """0 where nothing was lost or wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description="Inject faults into the pipeline.")
    parser.add_argument("count", type=int, nargs="?", default=100, help="kills at random moments (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="draws them (%(default)s)")
    arguments = parser.parse_args()
    kinds: list[tuple[Callable[[Copy, random.Random], list[str]], int]] = [
        (kill, arguments.count), (kill_stage, -(-arguments.count // 2)), (no_memory, -(-arguments.count // 10)),
        (no_room, -(-arguments.count // 20)), (full_disk, -(-arguments.count // 10) * may_mount()),
        (read_only_disk, -(-arguments.count // 20) * may_mount()), (two_runs, -(-arguments.count // 50)),
        (queue, -(-arguments.count // 100)),
    ]  # fmt: skip
    draw, injected, failed = random.Random(arguments.seed), Counter[str](), Counter[str]()
    with tempfile.TemporaryDirectory() as folder:
        copy = Copy(Path(folder).resolve())
        for fault, count in kinds:
            for _ in range(count):
                problems = fault(copy, draw)
                injected[fault.__name__] += 1
                failed[fault.__name__] += bool(problems)
                print(f"{fault.__name__} {injected[fault.__name__]}: {'; '.join(problems) or 'all well'}", flush=True)
    print(f"\n{date.today()}, {processor_name()}, {available_cores()} cores")
    print("\n| fault | injected | failed |\n|---|---|---|")
    for name, count in injected.items():
        print(f"| {name} | {count} | {failed[name]} |")
    return 1 if failed.total() else 0


if __name__ == "__main__":
    sys.exit(main())
