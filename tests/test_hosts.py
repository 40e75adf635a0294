"""Training and sweeps on two hosts: network namespaces of this machine, joined by a link of 1 Gbit/s."""

import hashlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from benchmarks.hosts import namespaces
from commands.worker import train_command
from src.errors import MnistryError
from stages import download, normalize
from tests.conftest import PROJECT
from tests.test_processes import PATIENT, epochs_in, until
from tests.test_sweep import Project

LEAD = (
    "from src.start import start_process; start_process(); from src.launching import launch; from stages import log; "
    "launch(1, 'patient', ('data/normalized/digits', 'c', 'train.json', 'history.csv', 'v.csv'), log)"
)


@pytest.fixture(scope="module")
def hosts() -> Iterator[list[list[str]]]:
    """What to write before a command to run it on the first host or on the second."""
    if os.name != "posix" or os.geteuid() or not (shutil.which("ip") and shutil.which("tc")):
        pytest.skip("needs root, ip and tc (iproute2) to make network namespaces")
    with ExitStack() as stack:
        try:
            prefixes = stack.enter_context(namespaces())
        except PermissionError as error:
            pytest.skip(str(error))
        yield prefixes


@pytest.fixture
def start(hosts, tmp_path, monkeypatch, write_params) -> Iterator:
    """Start what leads a training on the first host, or a worker on the second; each has a folder of its own."""
    started = []
    monkeypatch.chdir(tmp_path)
    write_params(train__processes=1, models__mlp__hidden_sizes=[8], models__mlp__epochs=10**6)
    normalized = tmp_path / "data/normalized/digits"
    download.main(PROJECT / "data/sources/digits", tmp_path / "raw")
    normalize.main(tmp_path / "raw", normalized, tmp_path / "d.json", tmp_path / "figures")
    shutil.copy(PROJECT / "dvc.yaml", tmp_path)
    shutil.copytree(tmp_path, tmp_path / "worker")
    (tmp_path / "patient.py").write_text(PATIENT)

    def start_host(number: int) -> subprocess.Popen:
        folder = tmp_path / "worker" if number == 2 else tmp_path
        variables = os.environ | {
            "PYTHONPATH": f"{PROJECT}:{folder}",
            "MNISTRY_CHECKPOINTS": str(folder / "checkpoints"),
            "PET_NNODES": "2",
            "PET_RDZV_ENDPOINT": "10.77.0.1:29400",
            "PET_RDZV_CONF": "join_timeout=60,keep_alive_interval=1,keep_alive_max_attempt=2",
            "PET_LOCAL_ADDR": f"10.77.0.{number}",
            "GLOO_SOCKET_IFNAME": "eth0",
        }
        program = ["-m", "commands.worker"] if number == 2 else ["-c", LEAD]
        process = subprocess.Popen(
            [*hosts[number - 1], sys.executable, *program],
            cwd=folder, env=variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        started.append(process)
        return process

    yield start_host
    for process in started:
        process.kill()
        process.communicate()


def test_lost_host_is_replaced(start, tmp_path):
    """A worker is killed in the middle: the other host waits for the next one, and training goes on."""
    given, history = set((tmp_path / "worker").rglob("*")), tmp_path / "history.csv"
    leader, worker = start(1), start(2)
    until(lambda: epochs_in(history) > 2)
    worker.kill()
    until(lambda: worker.poll() is not None)
    next_worker = start(2)
    (tmp_path / "history.csv").unlink()
    until(lambda: epochs_in(history) > 3)
    leader.send_signal(signal.SIGTERM)
    output = leader.communicate(timeout=30)[0]
    assert leader.returncode == 143, output
    # Whether it first sees the process there end or the launcher decides what comes before.
    ending = next_worker.communicate(timeout=60)[0].splitlines()[-1]
    assert ending.startswith("error: 10.77.0.1:29400: the leading host can't be reached (")
    assert output.count("warning: process ") == 1
    assert "going on from the last checkpoint" in output
    assert "training goes on after epoch" in output
    assert not [path for path in (tmp_path / "worker").rglob("*") if path.is_file() and path not in given]


def put(folder: Path, content: bytes) -> str:
    """Store the content as DVC does in a remote or cache; its digest."""
    digest = hashlib.md5(content, usedforsecurity=False).hexdigest()
    stored(folder, digest).parent.mkdir(parents=True, exist_ok=True)
    stored(folder, digest).write_bytes(content)
    return digest


def stored(folder: Path, digest: str) -> Path:
    """Where DVC has a content in a remote or cache."""
    return folder / "files/md5" / digest[:2] / digest[2:]


def test_sweep_reaches_a_host_that_shares_no_disk(hosts, tmp_path):
    """It clones by Git's protocol, has the images from the DVC remote and puts outputs there.

    The experiment and the log come back; the sweep's own cache has none of the outputs.
    """
    first, second, remote = (tmp_path / name for name in ("first", "second", "remote"))
    first.mkdir()
    project = Project(first)
    source = project.folder / "data/sources/mine/images.dvc"
    source.parent.mkdir()
    source.write_text(f"outs:\n- md5: {put(remote, b'of mine')}\n  size: 7\n  hash: md5\n  path: images\n")
    pipeline = project.folder / "dvc.yaml"
    pipeline.write_text(pipeline.read_text().replace("echo normalized", "tr a-z A-Z < data/sources/mine/images"))
    (project.folder / ".dvc/config").write_text(
        f"[core]\n    remote = storage\n['remote \"storage\"']\n    url = {remote}\n"
    )
    project.git("add", "-A")
    project.git("commit", "-qm", "mine")
    dask, address = [sys.executable, "-m", "dask"], "tcp://10.77.0.1:8786"
    commands = [
        [*hosts[0], "git", "daemon", f"--base-path={first}", "--export-all", "--enable=receive-pack", "--reuseaddr"],
        [*hosts[0], *dask, "scheduler", "--host", "10.77.0.1", "--no-dashboard"],
        # The second host's namespace has mounts of its own as well.
        [*hosts[1], "sh", "-c", 'mount -t tmpfs none "$0" && exec "$@"', str(first),
         *dask, "worker", address, "--nthreads", "1", "--no-nanny", "--no-dashboard", "--local-directory", str(second)],
    ]  # fmt: skip
    variables = project.environment | {"XDG_CACHE_HOME": str(second / "cache")}
    started = [
        subprocess.Popen(command, cwd=tmp_path, env=variables, stderr=subprocess.DEVNULL) for command in commands
    ]
    try:
        options = ["--scheduler", address, "--git", "git://10.77.0.1/project", "-S", "dataset=mine", "-S", "seed=1"]
        output = subprocess.run(
            [*hosts[0], sys.executable, "-m", "commands.sweep", *options],
            cwd=project.folder, env=project.environment, stdout=subprocess.PIPE, text=True, timeout=120,
        ).stdout  # fmt: skip
    finally:
        for process in started:
            # Not killed: Git's command has to end the daemon that it started.
            process.terminate()
            process.communicate(timeout=30)
    assert "1/1 mine-mlp-seed1: accuracy 0.0100" in output
    assert project.experiments() == ["mine-mlp-seed1"]
    assert "mirror" in project.log("mine-mlp-seed1")
    output = hashlib.md5(b"OF MINE", usedforsecurity=False).hexdigest()
    assert stored(remote, output).exists()
    assert not stored(project.folder / ".dvc/cache", output).exists()


def test_worker_runs_the_pipelines_train_stage(tmp_path, monkeypatch, write_params):
    """Its own command, with the dataset's name."""
    monkeypatch.chdir(tmp_path)
    write_params(dataset="mine")
    assert train_command(PROJECT / "dvc.yaml")[:3] == ["-m", "stages.train", "data/normalized/mine"]


def test_worker_asks_for_the_hosts_that_it_is_to_help(monkeypatch):
    """Alone, it would train by itself."""
    monkeypatch.setattr("sys.argv", ["worker"])
    monkeypatch.delenv("PET_NNODES", raising=False)
    from commands.worker import main

    with pytest.raises(MnistryError, match="PET_NNODES: not set; expected the number of hosts, as where `dvc repro`"):
        main()
