"""A classifier's file: weights in safetensors, and metadata with everything that their use takes."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from src.datasets import DatasetInfo, info_from_dict
from src.errors import MnistryError
from src.familiarity import Familiarity, familiarity_arrays, familiarity_from_arrays
from src.models import build_model
from src.params import Recipe, make_recipe

METADATA_KEY = "mnistry"
"""All metadata are under one key: safetensors writes several in an order that changes from run to run."""
INPUT = "8-bit codes"
"""What the model takes. Files of older versions, whose models took normalized images, don't say."""

FAMILIARITY = "familiarity."
"""Begins the names of the tensors that are not the model's."""


@dataclass(frozen=True)
class Classifier:
    """A model with its name, its recipe, what its dataset was and, of enough training images, what they look like."""

    model: nn.Module
    name: str
    recipe: Recipe
    dataset: DatasetInfo
    familiarity: Familiarity | None = None


def save_classifier(path: Path, classifier: Classifier) -> None:
    """Write the classifier; the same classifier gives the same bytes."""
    metadata = {
        "architecture": classifier.name,
        "hyperparameters": classifier.recipe.model_dump(),
        "input": INPUT,
        "dataset": asdict(classifier.dataset),
        "familiarity": classifier.familiarity is not None,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    weights = {name: tensor.cpu().contiguous() for name, tensor in classifier.model.state_dict().items()}
    for name, array in familiarity_arrays(classifier.familiarity).items():
        weights[FAMILIARITY + name] = torch.from_numpy(array)
    save_file(weights, path, metadata={METADATA_KEY: json.dumps(metadata, ensure_ascii=False)})


def load_classifier(path: Path) -> Classifier:
    """Read a classifier, ready for use on the CPU; raises MnistryError where the file is not one."""
    if path.is_dir():
        raise MnistryError(f"{path}: a folder; expected a classifier's file")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = json.loads(file.metadata()[METADATA_KEY])
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it is no mapping)
    except FileNotFoundError:
        raise MnistryError(f"{path}: no such file; run `dvc repro` or `dvc checkout`") from None
    except (SafetensorError, OSError, KeyError, TypeError) as error:
        raise MnistryError(f"{path}: not a classifier of mnistry's ({error}); run `dvc repro`") from None
    if metadata.get("input") != INPUT:
        raise MnistryError(f"{path}: a classifier of an older mnistry, for normalized images; run `dvc repro`")
    try:
        name, dataset = metadata["architecture"], info_from_dict(metadata["dataset"])
        recipe = make_recipe(name, metadata["hyperparameters"])
        extra = [key for key in weights if key.startswith(FAMILIARITY)]
        arrays = {key.removeprefix(FAMILIARITY): weights.pop(key).numpy() for key in extra}
        familiarity = familiarity_from_arrays(arrays, dataset.shape[0]) if metadata["familiarity"] else None
    except (KeyError, TypeError, ValueError):
        raise MnistryError(f"{path}: a classifier of another version of mnistry; run `dvc repro`") from None
    model = build_model(name, recipe, dataset)
    model.load_state_dict(weights)
    return Classifier(model.eval(), name, recipe, dataset, familiarity)
