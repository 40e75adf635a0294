"""Starting a training's processes under torch's elastic launcher, and starting them again where one was lost.

The launcher's own environment is read: PET_NNODES, PET_RDZV_ENDPOINT and the other options of torchrun.
"""

import logging
import os
import signal
import sys
import uuid
from collections.abc import Callable, Mapping, Sequence
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch.distributed.elastic.agent.server.api import WorkerSpec, WorkerState
from torch.distributed.elastic.agent.server.local_elastic_agent import LocalElasticAgent
from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
from torch.distributed.elastic.multiprocessing.errors import ProcessFailure
from torch.distributed.elastic.rendezvous import RendezvousError, RendezvousParameters, RendezvousTimeoutError
from torch.distributed.elastic.rendezvous.registry import get_rendezvous_handler
from torch.distributed.launcher.api import LaunchConfig
from torch.distributed.run import config_from_args, parse_args

from src.errors import MnistryError
from src.processes import REFUSED, needs_launcher
from src.signals import ENDINGS, HELPER, LAUNCHER, say

RESTARTS = 3
"""How often the processes are started again, unless PET_MAX_RESTARTS says."""
WAIT_SECONDS = 600
"""For all hosts to come, unless PET_RDZV_CONF says join_timeout=SECONDS."""


def launch(count: int, module: str, arguments: Sequence[str], log: Callable[[str], None]) -> None:
    """Run `python -m module arguments` in `count` processes of this host, together with those of the other hosts.

    Raises MnistryError with what the first one that failed says. At a signal, the processes end and this one with them.
    """
    config, program, program_arguments = configure(count, module, arguments)
    logging.getLogger("torch.distributed").setLevel(logging.CRITICAL)
    os.environ |= {
        LAUNCHER: str(os.getpid()),
        "OMP_NUM_THREADS": str(max(torch.get_num_threads() // count, 1)),
        "TORCHELASTIC_SIGNALS_TO_HANDLE": ",".join(_heeded_signals()),
        # Shared, the store still has the first start's addresses when processes are started again: pytorch#135712.
        "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1",
        # c10d's C++ warns of each connection that the end of a process breaks.
        "TORCH_CPP_LOG_LEVEL": os.environ.get("TORCH_CPP_LOG_LEVEL", "ERROR"),
    }
    with TemporaryDirectory(prefix="mnistry-") as folder:
        failures = _run(config, program, program_arguments, folder, log)
        if failures:
            raise _error(failures, config.max_restarts)


def configure(count: int, module: str, arguments: Sequence[str]) -> tuple[LaunchConfig, str, list[str]]:
    """What torchrun makes of these processes and its environment, the program to start, and the program's arguments.

    Raises MnistryError where the environment doesn't say what it has to.
    """
    options = ["--nproc-per-node", str(count), "--max-restarts", os.environ.get("PET_MAX_RESTARTS", str(RESTARTS))]
    if not needs_launcher(1):
        # Not by the host's name, which may not resolve.
        options += ["--nnodes=1", "--local-addr=localhost", "--rdzv-backend=c10d", "--rdzv-endpoint=localhost:0"]
        options += [f"--rdzv-id={uuid.uuid4()}"]
    elif "PET_RDZV_ENDPOINT" not in os.environ:
        raise MnistryError("PET_RDZV_ENDPOINT: not set; expected the leading host's address, as HOST:29400")
    elif "PET_RDZV_BACKEND" not in os.environ:
        options.append("--rdzv-backend=c10d")
    try:
        config, program, program_arguments = config_from_args(parse_args([*options, "-m", module, *arguments]))
    except (ValueError, AssertionError) as error:
        raise MnistryError(f"the launcher's environment, PET_*: {error}") from None
    # Guessed from the host's name otherwise.
    config.rdzv_configs.setdefault("is_host", str(HELPER not in os.environ))
    config.rdzv_configs.setdefault("join_timeout", str(WAIT_SECONDS))
    return config, str(program), program_arguments


def _heeded_signals() -> list[str]:
    known = {name: getattr(signal, name, None) for name in ENDINGS}
    return [name for name, number in known.items() if number and signal.getsignal(number) is not signal.SIG_IGN]


class _Agent(LocalElasticAgent):
    """torch's agent, which doesn't start again what would fail again, and says so where it starts something again."""

    log: Callable[[str], None]

    def _monitor_workers(self, worker_group: Any) -> Any:
        result = super()._monitor_workers(worker_group)
        if any(failure.exitcode == REFUSED for failure in result.failures.values()):
            self._remaining_restarts = 0
        elif result.state is WorkerState.FAILED and self._remaining_restarts:
            left = f"{self._remaining_restarts} of {worker_group.spec.max_restarts} restarts left"
            self.log(f"warning: {_describe(result.failures)}; going on from the last checkpoint, {left}")
        return result


def _run(
    config: LaunchConfig, program: str, arguments: Sequence[str], folder: str, log: Callable[[str], None]
) -> Mapping[int, ProcessFailure]:
    """What failed in the end, by rank."""
    parameters = RendezvousParameters(
        config.rdzv_backend, config.rdzv_endpoint, config.run_id, config.min_nodes, config.max_nodes,
        config.local_addr, **config.rdzv_configs,
    )  # fmt: skip
    try:
        rendezvous = get_rendezvous_handler(parameters)
        spec = WorkerSpec(
            config.role, config.nproc_per_node, rendezvous, entrypoint=program, args=tuple(arguments),
            max_restarts=config.max_restarts, monitor_interval=config.monitor_interval, local_addr=config.local_addr,
        )  # fmt: skip
        agent = _Agent(spec, DefaultLogsSpecs(log_dir=folder))
        agent.log = log
        result = agent.run()
    except SignalException as error:
        say(ENDINGS[error.sigval.name])
        sys.exit(128 + error.sigval)
    except RendezvousTimeoutError:
        hosts, seconds = config.min_nodes, config.rdzv_configs["join_timeout"]
        raise MnistryError(
            f"not all of {hosts} hosts came within {seconds} s (PET_NNODES={hosts}, PET_RDZV_CONF=join_timeout="
            f"{seconds}); start `make worker` on the others, or leave PET_NNODES out"
        ) from None
    except RendezvousError as error:
        raise MnistryError(
            f"{config.rdzv_endpoint}: the leading host can't be reached ({error}); see whether it runs, and that "
            "PET_RDZV_ENDPOINT is its address on all hosts"
        ) from None
    if not any(failure.exitcode == REFUSED for failure in result.failures.values()):
        rendezvous.shutdown()
    failures: Mapping[int, ProcessFailure] = result.failures
    return failures


def _root(failures: Mapping[int, ProcessFailure]) -> int:
    """The rank of the process that failed first: others lose their connection to it, or are told to end after it."""

    def order(rank: int) -> tuple[bool, bool, bool, int]:
        status = failures[rank].exitcode
        return status != REFUSED, status in (-signal.SIGTERM, 128 + signal.SIGTERM), status >= 0, rank

    return min(failures, key=order)


def _message(failure: ProcessFailure, key: str) -> str:
    """What a process that failed wrote down: its message, or its py_callstack; nothing where it was killed."""
    message = failure.error_file_data.get("message", {})
    return str((message | message.get("extraInfo", {})).get(key, "")) if isinstance(message, dict) else ""


def _describe(failures: Mapping[int, ProcessFailure]) -> str:
    rank = _root(failures)
    failure = failures[rank]
    how = (
        failure.signal_name() if failure.exitcode < 0 else _message(failure, "message") or f"status {failure.exitcode}"
    )
    return f"process {rank} of the training ended ({how})"


def _error(failures: Mapping[int, ProcessFailure], restarts: int) -> BaseException:
    """What to raise in the end."""
    failure = failures[_root(failures)]
    if failure.exitcode == REFUSED:
        text = _message(failure, "message")
        return MnistryError(*text.split("\n")) if text else SystemExit(1)
    print(_message(failure, "py_callstack"), end="", file=sys.stderr)
    return MnistryError(
        f"{_describe(failures)}, also after {restarts} restarts; what it had finished is kept, and the next "
        "`dvc repro` goes on from it"
    )
