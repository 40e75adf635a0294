"""The files of cluster/: what they name exists; those for SLURM run, on two nodes that are this machine."""

import importlib.util
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.conftest import PROJECT
from tests.test_sweep import Project

FILES = sorted(path for path in (PROJECT / "cluster").rglob("*") if path.is_file())

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "sinfo", "openssl")
CONFIGURATION = """
ClusterName=mnistry
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/%n.pid
SlurmdSpoolDir={folder}/spool-%n
StateSaveLocation={folder}/state
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SlurmdParameters=config_overrides
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
ReturnToService=2
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs=8 RealMemory=16384
NodeName=n2 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} CPUs=8 RealMemory=16384
PartitionName=main Nodes=n1,n2 Default=YES State=UP
"""
MEET = """
import os, pathlib, socket
host, port = os.environ["PET_RDZV_ENDPOINT"].split(":")
said = f"{os.environ['SLURMD_NODENAME']} {os.environ['PET_NNODES']} {os.environ['PET_RDZV_ID']}"
if "MNISTRY_HELPER" in os.environ:
    while True:
        try:
            socket.create_connection((host, int(port))).sendall(said.encode())
            break
        except ConnectionRefusedError:
            pass
else:
    listener = socket.create_server(("", int(port)))
    pathlib.Path("models").mkdir()
    pathlib.Path("models/met").write_text(said + ", " + listener.accept()[0].recv(99).decode())
"""
PIPELINE = """
stages:
  normalize:
    cmd: echo normalized > normalized.txt
    outs:
    - normalized.txt
  train:
    cmd: python stages/meet.py
    deps:
    - normalized.txt
    outs:
    - models
"""


def free_ports(count: int) -> list[int]:
    """Ports of this machine that nobody listens on."""
    listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [listener.getsockname()[1] for listener in listeners]
    for listener in listeners:
        listener.close()
    return ports


@pytest.fixture(scope="module")
def slurm(tmp_path_factory) -> Iterator[dict[str, str]]:
    """The environment in which sbatch reaches a SLURM of two nodes."""
    path = f"{os.environ['PATH']}:/usr/sbin"
    if missing := [program for program in PROGRAMS if not shutil.which(program, path=path)]:
        pytest.skip(f"needs {', '.join(missing)} (Debian: slurm-wlm, openssl)")
    folder = tmp_path_factory.mktemp("slurm")
    (folder / "munge.key").write_bytes(os.urandom(1024))
    (folder / "munge.key").chmod(0o400)
    (folder / "slurm.conf").write_text(
        CONFIGURATION.format(folder=folder, host=socket.gethostname(), user=os.getuid(), ports=free_ports(3))
    )
    environment = os.environ | {"PATH": path, "SLURM_CONF": str(folder / "slurm.conf")}
    munge = [f"--{name}-file={folder}/munge.{name}" for name in ("key", "pid", "log", "seed")]
    started = []
    try:
        for command in (
            ["munged", "--foreground", "--force", f"--socket={folder}/munge.socket", *munge],
            ["slurmctld", "-D", "-i"],
            ["slurmd", "-D", "-N", "n1"],
            ["slurmd", "-D", "-N", "n2"],
        ):
            with (folder / f"{command[0]}.out").open("a") as output:
                process = subprocess.Popen(command, env=environment, stdout=output, stderr=output, cwd=folder)
            started.append(process)
        wait_for_nodes(environment)
        yield environment
    finally:
        for process in reversed(started):
            process.kill()
            process.communicate()


def wait_for_nodes(environment: dict[str, str]) -> None:
    """Until both are idle; fails after half a minute."""
    deadline = time.monotonic() + 30
    states = ""
    while states != "2 idle":
        assert time.monotonic() < deadline, states
        time.sleep(0.2)
        command = ["sinfo", "--noheader", "--format=%D %t"]
        states = subprocess.run(command, env=environment, capture_output=True, text=True, check=False).stdout.strip()


def run_job(slurm: dict[str, str], project: Project, *command: str) -> str:
    """What the job prints that sbatch makes of a script and its arguments; fails where the job does."""
    # The scripts look into .venv first, and the project's copy has none.
    path = f"{Path(sys.executable).parent}:{slurm['PATH']}"
    status = subprocess.run(
        ["sbatch", "--wait", "--quiet", "--output=job.out", *command],
        cwd=project.folder, env=project.environment | slurm | {"PATH": path}, check=False, timeout=120,
    ).returncode  # fmt: skip
    output = (project.folder / "job.out").read_text()
    assert status == 0, output
    return output


def test_a_sweep_is_a_job(slurm, tmp_path):
    """With a scheduler that talks by TLS alone, whose files go; its output is the sweep's."""
    project = Project(tmp_path)
    with (project.folder / "stages/quick.py").open("a") as stage:
        stage.write(f"(file,) = pathlib.Path('{project.folder}/.dvc/tmp').glob('slurm-*/scheduler.json')\n")
        stage.write("print(json.loads(file.read_text())['address'])\n")
    project.git("commit", "-qam", "say where the scheduler is")
    output = run_job(slurm, project, "--ntasks=1", "cluster/slurm/sweep.sbatch", "-S", "seed=7")
    assert "1/1 mlp-seed7: accuracy 0.0700" in output
    assert "srun: " not in output
    assert "\ntls://" in project.log("mlp-seed7")
    assert not list((project.folder / ".dvc/tmp").glob("slurm-*"))


def test_a_training_on_two_nodes_is_a_job(slurm, tmp_path):
    """`dvc repro` leads on one, a worker helps on the other; where nothing is left to train, the job ends, too."""
    project = Project(tmp_path)
    (project.folder / "dvc.yaml").write_text(PIPELINE)
    (project.folder / "stages/meet.py").write_text(MEET)
    run_job(slurm, project, "--cpus-per-task=1", "cluster/slurm/train.sbatch")
    (leader, helper) = (project.folder / "models/met").read_text().split(", ")
    assert re.fullmatch(r"n1 2 \d+", leader)
    assert helper == leader.replace("n1", "n2")
    assert "up to date" in run_job(slurm, project, "--cpus-per-task=1", "cluster/slurm/train.sbatch")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_what_the_files_name_exists(path):
    """Modules and targets of make; the sweep's options; the files are shell scripts or YAML."""
    text = path.read_text("utf-8")
    for module in re.findall(r"python -m (commands\.\w+)", text):
        assert importlib.util.find_spec(module), module
    for target in re.findall(r"\bmake(?:, -C, \S+,)? ([a-z]+)\b", text):
        assert re.search(rf"^{target}:", (PROJECT / "Makefile").read_text("utf-8"), re.MULTILINE), target
    for arguments in re.findall(r"python -m commands\.sweep((?:\\\n|.)*)", text):
        for option in re.findall(r"--[a-z]+", arguments):
            assert f'"{option}"' in (PROJECT / "commands/sweep.py").read_text("utf-8"), option
    if path.suffix == ".yaml":
        assert all(isinstance(document, dict) for document in yaml.safe_load_all(text))
    elif path.suffix == ".sbatch":
        subprocess.run(["bash", "-n", path], check=True)
