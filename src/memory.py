"""What training needs of memory at least, compared with what there is before it begins.

Lower bounds: what libraries take for their own use comes on top. A training that is refused can't run; one that isn't
may still run out.
"""

import copy

import torch
from torch import Tensor, nn

from src.batches import Subset, steps_per_epoch
from src.datasets import DatasetInfo
from src.devices import free_on
from src.errors import MnistryError
from src.models import build_model
from src.params import Recipe
from src.resources import in_words
from src.training import make_optimizer


def require_room_for_weights(name: str, recipe: Recipe, dataset: DatasetInfo, device: torch.device) -> None:
    """Raises MnistryError where the weights of the model `name`, not built yet, can't be trained in the free memory."""
    with torch.device("meta"):
        model = build_model(name, recipe, dataset)
    others = _trained_bytes(model) * (1 + states_per_weight(recipe))
    weights = sum(parameter.nbytes for parameter in model.parameters())
    _require(name, weights + others, "its weights, gradients and optimizer", device)


def require_room_for_batches(
    name: str, model: nn.Module, recipe: Recipe, train: Subset, device: torch.device, precision: torch.dtype
) -> None:
    """Raises MnistryError where the model can't be trained on batches of the recipe's size in the free memory.

    model: the one called `name`, on the device. From the second step on, a batch's feature maps, the gradients of the
    step before and the optimizer's state are in memory at once.
    """
    batch_size = min(recipe.batch_size, len(train))
    images, _ = next(train.gather(train.indices[:1].expand(4), 4))
    batch = batch_size * kept_per_image(model, images, precision)
    others = _trained_bytes(model) * (1 + states_per_weight(recipe))
    steps = steps_per_epoch(len(train), batch_size) * recipe.epochs
    smaller = f"; try -S models.{name}.batch_size={batch_size // 2}" if batch_size > 1 and batch > others else ""
    _require(
        name, batch + others if steps > 1 else max(batch, others),
        f"its gradients and optimizer ({in_words(others)}) and a batch of {batch_size} images ({in_words(batch)})",
        device, smaller,
    )  # fmt: skip


def require_room_for_features(size: int, device: torch.device) -> None:
    """Raises MnistryError where `size` bytes of features don't fit into an accelerator; a processor maps their file."""
    free = free_on(device)
    if device.type != "cpu" and free is not None and size > free:
        raise MnistryError(
            f"device: the images' features take {in_words(size)}, but {in_words(free)} of memory is free on {device}; "
            "try device: cpu, where they stay in a file"
        )


def _require(name: str, size: int, what: str, device: torch.device, smaller: str = "") -> None:
    free = free_on(device)
    if free is not None and size > free:
        raise MnistryError(
            f"models.{name}: takes at least {in_words(size)} of memory for {what}, but {in_words(free)} is free on "
            f"{device}{smaller or f'; choose a smaller model under models.{name}'}, close other programs, or raise "
            "the limit"
        )


def kept_per_image(model: nn.Module, images: Tensor, precision: torch.dtype) -> int:
    """Bytes per image that the forward pass keeps for the backward pass; neither model nor generators change.

    images: four, uint8 codes of shape (4, C, H, W), on the model's device. What a batch of any size takes is left out.
    """
    devices = [images.device] if images.device.type == "cuda" else []
    with torch.random.fork_rng(devices):
        return (_kept_bytes(model, images, precision) - _kept_bytes(model, images[:2], precision)) // 2


def _kept_bytes(model: nn.Module, images: Tensor, precision: torch.dtype) -> int:
    kept: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> Tensor:
        # Two layers may keep the same feature maps: the storage counts once.
        kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    # A copy: batch normalization changes its running mean.
    model = copy.deepcopy(model).train()
    with (
        torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
        torch.autocast(images.device.type, precision, enabled=precision is not torch.float32),
    ):
        model(images)
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())


def states_per_weight(recipe: Recipe) -> int:
    """How many numbers the recipe's optimizer keeps for each weight, found out with a small model."""
    with torch.random.fork_rng([]):
        model = nn.Linear(8, 1, bias=False)
    optimizer = make_optimizer(model, recipe)
    model(torch.ones(1, 8)).backward()
    optimizer.step()
    states = optimizer.state[model.weight].values()
    return sum(isinstance(state, Tensor) and state.shape == model.weight.shape for state in states)


def _trained_bytes(model: nn.Module) -> int:
    return sum(parameter.nbytes for parameter in model.parameters() if parameter.requires_grad)
