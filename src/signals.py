"""How a process ends before its work is done: told to by a signal, or because the DVC that runs it has ended.

A stage sets it up before anything else (src/start.py): what takes milliseconds to import is imported where it is used.
"""

import os
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from types import FrameType

ENDINGS = {
    "SIGINT": "interrupted",
    "SIGTERM": "terminated (SIGTERM)",
    "SIGHUP": "the terminal was closed (SIGHUP)",
}
"""The signals that end a process, and what is said of each."""
GRACE_SECONDS = 5
"""For what is half-written to be removed; less than the 10 s after which `docker stop` kills."""
POLL_SECONDS = 0.2
DVC_STAGE = "DVC_STAGE"
"""DVC sets it in the environment of each stage's command: to the stage's name."""
LAUNCHER = "MNISTRY_LAUNCHER"
"""Set for the processes that a stage started to share its work: to the id of the process that started them."""
HELPER = "MNISTRY_HELPER"
"""Set on a host that helps another one to train, by `make worker`."""


def end_on_signals(end: Callable[[int, FrameType | None], None] | None = None) -> None:
    """Make each signal of ENDINGS end the process with a line and status 128 + its number, as shells count.

    What is half-written is removed, as at an exception. A signal that is ignored, as SIGHUP is under nohup, stays so.
    end: what is done instead at such a signal.
    """
    for name in ENDINGS:
        number = getattr(signal, name, None)  # Windows has no SIGHUP.
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, end or _end)


def _end(number: int, frame: FrameType | None) -> None:
    status = 128 + number
    say(ENDINGS[signal.Signals(number).name])
    # An exception in the middle of an import may be taken for a fault of the module, or be lost; there is nothing to
    # remove yet. While the interpreter ends, Python prints and drops it; there is nothing to remove any more.
    if _is_importing(frame) or _is_ending():
        os._exit(status)
    # Whoever sends a second signal doesn't want to wait.
    end_on_signals(lambda number, _: os._exit(128 + number))
    # Where the exception is lost, as in a finalizer, or what it waits for doesn't come.
    _start(_exit_later, status)
    raise SystemExit(status)


def _is_importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False


def _is_ending() -> bool:
    return not threading.main_thread().is_alive()


def _exit_later(status: int) -> None:
    time.sleep(GRACE_SECONDS)
    os._exit(status)


def say(ending: str) -> None:
    """Print a line on standard error, whatever the process was printing; nothing where nobody reads it any more.

    Of processes that share a stage's work, the one that started them says it.
    """
    if os.environ.get(LAUNCHER, str(os.getpid())) != str(os.getpid()):
        return
    with suppress(OSError):
        # Not through sys.stderr, which may be in the middle of a line of its own.
        os.write(2, f"error: {ending}\n".encode())


def end_with_dvc() -> None:
    """End this process as SIGTERM does when the DVC that runs it as a stage ends, killed or not.

    It would live on, and could overwrite what the next run writes. Without DVC, nothing is followed: who runs a stage
    by hand under nohup wants it to outlive the shell. The processes that a stage started end with the stage.
    """
    if LAUNCHER in os.environ:
        _start(_follow_launcher, int(os.environ[LAUNCHER]))
    elif DVC_STAGE in os.environ and os.name == "posix":
        _start(_follow, _path_to_dvc())


def _follow_launcher(process: int) -> None:
    while os.getppid() == process:
        time.sleep(POLL_SECONDS)
    os.kill(os.getpid(), signal.SIGTERM)
    _exit_later(128 + signal.SIGTERM)


def _follow(path: list[int]) -> None:
    # Whoever adopts this process when DVC has ended is of another session.
    while _path_to_dvc() == path and _same_session(path[-1]):
        time.sleep(POLL_SECONDS)
    say("the DVC that ran this stage has ended")
    os.kill(os.getpid(), signal.SIGTERM)
    _exit_later(128 + signal.SIGTERM)


def _path_to_dvc() -> list[int]:
    """The parent of this process, and so on up to DVC: between them is a shell, unless it became the process itself.

    Where there is no /proc, the parent alone: the shells of those systems become the process.
    """
    path = [os.getppid()]
    # The shell has the variable as well; DVC hasn't, or of another stage.
    variable = f"{DVC_STAGE}={os.environ[DVC_STAGE]}".encode()
    with suppress(OSError):
        while variable in _read(path[-1], "environ").split(b"\0"):
            path.append(int(_read(path[-1], "stat").rpartition(b")")[2].split()[1]))
    return path


def _read(process: int, name: str) -> bytes:
    with open(f"/proc/{process}/{name}", "rb") as file:  # noqa: PTH123  # pathlib is imported later
        return file.read()


def _same_session(process: int) -> bool:
    try:
        return os.getsid(process) == os.getsid(0)
    except OSError:
        return False


def _start(function: Callable[..., None], argument: object) -> None:
    threading.Thread(target=function, args=(argument,), daemon=True).start()
