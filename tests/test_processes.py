"""Processes that train together: what they compute is what one computes, and what happens when one of them is lost."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from src.augmentation import Augmentation
from src.batches import Subset, shuffled_batches
from src.errors import MnistryError
from src.launching import configure, launch
from src.params import Augment
from src.processes import Processes, needs_launcher, processes_per_host
from stages import download, normalize
from tests.conftest import PROJECT

pytestmark = pytest.mark.skipif("sys.platform == 'win32'", reason="has neither fork nor SIGKILL")

TOGETHER = """
import hashlib, json, os, sys
from datetime import timedelta
from pathlib import Path
import torch, torch.distributed as dist
import src.resuming
from src.augmentation import make_augmentation
from src.batches import Subset
from src.errors import MnistryError
from src.models import build_network
from src.params import Augment, read_params
from src.processes import Processes
from src.resuming import Checkpoint, to_bytes
from src.training import balanced_weights, fit

src.resuming.SECONDS, src.resuming.SHARE = 0, float("inf")
folder, models = Path(sys.argv[1]), read_params(Path(sys.argv[2])).models
small = {"mlp": {"hidden_sizes": (16,)}, "resnet": {"channels": (8, 16), "optimizer": "adamw"}}

class Codes(torch.nn.Module):
    def forward(self, codes):
        return codes.float() / 128 - 1

def train(name, processes, checkpoint=None, epochs=2):
    changes = {"epochs": 2, "batch_size": 50, "learning_rate": 0.01, "label_smoothing": 0.1} | small[name]
    recipe = getattr(models, name).model_copy(update=changes)
    images = torch.randint(256, (220, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    labels = torch.arange(220) ** 2 % 7
    torch.manual_seed(0)
    model = torch.nn.Sequential(Codes(), build_network(name, recipe, (3, 8, 8), 7))
    train, validation = (Subset(images, labels, indices) for indices in torch.arange(220).split(171))
    augment = Augment(shift=0.2, cutout=0.2, flip=True, rotation=20)
    share = processes.share(50) if processes.count > 1 else None
    training = fit(
        model, train, validation, recipe, generator=torch.Generator().manual_seed(2), checkpoint=checkpoint,
        augment=make_augmentation(augment, 3, torch.device("cpu"), share), processes=processes,
        class_weights=balanced_weights(labels[:171].numpy(), 7),
    )
    scores = [
        [epoch.train.loss, epoch.validation.loss, epoch.train.accuracy, epoch.validation.accuracy]
        for _, epoch in zip(range(epochs), training)
    ]
    return {"scores": scores, "weights": hashlib.sha256(to_bytes(model.state_dict())).hexdigest()}

def resumed(processes):
    for epochs in (1, 2):
        checkpoint = Checkpoint(folder / str(processes.count), "key", print) if processes.leads else None
        found = train("resnet", processes, checkpoint, epochs)
    return found

def refused(processes, **inputs):
    try:
        processes.require_same({"code": {"src.training": "aa"}, "seed": 0, "size": (1, 2)} | inputs)
    except (MnistryError, RuntimeError) as error:
        return f"{type(error).__name__}: {error}"

def together(count, rank):
    store = dist.FileStore(str(folder / f"store{count}"), count)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=count, timeout=timedelta(seconds=60))
    processes = Processes(rank, count, leader=count - 1)
    results = {name: train(name, processes) for name in small}
    results["again"], results["resumed"] = train("resnet", processes), resumed(processes)
    results["accepted"] = refused(processes)
    results["any"] = [processes.any("too large" if rank == 1 else None), processes.any(None)]
    results["refused"] = refused(processes, **({"code": {"src.training": "bb"}, "more": 1} if rank == 0 else {}))
    (folder / f"{count}-{rank}.json").write_text(json.dumps(results))

torch.set_num_threads(1)
for count in (2, 4):
    children = []
    for rank in range(count):
        child = os.fork()
        if not child:
            together(count, rank)
            os._exit(0)
        children.append(child)
    assert not any([os.waitpid(child, 0)[1] for child in children]), count
(folder / "1-0.json").write_text(json.dumps({name: train(name, Processes()) for name in small}))
"""
"""Train in one process, in two and in four, which are copies of one that has imported torch."""
PATIENT = """
from src.start import start_process
start_process()

import src.resuming
from stages import run_stage, train

src.resuming.SECONDS, src.resuming.SHARE = 0, float("inf")
run_stage(train.main)
"""
"""The stage with a checkpoint after every epoch."""


@pytest.fixture(scope="module")
def trainings(tmp_path_factory) -> dict[tuple[int, int], dict]:
    """What each process found, by how many they were and its rank."""
    folder = tmp_path_factory.mktemp("together")
    command = [sys.executable, "-W", "error", "-c", TOGETHER, folder, PROJECT / "params.yaml"]
    subprocess.run(command, cwd=PROJECT, check=True)
    ranks = [(count, rank) for count in (1, 2, 4) for rank in range(count)]
    return {(count, rank): json.loads((folder / f"{count}-{rank}.json").read_text()) for count, rank in ranks}


@pytest.mark.parametrize("model", ["mlp", "resnet"])
@pytest.mark.parametrize("count", [2, 4])
def test_many_processes_train_as_one_does(trainings, model, count):
    """Losses and accuracies of two epochs; all augmentation, class weights, smoothing, batch normalization; 50 / 4."""
    found, expected = (torch.tensor(trainings[key][model]["scores"]) for key in ((count, 0), (1, 0)))
    assert expected.shape == (2, 4)
    torch.testing.assert_close(found[:, :2], expected[:, :2], rtol=0, atol=1e-5)
    assert torch.equal(found[:, 2:], expected[:, 2:])


@pytest.mark.parametrize("count", [2, 4])
def test_processes_agree_and_repeat_themselves(trainings, count):
    """All have the same weights and scores, and the same bits come again, also after an interruption."""
    first, *others = (trainings[count, rank] for rank in range(count))
    for other in others:
        assert {**other, "refused": None} == {**first, "refused": None}
    assert first["again"] == first["resnet"]
    assert first["resumed"]["weights"] == first["resnet"]["weights"]
    assert first["resumed"]["scores"] == first["resnet"]["scores"][1:]


def test_worker_with_other_code_is_refused_and_told_what(trainings):
    """By name; the others start again without it."""
    texts = [trainings[4, rank]["refused"] for rank in range(4)]
    assert texts[0].startswith("MnistryError: process 0 on ")
    assert ": other code.src.training, more than where the training was started; bring code and" in texts[0]
    assert [text.startswith("RuntimeError: refused process 0 on ") for text in texts[1:]] == [True] * 3
    assert trainings[4, 0]["accepted"] is None


def test_what_one_process_says_all_know(trainings):
    """So that all read the images in blocks where they are too large for one."""
    assert [trainings[4, rank]["any"] for rank in range(4)] == [["too large", None]] * 4


def test_shares_are_disjoint_and_complete():
    """Of any number of images; together they are the batches that one process would have."""
    for count, total in ((1, 5), (2, 5), (3, 128), (4, 4), (4, 3)):
        parts = [Processes(rank, count).share(total).of(torch.arange(total)) for rank in range(count)]
        assert torch.equal(torch.cat(parts), torch.arange(total))
        assert max(map(len, parts)) - min(map(len, parts)) <= 1
    subset = Subset(torch.arange(20)[:, None, None, None], torch.arange(20), torch.arange(20))
    whole = list(shuffled_batches(subset, 6, torch.Generator().manual_seed(0)))
    shares = (Processes(rank, 2).share(6) for rank in range(2))
    halves = [list(shuffled_batches(subset, 6, torch.Generator().manual_seed(0), share)) for share in shares]
    for (images, labels), *parts in zip(whole, *halves, strict=True):
        assert torch.equal(images, torch.cat([part[0] for part in parts]))
        assert torch.equal(labels, torch.cat([part[1] for part in parts]))


def test_each_image_is_augmented_as_it_would_be_among_all():
    """Whichever process changes it."""
    settings, device = Augment(shift=0.3, cutout=0.3, flip=True, rotation=90), torch.device("cpu")
    images = torch.randint(256, (7, 1, 9, 9), dtype=torch.uint8)
    shares = [None, *(Processes(rank, 3).share(7) for rank in range(3))]
    whole, *parts = [Augmentation(settings, torch.Generator(device).manual_seed(5), share) for share in shares]
    for _ in range(2):
        changed = [part(images[part.share.start : part.share.stop]) for part in parts if part.share]
        assert torch.equal(whole(images), torch.cat(changed))


def test_auto_is_one_process_per_accelerator(monkeypatch):
    """One on the CPU and where one accelerator is named; more processes than accelerators are an error."""
    monkeypatch.setattr("torch.accelerator.device_count", lambda: 4)
    cases: dict[tuple[int | str, str], int]
    cases = {("auto", "cpu"): 1, (3, "cpu"): 3, ("auto", "cuda"): 4, (2, "cuda"): 2, ("auto", "cuda:1"): 1}
    assert {case: processes_per_host(case[0], torch.device(case[1])) for case in cases} == cases
    for asked, device in ((5, "cuda"), (2, "cuda:1"), (2, "mps")):
        with pytest.raises(MnistryError, match=rf"train.processes: {asked}, but device {device} is"):
            processes_per_host(asked, torch.device(device))


def test_the_launcher_takes_torchruns_environment(monkeypatch):
    """Its options for hosts; without them, one host by itself. One process needs no launcher."""
    assert not needs_launcher(1)
    assert needs_launcher(2)
    config, _, arguments = configure(2, "stages.train", ["a", "b"])
    assert (config.min_nodes, config.nproc_per_node, config.rdzv_endpoint) == (1, 2, "localhost:0")
    assert arguments == ["-u", "-m", "stages.train", "a", "b"]
    monkeypatch.setenv("PET_NNODES", "2")
    assert needs_launcher(1)
    with pytest.raises(MnistryError, match="PET_RDZV_ENDPOINT: not set; expected the leading host's address"):
        configure(1, "stages.train", [])
    monkeypatch.setenv("PET_RDZV_ENDPOINT", "head:29400")
    monkeypatch.setenv("PET_RDZV_CONF", "join_timeout=7")
    config, *_ = configure(1, "stages.train", [])
    assert (config.min_nodes, config.rdzv_backend, config.rdzv_endpoint) == (2, "c10d", "head:29400")
    assert config.rdzv_configs["join_timeout"] == "7"
    assert config.rdzv_configs["is_host"] == "True"
    monkeypatch.setenv("MNISTRY_HELPER", "1")
    assert configure(1, "stages.train", [])[0].rdzv_configs["is_host"] == "False"
    monkeypatch.setenv("PET_NNODES", "two")
    with pytest.raises(MnistryError, match="the launcher's environment, PET_"):
        configure(1, "stages.train", [])


def test_host_that_never_comes_is_not_waited_for_for_ever(monkeypatch):
    """A line says for how many hosts and how long, and what to do."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        endpoint = f"127.0.0.1:{server.getsockname()[1]}"
    monkeypatch.setattr("os.environ", os.environ.copy())
    os.environ |= {"PET_NNODES": "2", "PET_RDZV_ENDPOINT": endpoint, "PET_RDZV_CONF": "join_timeout=1"}
    with pytest.raises(MnistryError, match=r"not all of 2 hosts came within 1 s .+ start `make worker` on the others"):
        launch(1, "stages.train", [], pytest.fail)


@pytest.fixture
def digits(tmp_path, monkeypatch, write_params):
    """A folder with the normalized digits, and a params.yaml for two processes."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MNISTRY_CHECKPOINTS", str(tmp_path / "checkpoints"))
    monkeypatch.setenv("PYTHONPATH", f"{PROJECT}:{tmp_path}")
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    write_params(train__processes=2, models__mlp__hidden_sizes=[8], models__mlp__epochs=10**6)
    download.main(PROJECT / "data/sources/digits", tmp_path / "raw")
    normalize.main(tmp_path / "raw", tmp_path / "normalized", tmp_path / "d.json", tmp_path / "figures")
    (tmp_path / "patient.py").write_text(PATIENT)
    return tmp_path


@pytest.fixture
def start(digits) -> Iterator:
    """Start training in two processes, with checkpoints after every epoch; it is killed at the end."""
    started = []

    def start_training() -> subprocess.Popen:
        names = ("normalized", "classifier", "train.json", "history.csv", "v.csv")
        program = "import sys; from src.start import start_process; start_process(); from src.launching import launch; "
        program += f"from stages import log; launch(2, 'patient', {names}, log)"
        command, output = [sys.executable, "-c", program], subprocess.PIPE
        process = subprocess.Popen(command, cwd=digits, stdout=output, stderr=subprocess.STDOUT, text=True)
        started.append(process)
        return process

    yield start_training
    for process in started:
        process.kill()
        process.communicate()


def workers(parent: int) -> list[int]:
    """The ids of the parent's children."""
    return [int(word) for word in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()]


def until(condition, seconds=60):
    """Wait for the condition, which has to hold within that time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def epochs_in(history: Path) -> int:
    """How many epochs the file has."""
    return history.read_text().count("\n") - 1 if history.exists() else 0


@pytest.mark.skipif(not Path("/proc").exists(), reason="finds the processes in /proc")
def test_killed_process_is_replaced_and_a_signal_ends_all(digits, start):
    """Training goes on from the checkpoint, under the same launcher; SIGTERM leaves no process, and one line each."""
    training = start()
    until(lambda: epochs_in(digits / "history.csv") > 2)
    first = workers(training.pid)
    assert len(first) == 2
    os.kill(first[1], signal.SIGKILL)
    until(lambda: len(workers(training.pid)) == 2 and not set(first) & set(workers(training.pid)))
    (digits / "history.csv").unlink(missing_ok=True)
    until(lambda: epochs_in(digits / "history.csv") > 3)
    second = workers(training.pid)
    training.send_signal(signal.SIGTERM)
    output = training.communicate(timeout=30)[0]
    assert training.returncode == 143, output
    until(lambda: not any(Path(f"/proc/{process}").exists() for process in second))
    (restart,) = [line for line in output.splitlines() if line.startswith("warning")]
    assert restart.startswith("warning: process ")
    assert "(SIGKILL); going on from the last checkpoint, 3 of 3 restarts left" in restart
    assert "training goes on after epoch" in output
    assert output.count("threads 1, processes 2") == 2
    assert output.endswith("error: terminated (SIGTERM)\n")
    assert "Traceback" not in output


@pytest.mark.skipif(not Path("/proc").exists(), reason="finds the processes in /proc")
def test_what_a_user_can_fix_is_said_once(digits, write_params):
    """A training that diverges: the line that one process prints, nothing else, and no restart."""
    write_params(model="mlp", models__mlp__learning_rate=1e30)
    names = ("normalized", "classifier", "train.json", "history.csv", "v.csv")
    result = subprocess.run(
        [sys.executable, "-m", "stages.train", *names], cwd=digits, capture_output=True, text=True, check=False
    )
    assert result.returncode == 1
    assert result.stderr.startswith("error: epoch 1")
    assert result.stderr.count("\n") == 1
    assert result.stdout.count("processes 2") == 1
