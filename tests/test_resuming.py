"""What a training that was cut off goes on from, and that no checkpoint can do harm."""

import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from src.batches import Subset, shuffled_batches
from src.errors import MnistryError
from src.models import build_network
from src.outputs import writing
from src.resuming import (
    DAYS,
    Checkpoint,
    from_bytes,
    loaded_code,
    open_checkpoint,
    to_bytes,
    training_key,
)
from src.training import DivergedError, fit
from stages import download, normalize, train
from tests.conftest import PROJECT

KEY = "ab" * 32


@pytest.fixture
def every_epoch(monkeypatch):
    """Checkpoints are written after each."""
    monkeypatch.setattr("src.resuming.SECONDS", 0)
    monkeypatch.setattr("src.resuming.SHARE", math.inf)


def epochs_of(params, checkpoint, epochs=3):
    """Train on four images, epoch by epoch."""
    recipe = params.models.linear.model_copy(update={"epochs": epochs, "batch_size": 2})
    torch.manual_seed(0)
    model = build_network("linear", recipe, (1, 2, 2), 2)
    subset = Subset(torch.rand(4, 1, 2, 2), torch.arange(4) % 2, torch.arange(4))
    return fit(model, subset, subset, recipe, generator=torch.Generator(), checkpoint=checkpoint)


def test_trees_come_back_as_they_were():
    """Tensors of any type and shape, bit for bit, tied ones too, and numbers."""
    tied = torch.tensor([0.1, math.nan, -math.inf])
    tensors = [tied, tied, torch.tensor(7), torch.zeros(0, 3), torch.ones(2, dtype=torch.bfloat16)]
    tree = {"tensors": tensors, "numbers": {"third": 1 / 3, "none": None, "yes": True, "text": "ü"}}
    back = from_bytes(to_bytes(tree))
    assert back["numbers"] == tree["numbers"]
    for found, expected in zip(back["tensors"], tensors, strict=True):
        assert found.dtype == expected.dtype
        torch.testing.assert_close(found, expected, rtol=0, atol=0, equal_nan=True)
    assert to_bytes(tree) == to_bytes(tree)


def test_checkpoints_are_far_apart(params, tmp_path, monkeypatch):
    """The first comes after ten seconds, the next ten later, or later still where writing takes long."""
    now, written = [0.0], []
    monkeypatch.setattr("src.resuming.time.monotonic", lambda: now[0])
    checkpoint = Checkpoint(tmp_path, KEY, pytest.fail)
    write = checkpoint._write

    def takes_half_a_second(progress):
        written.append(now[0])
        write(progress)
        now[0] += 0.5 if len(written) == 2 else 0.001

    monkeypatch.setattr(checkpoint, "_write", takes_half_a_second)
    for _ in epochs_of(params, checkpoint, epochs=40):
        now[0] += 3
    assert [round(seconds) for seconds in written] == [12, 24, 76, 88, 100, 112]


def test_checkpoint_of_another_training_or_damaged_is_ignored(params, tmp_path, every_epoch):
    """With a line that names it: one bit changed anywhere, cut short, empty, or with another training's name."""
    next(epochs_of(params, Checkpoint(tmp_path, KEY, pytest.fail)))
    path = tmp_path / f"{KEY}.checkpoint"
    content = path.read_bytes()
    assert len(Checkpoint(tmp_path, KEY, pytest.fail).epochs) == 1
    damaged = [content[:i] + bytes([content[i] ^ 1]) + content[i + 1 :] for i in (0, 40, len(content) - 1)]
    for bad in (*damaged, content[:-1], content[:20], b"", b"\x80\x04."):
        path.write_bytes(bad)
        lines: list[str] = []
        checkpoint = Checkpoint(tmp_path, KEY, lines.append)
        assert lines == [f"warning: {path}: damaged, or of another training; ignored"]
        assert len(list(epochs_of(params, checkpoint))) == 3
    other = tmp_path / f"{'cd' * 32}.checkpoint"
    other.write_bytes(content)
    lines = []
    assert Checkpoint(tmp_path, "cd" * 32, lines.append).epochs == []
    assert lines == [f"warning: {other}: damaged, or of another training; ignored"]


def test_a_folder_that_cannot_be_written_is_a_warning(params, tmp_path, every_epoch):
    """One, though every epoch tries; training goes on."""
    (tmp_path / "file").touch()
    lines: list[str] = []
    checkpoint = Checkpoint(tmp_path / "file", KEY, lines.append)
    read, *_ = lines
    assert "ignored (not a directory)" in read
    assert len(list(epochs_of(params, checkpoint))) == 3
    assert not checkpoint.write()
    (warning,) = lines[1:]
    assert warning.startswith(f"warning: {checkpoint.path}: no checkpoint (")
    assert warning.endswith("set MNISTRY_CHECKPOINTS to a folder with room")


def test_two_runs_of_the_same_training_do_not_disturb_each_other(params, tmp_path, every_epoch):
    """Each writes whole files, and one ends while the other goes on."""
    checkpoints = [Checkpoint(tmp_path, KEY, pytest.fail) for _ in range(2)]
    first, second = (epochs_of(params, checkpoint) for checkpoint in checkpoints)
    next(first)
    next(second)
    next(first)
    assert len(Checkpoint(tmp_path, KEY, pytest.fail).epochs) == 2
    next(second)
    next(first)
    checkpoints[0].remove()
    assert next(second).number == 3
    assert len(Checkpoint(tmp_path, KEY, pytest.fail).epochs) == 3
    checkpoints[1].remove()
    checkpoints[1].remove()
    assert list(tmp_path.iterdir()) == []


def test_two_runs_may_write_at_the_same_time(params, tmp_path, every_epoch, monkeypatch):
    """One writes all of its file while the other is amid its own: both end whole."""
    first, second = (Checkpoint(tmp_path, KEY, pytest.fail) for _ in range(2))
    next(epochs_of(params, second))

    def meanwhile(_):
        monkeypatch.undo()
        assert second.write()

    monkeypatch.setattr("src.resuming.os.fsync", meanwhile)
    monkeypatch.setattr("src.resuming.SECONDS", 0)
    list(epochs_of(params, first, epochs=1))
    assert len(Checkpoint(tmp_path, KEY, pytest.fail).epochs) == 1
    assert [path.name for path in tmp_path.iterdir()] == [f"{KEY}.checkpoint"]


def test_old_checkpoints_are_removed_and_nothing_else(tmp_path, monkeypatch):
    """Those of a month ago, whole or in part; files that are not ours stay, however old."""
    monkeypatch.setenv("MNISTRY_CHECKPOINTS", str(tmp_path))
    old = [f"{KEY}.checkpoint", f".{KEY}.checkpoint.{'0' * 32}.partial"]
    kept = [f"{'cd' * 32}.checkpoint", "photo.png", "my.checkpoint", f"{KEY}.safetensors"]
    for name in (*old, *kept):
        (tmp_path / name).touch()
        days = DAYS - 1 if name == kept[0] else DAYS + 1
        os.utime(tmp_path / name, (time.time() - days * 86_400,) * 2)
    open_checkpoint("ef" * 32, pytest.fail)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(kept)


def test_the_folder_is_the_users_cache_or_what_the_environment_names(tmp_path, monkeypatch):
    """Without the variable, where the system has caches: on Linux, $XDG_CACHE_HOME."""
    monkeypatch.setenv("MNISTRY_CHECKPOINTS", str(tmp_path / "a"))
    assert open_checkpoint(KEY, pytest.fail).path == tmp_path / "a" / f"{KEY}.checkpoint"
    monkeypatch.delenv("MNISTRY_CHECKPOINTS")
    if sys.platform == "linux":
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "b"))
        assert open_checkpoint(KEY, pytest.fail).path.parent == tmp_path / "b" / "mnistry" / "checkpoints"
    assert list(tmp_path.iterdir()) == []


def test_resume_is_yes_or_no(params, tmp_path, monkeypatch, every_epoch):
    """`no` leaves out what an earlier run did; another word is refused."""
    monkeypatch.setenv("MNISTRY_CHECKPOINTS", str(tmp_path))
    next(epochs_of(params, open_checkpoint(KEY, pytest.fail)))
    for value, epochs in (("yes", 1), ("", 1), ("no", 0), ("NO", 0)):
        monkeypatch.setenv("MNISTRY_RESUME", value)
        assert len(open_checkpoint(KEY, pytest.fail).epochs) == epochs
    monkeypatch.setenv("MNISTRY_RESUME", "off")
    with pytest.raises(MnistryError, match="MNISTRY_RESUME: 'off'; expected no, to start afresh, or yes"):
        open_checkpoint(KEY, pytest.fail)


def test_key_changes_with_whatever_is_in_it(params):
    """Any input, at any depth; the order of keys is none."""
    inputs = {"seed": 0, "recipe": params.models.mlp.model_dump(), "code": {"a": "1", "b": "2"}}
    keys = {training_key(inputs)}
    for name, value in (("seed", 1), ("recipe", {}), ("code", {"a": "1", "b": "3"})):
        keys.add(training_key(inputs | {name: value}))
    assert len(keys) == 4
    assert training_key(dict(reversed(inputs.items()))) == training_key(inputs)


def test_code_is_that_of_the_project_that_is_loaded():
    """By module, wherever the project is; nothing of the tests or of other packages."""
    code = loaded_code("src", "stages")
    assert {"src.training", "src.models.linear", "stages.train"} <= set(code)
    assert {name.split(".")[0] for name in code} == {"src", "stages"}


RUN = """
import os, signal, sys
from pathlib import Path
import src.batches, src.resuming, src.training, src.outputs, stages.train
src.resuming.SECONDS = 0
src.resuming.SHARE = float("inf")

def kill(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

{kill}
stages.train.main(*map(Path, sys.argv[1:]))
assert "torch._dynamo" not in sys.modules
"""
KILLS = {
    "amid the second epoch": (
        "steps = []; batches = src.training.shuffled_batches\n"
        "def killing(*arguments):\n"
        "    steps.append(1)\n"
        "    for number, batch in enumerate(batches(*arguments)):\n"
        "        kill() if len(steps) == 2 and number == 3 else None\n"
        "        yield batch\n"
        "src.training.shuffled_batches = killing",
        1,
    ),
    "amid the writing of the second epoch's checkpoint": ("os.fsync = kill", 1),
    "before the classifier is written": ("stages.train.save_classifier = kill", 4),
}
"""Where a training of four epochs is killed, by turns, and how many of them are in the checkpoint then."""


def run_training(project, normalized, kill, environment=None):
    """Train in a process of its own; its exit status and what it prints."""
    outputs = [project / "out" / name for name in ("classifier.safetensors", "train.json", "history.csv", "v.csv")]
    command = [sys.executable, "-c", RUN.format(kill=kill), normalized, *outputs]
    settings = os.environ | {"PYTHONPATH": str(PROJECT)} | (environment or {})
    result = subprocess.run(command, cwd=project, env=settings, capture_output=True, text=True, check=False)
    return result.returncode, result.stdout + result.stderr


@pytest.fixture
def digits(tmp_path, monkeypatch, write_params):
    """The normalized digits, with params.yaml for four epochs of a cnn, and a folder for checkpoints."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("gc.freeze", lambda: None)
    monkeypatch.setenv("MNISTRY_CHECKPOINTS", str(tmp_path / "checkpoints"))
    write_params(model="cnn", models__cnn__epochs=4, models__cnn__label_smoothing=0.1)
    download.main(PROJECT / "data/sources/digits", tmp_path / "raw")
    normalize.main(tmp_path / "raw", tmp_path / "normalized", tmp_path / "d.json", tmp_path / "figures")
    return tmp_path / "normalized"


@pytest.mark.skipif("sys.platform == 'win32'", reason="has no SIGKILL")
def test_training_killed_at_any_moment_ends_with_the_same_bytes(tmp_path, digits, capsys):
    """Killed three times, each run going on from the one before: classifier, metrics and history."""
    folder = tmp_path / "out"
    for kill, (patch, epochs) in KILLS.items():
        status, output = run_training(tmp_path, digits, patch)
        assert status == -signal.SIGKILL, f"{kill}: {output}"
        assert not (folder / "classifier.safetensors").exists()
        (checkpoint,) = (tmp_path / "checkpoints").glob("*.checkpoint")
        assert len(Checkpoint(checkpoint.parent, checkpoint.stem, pytest.fail).epochs) == epochs, kill
    status, output = run_training(tmp_path, digits, "")
    assert status == 0, output
    (line,) = [line for line in output.splitlines() if "goes on" in line]
    assert line == f"training goes on after epoch 4/4, kept in {checkpoint}; with MNISTRY_RESUME=no, it starts afresh"
    # What the killed write left is whatever a process that still writes could have: it is removed after a month.
    assert [path.suffix for path in (tmp_path / "checkpoints").iterdir()] == [".partial"]
    resumed = {path.name: path.read_bytes() for path in folder.iterdir()}
    train.main(
        digits, folder / "classifier.safetensors", folder / "train.json", folder / "history.csv", folder / "v.csv"
    )
    assert "goes on" not in capsys.readouterr().out
    assert resumed == {path.name: path.read_bytes() for path in folder.iterdir()}
    assert json.loads(resumed["train.json"])["epochs"] == 4


def test_training_in_blocks_goes_on_with_the_same_bytes(
    tmp_path, digits, write_params, monkeypatch, capsys, every_epoch
):
    """Cut off in its third epoch; where the images fit into memory, that is another training, with another key."""
    write_params(model="cnn", models__cnn__epochs=3, models__cnn__label_smoothing=0.1)
    folder = tmp_path / "out"
    outputs = [folder / name for name in ("c.safetensors", "train.json", "history.csv", "v.csv")]
    train.main(digits, *outputs)
    in_memory = outputs[0].read_bytes()
    for name, value in (("FULLEST", 0), ("BLOCK_BYTES", 512), ("GROUP_BYTES", 16384)):
        monkeypatch.setattr(f"src.blocks.{name}", value)
    capsys.readouterr()
    train.main(digits, *outputs)
    output = capsys.readouterr().out
    assert "the images take 92.2 kB, more than 0% of the " in output
    assert f"threads {torch.get_num_threads()}, images in blocks\n" in output
    whole = [path.read_bytes() for path in outputs]
    assert whole[0] != in_memory
    assert json.loads(whole[1])["validation_accuracy"] > 0.8
    drawn: list[int] = []

    def interrupted(*arguments):
        drawn.append(len(drawn))
        return shuffled_batches(*arguments) if len(drawn) < 3 else (_ for _ in ()).throw(KeyboardInterrupt)

    with monkeypatch.context() as patch:
        patch.setattr("src.training.shuffled_batches", interrupted)
        with pytest.raises(KeyboardInterrupt):
            train.main(digits, *outputs)
    train.main(digits, *outputs)
    assert "training goes on after epoch 2/3" in capsys.readouterr().out
    assert whole == [path.read_bytes() for path in outputs]


def test_other_inputs_start_afresh(tmp_path, digits, write_params, monkeypatch, capsys, every_epoch):
    """Seed, params, number of threads: another key. The same ones: the training goes on."""
    outputs = (tmp_path / "c.safetensors", tmp_path / "train.json", tmp_path / "history.csv", tmp_path / "v.csv")

    def failing(*_):
        raise OSError(28, "No space left on device", "models/classifier.safetensors")

    monkeypatch.setattr(train, "save_classifier", failing)
    threads = torch.get_num_threads()
    for changes in ({}, {"seed": 1}, {"models__cnn__learning_rate": 0.004}, {"train__class_weights": "balanced"}):
        write_params(models__cnn__epochs=1, **changes)
        with pytest.raises(MnistryError, match="no space left on device; the training is kept in"):
            train.main(digits, *outputs)
        assert "goes on" not in capsys.readouterr().out, changes
    torch.set_num_threads(threads + 1)
    try:
        with pytest.raises(MnistryError, match="no space left on device"):
            train.main(digits, *outputs)
        assert "goes on" not in capsys.readouterr().out
    finally:
        torch.set_num_threads(threads)
    with pytest.raises(MnistryError, match="no space left on device"):
        train.main(digits, *outputs)
    assert "training goes on after epoch 1/1" in capsys.readouterr().out


@pytest.mark.parametrize("output", ["save_classifier", "write_json", "write_predictions"])
def test_a_full_disk_at_the_end_loses_nothing(tmp_path, digits, monkeypatch, capsys, output):
    """Though no ten seconds had gone by, the last epoch is in the checkpoint, and the next run only writes."""
    outputs = (tmp_path / "c.safetensors", tmp_path / "train.json", tmp_path / "history.csv", tmp_path / "v.csv")

    def full_disk(path, *_):
        with writing(path):
            raise OSError(28, "No space left on device", str(path))

    with monkeypatch.context() as patch:
        patch.setattr(train, output, full_disk)
        with pytest.raises(MnistryError) as error:
            train.main(digits, *outputs)
    (checkpoint,) = (tmp_path / "checkpoints").iterdir()
    assert ": no space left on device" in str(error.value)
    assert f"; the training is kept in {checkpoint}, and the next `dvc repro` goes on from it" in str(error.value)
    capsys.readouterr()
    train.main(digits, *outputs)
    output = capsys.readouterr().out
    assert "training goes on after epoch 4/4" in output
    assert "train loss" not in output
    assert list((tmp_path / "checkpoints").iterdir()) == []
    assert outputs[0].exists()


def test_diverged_training_leaves_no_checkpoint(tmp_path, digits, write_params, every_epoch, monkeypatch):
    """It would diverge again; no classifier either, and the error says what to do."""
    write_params(model="mlp", models__mlp__learning_rate=1e30)
    outputs = (tmp_path / "c.safetensors", tmp_path / "train.json", tmp_path / "history.csv", tmp_path / "v.csv")
    with pytest.raises(MnistryError) as error:
        train.main(digits, *outputs)
    message = str(error.value)
    assert message.startswith("epoch 1, step ")
    assert message.endswith(
        "most likely, learning_rate 1e+30 is too high; try -S models.mlp.learning_rate=0.01; no classifier was "
        "written: `make recover` brings back the last one"
    )

    def diverging(model, _, epoch):
        assert len(list((tmp_path / "checkpoints").glob("*"))) == epoch - 1
        if epoch == 2:
            raise DivergedError(2, None, "the validation loss is inf")

    monkeypatch.setattr("src.training.check_epoch", diverging)
    write_params(model="mlp", models__mlp__learning_rate=0.02)
    with pytest.raises(MnistryError, match=r"^epoch 2: the validation loss is inf; .+\.learning_rate=0\.002; no class"):
        train.main(digits, *outputs)
    assert not outputs[0].exists()
    assert list((tmp_path / "checkpoints").iterdir()) == []


def test_no_path_is_part_of_the_key(tmp_path, digits, monkeypatch, capsys, every_epoch):
    """Queued and temporary runs are in copies of the project: what one of them did, another goes on from."""

    def interrupted(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(train, "save_classifier", interrupted)
        with pytest.raises(KeyboardInterrupt):
            train.main(digits, *(tmp_path / name for name in ("a", "b", "c", "d")))
    copy = tmp_path / "copy"
    copy.mkdir()
    (copy / "params.yaml").write_bytes((tmp_path / "params.yaml").read_bytes())
    digits.rename(copy / "normalized")
    monkeypatch.chdir(copy)
    train.main(Path("normalized"), *map(Path, "abcd"))
    assert "training goes on after epoch 4/4" in capsys.readouterr().out
