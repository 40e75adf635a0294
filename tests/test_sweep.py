"""`python -m commands.sweep`: real runs by DVC on Dask's workers, of a pipeline that trains nothing."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from commands import sweep
from src.errors import MnistryError
from tests.conftest import copy_project

PIPELINE = """
stages:
  normalize:
    cmd: echo normalized > normalized.txt
    params:
    - dataset
    outs:
    - normalized.txt
  train:
    cmd: python stages/quick.py
    deps:
    - normalized.txt
    - stages/quick.py
    params:
    - seed
    - model
    metrics:
    - metrics/test.json:
        cache: false
"""
QUICK = """
import json, os, pathlib, sys, time, yaml
seed = yaml.safe_load(open("params.yaml"))["seed"]
if seed == 13:
    sys.exit("error: unlucky")
print("mirror", os.environ["MNISTRY_MIRROR"], "threads", os.environ["OMP_NUM_THREADS"])
wait = pathlib.Path(os.environ["MNISTRY_MIRROR"], "wait")
while wait.exists():
    time.sleep(0.1)
pathlib.Path("metrics").mkdir(exist_ok=True)
json.dump({"accuracy": seed / 100}, open("metrics/test.json", "w"))
"""


class Project:
    """A clone of the project with a pipeline that takes no time, or for ever while there is a file `wait`."""

    def __init__(self, folder: Path):
        self.folder, self.mirror = folder / "project", folder / "mirror"
        self.started: subprocess.Popen | None = None
        self.mirror.mkdir()
        copy_project(self.folder)
        (self.folder / "dvc.yaml").write_text(PIPELINE)
        (self.folder / "stages" / "quick.py").write_text(QUICK)
        (self.folder / "dvc.lock").unlink()
        (self.folder / ".gitignore").write_text("/normalized.txt\n/logs/\n__pycache__/\n")
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith(("GIT_", "DVC_"))}
        self.environment |= {"MNISTRY_MIRROR": "../mirror", "OMP_NUM_THREADS": "1"}
        self.git("init", "-q")
        # Of this repository alone: clones don't inherit them.
        self.git("config", "user.name", "t")
        self.git("config", "user.email", "t@t")
        self.git("rm", "-rq", "--cached", "--ignore-unmatch", "metrics")
        self.git("add", "-A")
        self.git("commit", "-qm", "start")

    def git(self, *arguments):
        """What Git prints."""
        command = ["git", *arguments]
        return subprocess.run(command, cwd=self.folder, check=True, stdout=subprocess.PIPE, text=True).stdout

    def start(self, *options):
        """Start a sweep with two workers."""
        self.started = subprocess.Popen(
            [sys.executable, "-m", "commands.sweep", "--workers", "2", *options],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            # As in a terminal, where Ctrl+C reaches all processes of a command; background jobs ignore it.
            start_new_session=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        return self.started

    def sweep(self, *options, status=0):
        """What a sweep prints that ends with the status."""
        process = self.start(*options)
        output, _ = process.communicate(timeout=120)
        assert process.returncode == status, output
        return output

    def experiments(self):
        """Names of all experiments, sorted."""
        return self.git("for-each-ref", "--format=%(refname:lstrip=4)", "refs/exps").split()

    def processes(self):
        """The runs' own."""
        return runs_below(self.folder / ".dvc" / "tmp" / "sweep")

    def training(self):
        """Those of the runs' processes that are the stage's own."""
        return [each for each in self.processes() if each.info["cmdline"][1:] == ["stages/quick.py"]]

    def clones(self):
        """Folders of runs."""
        return list((self.folder / ".dvc" / "tmp" / "sweep").glob("workers/*/worker-*/run-*"))

    def log(self, name):
        """What the run printed."""
        (path,) = (self.folder / "logs").glob(f"*/{name}.log")
        return path.read_text("utf-8")


@pytest.fixture
def here(monkeypatch, capsys):
    """Run a sweep that starts no workers, in this process, which has DVC already; what it prints."""

    def run(folder, *options):
        monkeypatch.chdir(folder)
        monkeypatch.setattr(sys, "argv", ["sweep", *options])
        # This process goes on: its signals stay as they are.
        monkeypatch.setattr("commands.sweep.signal.signal", lambda *_: None)
        assert sweep.main() == 0
        return capsys.readouterr().out

    return run


@pytest.fixture
def project(tmp_path):
    """With nothing but the first commit; in the end, no run is left."""
    project = Project(tmp_path)
    yield project
    # Where the test failed in the middle.
    if project.started and project.started.poll() is None:
        project.started.kill()
        project.started.communicate()
    wait_until(lambda: not project.processes())
    assert not project.processes()
    assert not project.clones()


def runs_below(folder: Path) -> list[psutil.Process]:
    """Processes that work in a clone below the folder."""
    return [
        process
        for process in psutil.process_iter(["cwd", "cmdline"])
        if Path(process.info["cwd"] or "/").is_relative_to(folder) and "/run-" in process.info["cwd"]
    ]


def wait_until(condition, process=None):
    """Until the condition holds; fails after a minute, and where the process ends before."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        assert process is None or process.poll() is None, process.stdout.read()
        time.sleep(0.1)


def test_sweep_survives_a_killed_worker_a_failed_run_and_its_own_death(project, here):
    """The run of the killed worker is tried again; after SIGKILL, the same command does what is left, and no more.

    A failed run is shown with its last line and a failing exit; the others end, in one log each, from a dataset
    prepared once.
    """
    (project.mirror / "wait").touch()
    options = ("-S", "seed=1,2,13")
    names = ["mlp-seed1", "mlp-seed2"]
    started = project.start(*options)
    wait_until(lambda: len(project.training()) == 2, started)
    with pytest.raises(MnistryError, match="another sweep runs in this repository; wait for it"):
        here(project.folder, *options)
    workers = [each for each in psutil.Process(started.pid).children() if each.children()]
    before = project.processes()
    workers[0].kill()
    wait_until(lambda: not all(each.is_running() for each in before), started)
    wait_until(lambda: sum(project.log(name).count("threads: 1") for name in names) == 3, started)
    assert "Running stage 'normalize'" in project.log("prepare-mlp-seed1")
    assert all("Stage 'normalize' is cached" in project.log(name) for name in names)
    (project.mirror / "wait").unlink()
    wait_until(project.experiments, started)
    (project.mirror / "wait").touch()
    started.kill()
    started.communicate()
    wait_until(lambda: not project.processes())
    # As a killed push may leave it.
    (commit,) = project.git("rev-parse", "HEAD").split()
    stale = project.folder / ".git" / "refs" / "exps" / commit[:2] / commit[2:] / "mlp-seed2.lock"
    stale.touch()
    (project.mirror / "wait").unlink()
    finished = len(project.experiments())
    output = project.sweep(*options, status=1)
    assert f"{finished} of 3 runs are finished" in output
    assert len(re.findall(r"mlp-seed[12]: accuracy 0.0[12]00, \d+\.\d s; ", output)) == 2 - finished
    assert "mlp-seed13: failed: error: unlucky; " in output
    assert "error: 1 of 3 runs failed; the same command tries them again, and only them" in output
    assert project.experiments() == names
    assert project.git("status", "--short") == ""
    assert f"mirror {project.mirror} threads 1" in project.log("mlp-seed1")
    assert "author t <t@t>" in project.git("cat-file", "-p", f"refs/exps/{commit[:2]}/{commit[2:]}/mlp-seed1")
    assert here(project.folder, *options, "--dry-run") == (
        "mlp-seed1   seed=1  (finished, accuracy 0.0100)\n"
        "mlp-seed2   seed=2  (finished, accuracy 0.0200)\n"
        "mlp-seed13  seed=13\n"
    )


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interrupted_sweep_leaves_nothing(project, number, status):
    """No process, no clone, no experiment, no traceback; Ctrl+C, which goes to the workers as well, and SIGTERM."""
    (project.mirror / "wait").touch()
    process = project.start("-S", "seed=1")
    wait_until(project.training, process)
    started = time.monotonic()
    if number == signal.SIGINT:
        os.killpg(process.pid, number)
    else:
        process.send_signal(number)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == status
    assert "Traceback" not in output
    assert time.monotonic() - started < 15
    assert not psutil.pid_exists(process.pid)
    assert not project.experiments()


def test_workspace_that_differs_from_the_commit_is_refused(project, here):
    """Code, params and new modules, not what the pipeline writes; HEAD runs where that is asked for."""
    (project.folder / "metrics").mkdir(exist_ok=True)
    (project.folder / "metrics" / "test.json").write_text("{}")
    options = ("-S", "seed=1", "--dry-run")
    assert here(project.folder, *options) == "mlp-seed1  seed=1\n"
    (project.folder / "src" / "new.py").touch()
    (project.folder / "params.yaml").write_text("edited")
    with pytest.raises(MnistryError, match=r"params\.yaml, src/new\.py: not as in HEAD, which a sweep runs"):
        here(project.folder, *options)
    assert here(project.folder, *options, "--head") == "mlp-seed1  seed=1\n"


def test_workers_of_any_cluster_need_nothing_of_the_project(project, tmp_path):
    """A scheduler and a worker elsewhere: it clones from the URL, pushes there, and the experiment comes here."""
    program = (
        "from distributed import LocalCluster\n"
        "import time\n"
        "if __name__ == '__main__':\n"
        "    cluster = LocalCluster(n_workers=1, dashboard_address='127.0.0.1:0', local_directory='.',\n"
        "                           scheduler_kwargs={'scheduler_file': 'scheduler.json'})\n"
        "    print(cluster.scheduler_address, flush=True)\n"
        "    time.sleep(600)\n"
    )
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "cluster.py").write_text(program)
    project.git("clone", "-q", "--bare", ".", str(tmp_path / "server.git"))
    cluster = subprocess.Popen(
        [sys.executable, "cluster.py"], cwd=elsewhere, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        assert cluster.stdout is not None
        address = cluster.stdout.readline().strip()
        command = [sys.executable, "-m", "commands.sweep", "-S", "seed=7", "--git", f"file://{tmp_path}/server.git"]
        output = subprocess.run(
            [*command, "--scheduler", str(elsewhere / "scheduler.json")],
            cwd=project.folder, env=project.environment, stdout=subprocess.PIPE, text=True, check=True,
        ).stdout  # fmt: skip
        # Nobody wants what a lost client asked for.
        (project.mirror / "wait").touch()
        command += ["--scheduler", address, "-S", "model=cnn"]
        lost = subprocess.Popen(command, cwd=project.folder, env=project.environment)
        wait_until(lambda: runs_below(elsewhere), lost)
        lost.kill()
        lost.communicate()
        wait_until(lambda: not runs_below(elsewhere))
    finally:
        os.killpg(cluster.pid, signal.SIGKILL)
        cluster.communicate()
    assert "mlp-seed7: accuracy 0.0700" in output
    assert project.experiments() == ["mlp-seed7"]
