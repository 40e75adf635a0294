"""How stages and commands end when a signal or the end of DVC tells them to."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import PROJECT

HOOK = """
import os, signal, sys

class Interrupter:
    def find_spec(name, *_):
        if name == os.environ["AT"]:
            try:
                os.kill(os.getpid(), int(os.environ["SIGNAL"]))
            except BaseException:
                # C code takes it for a fault of the module.
                raise ImportError(name) from None

sys.meta_path.insert(0, Interrupter)
"""
"""A sitecustomize.py that sends the process a signal when it imports a module."""
WORK = """
import os, sys, time
from pathlib import Path
import src.signals
from src.outputs import whole_folder

src.signals.GRACE_SECONDS = 0.3
folder = Path(sys.argv[1])

def wait():
    (folder / "pid.new").write_text(str(os.getpid()))
    (folder / "pid.new").rename(folder / "pid")
    time.sleep(60)
"""


@pytest.fixture
def start(tmp_path):
    """Start the program as a stage is started, and wait until it calls `wait`; it is killed at the end."""
    processes = []

    def start_program(program, *launcher, **environment):
        (tmp_path / "work").mkdir()
        (tmp_path / "work/__init__.py").write_text("import src.start")
        (tmp_path / "work/go.py").write_text(WORK + program)
        variables = {name: value for name, value in os.environ.items() if name != "DVC_STAGE"}
        command = [*launcher, sys.executable, "-m", "work.go", str(tmp_path)]
        process = subprocess.Popen(
            command, env=variables | {"PYTHONPATH": f"{PROJECT}:{tmp_path}"} | environment,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        processes.append(process)
        until((tmp_path / "pid").exists)
        return process

    yield start_program
    for process in processes:
        process.kill()
        process.wait()
        assert process.stderr is not None
        process.stderr.close()


def until(condition, seconds=10):
    """Wait for the condition, which has to hold within that time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize(
    ("module", "at"),
    [
        ("stages.check", "inspect"),
        ("stages.train", "numpy"),
        ("stages.train", "torch._C"),
        ("stages.evaluate", "src.plots"),
        ("commands.predict", "torch.nn"),
        ("commands.demo", "src.errors"),
    ],
)
def test_interrupted_imports_end_with_a_line(tmp_path, module, at):
    """At the first module and deep in torch, in stages and commands: never a traceback."""
    (tmp_path / "sitecustomize.py").write_text(HOOK)
    environment = os.environ | {"PYTHONPATH": f"{tmp_path}:{PROJECT}", "AT": at, "SIGNAL": str(int(signal.SIGINT))}
    count = {"check": 2, "train": 4, "evaluate": 6, "predict": 1}.get(module.partition(".")[2], 0)
    result = subprocess.run(
        [sys.executable, "-m", module, *"abcdef"[:count]],
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (result.returncode, result.stderr) == (130, "error: interrupted\n")


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("SIGINT", "interrupted"),
        ("SIGTERM", "terminated (SIGTERM)"),
        ("SIGHUP", "the terminal was closed (SIGHUP)"),
    ],
)
def test_signals_end_the_work_with_a_line_and_clear_up(start, tmp_path, name, line):
    """With the status that shells give to the signal; what was half-written is removed."""
    process = start('with whole_folder(folder / "out"): wait()')
    assert (tmp_path / ".out.partial").exists()
    process.send_signal(getattr(signal, name))
    assert process.communicate()[1] == f"error: {line}\n"
    assert process.returncode == 128 + getattr(signal, name)
    assert not (tmp_path / ".out.partial").exists()


def test_second_signal_ends_at_once(start, tmp_path):
    """Who presses Ctrl+C again doesn't wait for what the first one began."""
    process = start(
        "src.signals.GRACE_SECONDS = 60\ntry: wait()\nexcept SystemExit:\n"
        '    try: (folder / "pid").unlink(); time.sleep(60)\n    finally: time.sleep(60)'
    )
    process.send_signal(signal.SIGTERM)
    until(lambda: not (tmp_path / "pid").exists())
    process.send_signal(signal.SIGINT)
    assert process.wait(5) == 130


def test_signal_while_the_interpreter_ends_is_a_line(start):
    """What an exception in a function called at exit would be: a traceback, and nothing else."""
    process = start("import atexit; atexit.register(wait)")
    process.send_signal(signal.SIGTERM)
    assert process.communicate(timeout=5)[1] == "error: terminated (SIGTERM)\n"
    assert process.returncode == 143


def test_signal_that_is_lost_ends_the_process_all_the_same(start):
    """An exception may be swallowed by whoever happens to run: time is up after GRACE_SECONDS."""
    process = start("try: wait()\nexcept SystemExit: time.sleep(60)")
    process.send_signal(signal.SIGTERM)
    assert process.wait(5) == 143


def test_signals_that_are_ignored_stay_so(start):
    """As nohup asks for."""
    process = start("wait()", "nohup")
    process.send_signal(signal.SIGHUP)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.3)


PARENT = "import subprocess, sys; subprocess.run(sys.argv[1:], env={**__import__('os').environ, 'DVC_STAGE': 'train'})"
SHELL = ("/bin/sh", "-c", '"$@"; true', "-")
"""A shell that stays until its command has ended, as fish does and others in such a case."""


@pytest.mark.skipif(not Path("/proc").exists(), reason="looks for DVC in /proc")
@pytest.mark.parametrize("shell", [(), SHELL])
def test_stage_ends_when_dvc_is_killed(start, tmp_path, shell):
    """Whether or not a shell stays between them; it says why, and clears up."""
    dvc = start('with whole_folder(folder / "out"): wait()', sys.executable, "-c", PARENT, *shell)
    dvc.kill()
    # Its standard error is closed when the last process that has it ends.
    assert dvc.communicate(timeout=5)[1] == (
        "error: the DVC that ran this stage has ended\nerror: terminated (SIGTERM)\n"
    )
    assert not (tmp_path / ".out.partial").exists()


STARTER = (
    "import os, subprocess, sys; environment = os.environ | {'MNISTRY_LAUNCHER': str(os.getpid())}; "
    "subprocess.run(sys.argv[1:], env=environment, start_new_session=True)"
)


def test_processes_of_a_stage_end_with_it_and_say_nothing(start, tmp_path):
    """Killed, it can't end them; they clear up all the same. What there is to say, it says."""
    stage = start('with whole_folder(folder / "out"): wait()', sys.executable, "-c", STARTER)
    stage.kill()
    assert stage.communicate(timeout=5)[1] == ""
    assert not (tmp_path / ".out.partial").exists()


def test_stage_run_by_hand_outlives_its_shell(start, tmp_path):
    """In the background, where DVC isn't its parent."""
    process = start("wait()", *SHELL)
    process.kill()
    with pytest.raises(subprocess.TimeoutExpired):
        process.communicate(timeout=0.5)
    os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)
