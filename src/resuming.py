"""Checkpoints: what a training that was cut off goes on from. Tensors and JSON, no pickle."""

import hashlib
import json
import os
import re
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import platformdirs
import torch
from safetensors.torch import load, save
from torch import Tensor

from src.errors import MnistryError
from src.outputs import whole_file
from src.progress import Epoch, Progress, epoch_from_dict

FOLDER = "MNISTRY_CHECKPOINTS"
"""The environment variable that names another folder for checkpoints than one in the user's cache directory."""
RESUME = "MNISTRY_RESUME"
"""The environment variable that is `no` to start afresh. No param: it changes no result."""
SECONDS = 10.0
"""A checkpoint is written after the first epoch that ends this long after the last one."""
SHARE = 0.01
"""Of the time, at most this much goes into writing."""
DAYS = 30
"""Checkpoints that nobody wrote to for so long are removed."""
DIGEST_SIZE = hashlib.sha256().digest_size
OWN_NAME = re.compile(r"\.?[0-9a-f]{64}\.checkpoint(\.[0-9a-f]{32}\.partial)?")
TENSOR = "tensor"
VALUES = "values"


class Checkpoint:
    """The file that keeps one training's progress, and the epochs that an earlier run of it finished.

    `log` is given a line where something is wrong. That never ends a training.
    """

    def __init__(self, folder: Path, key: str, log: Callable[[str], None], resume: bool = True):
        self.path = folder / f"{key}.checkpoint"
        self._key, self._log, self._warned = key, log, False
        self._progress: Progress | None = None
        self._due = time.monotonic() + SECONDS
        self._saved = self._read() if resume else None
        self.epochs: list[Epoch] = [epoch_from_dict(epoch) for epoch in self._saved["epochs"]] if self._saved else []

    def restore(self, progress: Progress) -> None:
        """Bring a training that has not begun to where the earlier run was, if there was one."""
        if self._saved:
            progress.load_state_dict(self._saved)
        self._saved = None

    def update(self, progress: Progress) -> None:
        """After each epoch: keep it in the file, unless the last time was not long ago."""
        self._progress = progress
        if time.monotonic() >= self._due:
            self.write()

    def write(self) -> bool:
        """Keep the last finished epoch in the file now; whether it is there."""
        if self._progress is None:
            return self.path.exists()
        start = time.monotonic()
        try:
            self._write(self._progress)
        except OSError as error:
            if not self._warned:
                reason = (error.strerror or str(error)).lower()
                self._log(f"warning: {self.path}: no checkpoint ({reason}); set {FOLDER} to a folder with room")
            self._warned = True
            return False
        finally:
            end = time.monotonic()
            self._due = end + max(SECONDS, (end - start) / SHARE)
        return True

    def remove(self) -> None:
        """Remove the file: the training is over."""
        with suppress(OSError):
            self.path.unlink(missing_ok=True)

    def _write(self, progress: Progress) -> None:
        content = to_bytes(progress.state_dict())
        # Another run of the same training may be writing at the same time: what either writes is right for both.
        with whole_file(self.path, f".{uuid4().hex}") as file:
            file.write(self._digest(content))
            file.write(content)
            file.flush()
            os.fsync(file.fileno())

    def _read(self) -> dict[str, Any] | None:
        try:
            content = self.path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            self._log(f"warning: {self.path}: ignored ({(error.strerror or str(error)).lower()})")
            return None
        digest, content = content[:DIGEST_SIZE], content[DIGEST_SIZE:]
        if digest != self._digest(content):
            self._log(f"warning: {self.path}: damaged, or of another training; ignored")
            return None
        saved: dict[str, Any] = from_bytes(content)
        return saved

    def _digest(self, content: bytes) -> bytes:
        digest = hashlib.sha256(self._key.encode())
        digest.update(content)
        return digest.digest()


def open_checkpoint(key: str, log: Callable[[str], None]) -> Checkpoint:
    """The checkpoint of the training with that key, where the environment says; old ones of others are removed.

    Raises MnistryError where MNISTRY_RESUME is neither yes nor no.
    """
    resume = os.environ.get(RESUME, "yes").lower()
    if resume not in ("yes", "no", ""):
        raise MnistryError(f"{RESUME}: {resume!r}; expected no, to start afresh, or yes")
    named = os.environ.get(FOLDER)
    folder = Path(named) if named else platformdirs.user_cache_path("mnistry", appauthor=False) / "checkpoints"
    remove_old(folder)
    return Checkpoint(folder, key, log, resume != "no")


def remove_old(folder: Path) -> None:
    """Remove the checkpoints in the folder that nobody wrote to for DAYS; whatever else is there stays."""
    oldest = time.time() - DAYS * 86_400
    with suppress(OSError):
        for path in folder.iterdir():
            if OWN_NAME.fullmatch(path.name) and path.stat().st_mtime < oldest:
                path.unlink(missing_ok=True)


def training_key(inputs: Mapping[str, Any]) -> str:
    """A SHA-256 in hexadecimal over all that a training's result depends on, as JSON."""
    return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()


def loaded_code(*packages: str) -> dict[str, str]:
    """The SHA-256 of each source file of the packages that this process has imported, by the module's name."""
    specs = [getattr(module, "__spec__", None) for module in list(sys.modules.values())]
    return {
        spec.name: hashlib.sha256(Path(spec.origin).read_bytes()).hexdigest()
        for spec in specs
        if spec and spec.has_location and spec.origin and spec.name.partition(".")[0] in packages
    }


def to_bytes(tree: Any) -> bytes:
    """Tensors, numbers and texts in dicts and lists, as a safetensors file in which one tensor is the JSON of all else.

    The same tree gives the same bytes.
    """
    tensors: dict[str, Tensor] = {}

    def without_tensors(item: Any) -> Any:
        if isinstance(item, Tensor):
            name = str(len(tensors))
            # A copy each: safetensors refuses tensors that share memory, as tied weights do.
            tensors[name] = item.detach().to("cpu", copy=True).contiguous()
            return {TENSOR: name}
        if isinstance(item, Mapping):
            return {key: without_tensors(value) for key, value in item.items()}
        return [without_tensors(value) for value in item] if isinstance(item, (list, tuple)) else item

    values = json.dumps(without_tensors(tree)).encode()
    return save({**tensors, VALUES: torch.frombuffer(bytearray(values), dtype=torch.uint8)})


def from_bytes(content: bytes) -> Any:
    """What `to_bytes` was given; tuples come back as lists, and all keys as texts."""
    tensors = load(content)

    def with_tensors(item: dict[str, Any]) -> Any:
        return tensors[item[TENSOR]] if item.keys() == {TENSOR} else item

    return json.loads(tensors[VALUES].numpy().tobytes(), object_hook=with_tensors)
