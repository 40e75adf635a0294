"""A classifier's file: weights in safetensors, and metadata with everything that their use takes."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import ConfigDict, TypeAdapter
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from src.datasets import DatasetInfo, check_info, first_reason
from src.errors import MnistryError
from src.familiarity import Familiarity, familiarity_arrays, familiarity_from_arrays
from src.models import build_model, is_finite, temperature_of
from src.outputs import whole_file
from src.params import MODELS, Recipe, make_recipe

METADATA_KEY = "mnistry"
"""All metadata are under one key: safetensors writes several in an order that changes from run to run."""
INPUT = "8-bit codes"
"""What the model takes. Files of older versions, whose models took normalized images, don't say."""
DTYPES = {torch.float32: "F32", torch.int64: "I64"}
"""Safetensors' names of the types that models have."""

BUILT_AT_ONCE = 5000
"""Parameters of a model that takes no time to build; some models are built with more of them than they keep."""

FAMILIARITY = "familiarity."
"""Begins the names of the tensors that are not the model's."""


@dataclass(frozen=True)
class Classifier:
    """A model with its name, its recipe, what its dataset was and, of enough training images, what they look like.

    weights: which pretrained weights its training began with, if any.
    """

    model: nn.Module
    name: str
    recipe: Recipe
    dataset: DatasetInfo
    familiarity: Familiarity | None = None
    weights: dict[str, str] | None = None


def save_classifier(path: Path, classifier: Classifier) -> None:
    """Write the classifier; the same classifier gives the same bytes."""
    metadata = {
        "architecture": classifier.name,
        "hyperparameters": classifier.recipe.model_dump(),
        "input": INPUT,
        "dataset": asdict(classifier.dataset),
    }
    if classifier.weights:
        metadata["weights"] = classifier.weights
    weights = {name: tensor.cpu().contiguous() for name, tensor in classifier.model.state_dict().items()}
    for name, array in familiarity_arrays(classifier.familiarity).items():
        weights[FAMILIARITY + name] = torch.from_numpy(array)
    content = save(weights, metadata={METADATA_KEY: json.dumps(metadata, ensure_ascii=False)})
    with whole_file(path) as file:
        file.write(content)


@dataclass(frozen=True)
class Metadata:
    """What a classifier's file says besides its weights; other keys are left to whoever knows them."""

    __pydantic_config__ = ConfigDict(strict=True)

    architecture: str
    hyperparameters: dict[str, Any]
    input: str
    dataset: DatasetInfo
    weights: dict[str, str] | None = None


def load_classifier(path: Path) -> Classifier:
    """Read a classifier, ready for use on the CPU; raises MnistryError where the file is not one.

    Nothing is allocated, however large a model the file describes, until its weights are known to be of that model.
    """
    if path.is_dir():
        raise MnistryError(f"{path}: a folder; expected a classifier's file")
    try:
        with safe_open(path, framework="pt") as file:
            content = (file.metadata() or {}).get(METADATA_KEY, "")
            if not content:
                raise MnistryError(f"{path}: not a classifier of mnistry's (no metadata); run `dvc repro`")
            name, recipe, dataset, began_with = _described(path, content)
            keys = set(file.keys())
            of_familiarity = {key for key in keys if key.startswith(FAMILIARITY)}
            parts = {key: file.get_slice(key) for key in keys - of_familiarity}
            found = {key: (tuple(part.get_shape()), part.get_dtype()) for key, part in parts.items()}
            model = _built_without_memory(path, name, recipe, dataset, len(found))
            _compare(path, model, found)
            weights = {key: file.get_tensor(key) for key in found}
            familiarity = _familiarity(path, {key: file.get_tensor(key) for key in of_familiarity}, dataset)
    except FileNotFoundError:
        raise MnistryError(f"{path}: no such file; run `dvc repro` or `dvc checkout`") from None
    except (SafetensorError, OSError, UnicodeDecodeError) as error:
        raise MnistryError(f"{path}: not a classifier of mnistry's ({error}); run `dvc repro`") from None
    if any(buffer not in found for buffer, _ in model.named_buffers()):
        # Tables that are in no file, such as those of relative positions; the size of a backbone's is bounded.
        model = build_model(name, recipe, dataset)
    model.load_state_dict(weights, assign=True)
    if not is_finite(model):
        raise MnistryError(f"{path}: some weights are not finite numbers; run `dvc repro`")
    _check_normalization(path, weights, dataset)
    if (temperature := float(temperature_of(model))) <= 0:
        raise MnistryError(f"{path}: calibrate.temperature is {temperature:g}; expected above 0; run `dvc repro`")
    return Classifier(model.eval(), name, recipe, dataset, familiarity, began_with)


def _described(path: Path, content: str) -> tuple[str, Recipe, DatasetInfo, dict[str, str] | None]:
    """The model's name, recipe, dataset and pretrained weights, out of the file's metadata; raises MnistryError."""
    try:
        if TypeAdapter(dict[str, Any]).validate_json(content).get("input") != INPUT:
            raise MnistryError(f"{path}: a classifier of an older mnistry, for normalized images; run `dvc repro`")
        metadata = TypeAdapter(Metadata).validate_json(content)
        check_info(metadata.dataset)
        if metadata.architecture not in MODELS:
            raise ValueError(f"model {metadata.architecture!r}")
        recipe = make_recipe(metadata.architecture, metadata.hyperparameters)
    except ValueError as error:
        raise MnistryError(
            f"{path}: a classifier of another version of mnistry, or damaged ({first_reason(error)}); run `dvc repro`"
        ) from None
    return metadata.architecture, recipe, metadata.dataset, metadata.weights


def _built_without_memory(path: Path, name: str, recipe: Recipe, dataset: DatasetInfo, count: int) -> nn.Module:
    """The model without any weights, on torch's meta device. count: of the tensors in the file.

    Raises MnistryError where the model would have more of them, however many that is.
    """
    parameters = 0

    def limit(*_: object) -> None:
        nonlocal parameters
        parameters += 1
        if parameters > max(count, BUILT_AT_ONCE):
            raise MnistryError(f"{path}: {count} tensors, fewer than its {name} has; run `dvc repro`")

    hook = register_module_parameter_registration_hook(limit)
    try:
        with torch.device("meta"):
            return build_model(name, recipe, dataset)
    except (RuntimeError, MnistryError) as error:
        if parameters > max(count, BUILT_AT_ONCE):
            raise
        # A RuntimeError is torch's word for a layer of more numbers than it can count.
        raise MnistryError(f"{path}: no {name} can be as it says ({error}); run `dvc repro`") from None
    finally:
        hook.remove()


def _compare(path: Path, model: nn.Module, found: dict[str, tuple[tuple[int, ...], str]]) -> None:
    """Raise MnistryError where the file's tensors, by shape and type, are not the model's."""
    expected = {key: (tuple(tensor.shape), DTYPES[tensor.dtype]) for key, tensor in model.state_dict().items()}
    for key in sorted(expected.keys() | found.keys()):
        if expected.get(key) != found.get(key):
            there, wanted = (" of shape ".join(map(str, each[key][::-1])) if key in each else "nothing"
                             for each in (found, expected))  # fmt: skip
            raise MnistryError(f"{path}: {key} is {there}; its metadata expect {wanted}; run `dvc repro`")


def _familiarity(path: Path, tensors: dict[str, Tensor], dataset: DatasetInfo) -> Familiarity | None:
    """What the training images look like, or None where the file has nothing of it; raises MnistryError."""
    if not tensors:
        return None
    try:
        arrays = {key.removeprefix(FAMILIARITY): tensor.numpy() for key, tensor in tensors.items()}
        return familiarity_from_arrays(arrays, dataset.shape[0])
    except (TypeError, ValueError) as error:
        raise MnistryError(
            f"{path}: what its training images look like is damaged ({error}); run `dvc repro`"
        ) from None


def _check_normalization(path: Path, weights: dict[str, Tensor], dataset: DatasetInfo) -> None:
    """Raise MnistryError where the first layer is not the one that the metadata describe."""
    for key in ("scale", "offset"):
        if weights[f"normalize.{key}"].flatten().tolist() != list(getattr(dataset.normalization, key)):
            raise MnistryError(f"{path}: normalize.{key} is not what its metadata say; run `dvc repro`")
