"""Processes that train one model together: each computes with its share of every batch, and all take the same steps.

torch's launcher starts them (src/launching.py). Where there is one process, nothing is done here.
"""

import json
import os
import socket
import sys
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from src.errors import MnistryError, describe_error
from src.signals import HELPER, LAUNCHER
from src.synced_batch_norm import synchronize_batch_norm

REFUSED = 78
"""Exit status of a process that would fail again: sysexits.h calls it an error of configuration."""
PATIENCE = timedelta(minutes=5)
"""How long a process waits for the others at each exchange before it takes one of them for lost."""


@dataclass(frozen=True)
class Share:
    """Which items of a whole are this process's: those from `start` to before `stop` of `total`."""

    start: int
    stop: int
    total: int

    def __len__(self) -> int:
        """How many items that is."""
        return self.stop - self.start

    def of(self, whole: Tensor) -> Tensor:
        """The share of a tensor whose last axis goes over the items."""
        return whole[..., self.start : self.stop]


@dataclass(frozen=True)
class Processes:
    """Those that train together, as one of them sees them; without arguments, it is alone.

    rank: its number. leader: that of the one which writes and logs.
    """

    rank: int = 0
    count: int = 1
    leader: int = 0

    @property
    def leads(self) -> bool:
        """Whether this is the one process that writes and logs."""
        return self.rank == self.leader

    def share(self, total: int) -> Share:
        """The share of so many items that is this process's; no share is larger than another by more than one."""
        return Share(total * self.rank // self.count, total * (self.rank + 1) // self.count, total)

    def sum(self, tensor: Tensor) -> Tensor:
        """The sum over all processes' tensors of one shape."""
        if self.count > 1:
            dist.all_reduce(tensor)
        return tensor

    def mean(self, tensor: Tensor) -> Tensor:
        """The mean of all processes' tensors of one shape."""
        return self.sum(tensor) / self.count if self.count > 1 else tensor

    def wrap(self, model: nn.Module) -> nn.Module:
        """What to train in the model's place, so that each step has the gradients and statistics of all images.

        The model shares its weights, and its batch normalization is replaced.
        """
        if self.count == 1:
            return model
        synchronize_batch_norm(model)
        # Buffers stay the same in all processes: all see the same statistics. Otherwise than by looking for unused
        # parameters, the sums are put together in another order from the second step on, and so would be others when a
        # training that was cut off goes on.
        return nn.parallel.DistributedDataParallel(model, forward_sync_buffers=False, find_unused_parameters=True)

    def loss(self, loss: nn.CrossEntropyLoss, share: Share) -> nn.Module:
        """A loss over this process's share of each batch; the mean of those of all is the whole batch's."""
        return loss if self.count == 1 else _ShareOfLoss(loss, share, self)

    def from_leader(self, content: bytes) -> bytes:
        """What the leader's content is."""
        size = torch.tensor(len(content))
        dist.broadcast(size, self.leader)
        data = torch.frombuffer(bytearray(content), dtype=torch.uint8) if self.leads else _empty(size)
        dist.broadcast(data, self.leader)
        return data.numpy().tobytes()

    def texts(self, text: str) -> list[str]:
        """What all processes give, in the order of their ranks."""
        content = torch.frombuffer(bytearray(text.encode() + b"\n"), dtype=torch.uint8)
        sizes = [torch.tensor(0) for _ in range(self.count)]
        dist.all_gather(sizes, torch.tensor(len(content)))
        longest = torch.stack(sizes).max()
        padded, found = _empty(longest).fill_(ord("\n")), [_empty(longest) for _ in sizes]
        padded[: len(content)] = content
        dist.all_gather(found, padded)
        return [each.numpy().tobytes().decode().rstrip("\n") for each in found]

    def any(self, text: str | None) -> str | None:
        """The first text that a process gives, the same in all of them; None where none does."""
        if self.count == 1:
            return text
        return next(filter(None, self.texts(text or "")), None)

    def require_same(self, inputs: Mapping[str, Any]) -> None:
        """Raises MnistryError in a process whose inputs are not the leader's, and RuntimeError in all others then.

        inputs: nested; texts and numbers that JSON can hold. What differs is named by its dotted keys.
        """
        if self.count == 1:
            return
        own = _flat(inputs)
        expected = json.loads(self.from_leader(json.dumps(own).encode()))
        different = sorted(key for key in own.keys() | expected if own.get(key) != expected.get(key))
        problem = f"process {self.rank} on {socket.gethostname()}: other {_shown(different)}" if different else ""
        problems = [each for each in self.texts(problem) if each]
        if problem:
            raise MnistryError(
                f"{problem} than where the training was started; bring code and params.yaml to the same commit "
                "(git status, git pull), the data with `dvc pull`, and start the worker again"
            )
        if problems:
            raise RuntimeError(f"refused {problems[0]}")


ALONE = Processes()


class _ShareOfLoss(nn.Module):
    def __init__(self, loss: nn.CrossEntropyLoss, share: Share, processes: Processes):
        super().__init__()
        self.loss, self.fraction, self.processes = loss, len(share) / share.total, processes

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The mean over the share, times how much of the batch's weight it has, times the number of processes."""
        fraction: float | Tensor = self.fraction
        if self.loss.weight is not None:
            weight = self.loss.weight[labels].sum()
            fraction = weight / self.processes.sum(weight.clone())
        found: Tensor = self.loss(logits, labels) * fraction * self.processes.count
        return found


def _empty(size: Tensor) -> Tensor:
    return torch.empty(int(size), dtype=torch.uint8)


def _flat(inputs: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """The values by dotted keys, as they are after a trip through JSON."""
    found: dict[str, Any] = {}
    for key, value in inputs.items():
        name = f"{prefix}{key}"
        found |= _flat(value, f"{name}.") if isinstance(value, Mapping) else {name: json.loads(json.dumps(value))}
    return found


def _shown(keys: list[str]) -> str:
    more = f" and {len(keys) - 3} more" if len(keys) > 3 else ""
    return f"{', '.join(keys[:3])}{more}"


def processes_per_host(asked: int | str, device: torch.device) -> int:
    """How many processes a host trains in; `auto` is one per accelerator that the device may be.

    Raises MnistryError where there aren't as many accelerators as are asked for.
    """
    kind = device.type
    most = torch.accelerator.device_count() if kind == "cuda" and device.index is None else 1
    count = (most if kind == "cuda" else 1) if asked == "auto" else int(asked)
    if kind != "cpu" and count > most:
        raise MnistryError(f"train.processes: {count}, but device {device} is {most}; expected auto or 1 to {most}")
    return count


def is_worker() -> bool:
    """Whether this is one of the processes that the launcher started."""
    return LAUNCHER in os.environ


def needs_launcher(count: int) -> bool:
    """Whether training takes more processes than this one: `count` per host, on as many hosts as PET_NNODES says."""
    return not is_worker() and (count > 1 or os.environ.get("PET_NNODES", "1") not in ("1", "1:1"))


@contextmanager
def joined(device: torch.device) -> Iterator[tuple[Processes, torch.device]]:
    """The processes of this training, while the block runs, and this one's device.

    Where the launcher started this process, it ends with what went wrong in the file that the launcher reads.
    """
    if not is_worker():
        yield ALONE, device
        return
    try:
        device = _own_device(device)
        # Texts and counts go through the CPU.
        backend = "gloo" if device.type == "cpu" else "cpu:gloo,cuda:nccl"
        dist.init_process_group(backend, timeout=PATIENCE)
        processes = _introduce()
        if not processes.leads:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        yield processes, device
        dist.destroy_process_group()
    except BrokenPipeError:
        _exit("", REFUSED)
    except Exception as error:
        line = describe_error(error)
        _exit(f"{type(error).__name__}: {error}" if line is None else line, 1 if line is None else REFUSED)


def _own_device(device: torch.device) -> torch.device:
    if device.type == "cpu":
        return device
    index = int(os.environ["LOCAL_RANK"])
    torch.accelerator.set_device_index(index)
    return torch.device(device.type, index)


def _introduce() -> Processes:
    """The processes, once they know which one leads: the first on the host that doesn't just help."""
    processes = Processes(dist.get_rank(), dist.get_world_size())
    first = HELPER not in os.environ and os.environ["LOCAL_RANK"] == "0"
    leaders = [rank for rank, text in enumerate(processes.texts("leads" if first else "")) if text]
    if len(leaders) != 1:
        raise MnistryError(
            f"{len(leaders)} hosts lead this training; expected `dvc repro` or `dvc exp run` on one host, and "
            "`make worker` on all others"
        )
    return Processes(processes.rank, processes.count, leaders[0])


def _exit(message: str, status: int) -> None:
    """End with the message and the traceback where the launcher looks for them, as torch's ErrorHandler writes them."""
    details = {"py_callstack": traceback.format_exc(), "timestamp": "0"}
    Path(os.environ["TORCHELASTIC_ERROR_FILE"]).write_text(
        json.dumps({"message": {"message": message, "extraInfo": details}}), "utf-8"
    )
    sys.exit(status)
