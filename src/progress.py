"""How far a training is: its finished epochs, and all that the next one depends on."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler


@dataclass(frozen=True)
class Score:
    """Mean cross-entropy in nats, and the fraction classified correctly, in [0, 1]."""

    loss: float
    accuracy: float


@dataclass(frozen=True)
class Epoch:
    """What came of an epoch.

    train: over its batches, as they were trained on. validation: after it, or None without validation images.
    first_loss: of its first batch, before the weights changed. seconds: of training and validation.
    images_per_second: of training alone.
    """

    number: int
    train: Score
    validation: Score | None
    first_loss: float
    seconds: float
    images_per_second: float


@dataclass
class Progress:
    """All that training changes as it goes, between two epochs; restored, the next epoch gives the same bits.

    generators: whatever an epoch draws random numbers from, each by a name. best: a copy of the weights after the epoch
    with the lowest validation loss, where they are to be kept.
    """

    model: nn.Module
    optimizer: Optimizer
    schedule: LRScheduler | None
    generators: Mapping[str, torch.Generator]
    epochs: list[Epoch] = field(default_factory=list)
    best: dict[str, Tensor] | None = None

    def state_dict(self) -> dict[str, Any]:
        """Tensors, numbers and texts in dicts and lists, some of them the training's own: copy what is to be kept."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict() if self.schedule else None,
            "generators": {name: generator.get_state() for name, generator in self.generators.items()},
            "epochs": [asdict(epoch) for epoch in self.epochs],
            "best": self.best,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Become what `state_dict` gave, also after a trip through JSON, which makes all keys texts."""
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(_laid_out(state["optimizer"], self.optimizer))
        if self.schedule:
            self.schedule.load_state_dict(state["schedule"])
        for name, generator in self.generators.items():
            generator.set_state(state["generators"][name])
        self.epochs = [epoch_from_dict(epoch) for epoch in state["epochs"]]
        self.best = state["best"]

    def keep_best(self) -> None:
        """Copy the weights if the last of the epochs, each with a validation score, has the lowest loss so far."""
        if best_epoch(self.epochs) is self.epochs[-1]:
            self.best = {name: tensor.detach().clone() for name, tensor in self.model.state_dict().items()}


def best_epoch(epochs: Sequence[Epoch]) -> Epoch:
    """The first one with the lowest validation loss; each must have been validated."""
    return min(epochs, key=lambda epoch: epoch.validation.loss if epoch.validation else math.inf)


def epoch_from_dict(content: Mapping[str, Any]) -> Epoch:
    """Undo `dataclasses.asdict`."""
    scores = {name: content[name] and Score(**content[name]) for name in ("train", "validation")}
    return Epoch(**{**content, **scores})


def _laid_out(state: Mapping[str, Any], optimizer: Optimizer) -> dict[str, Any]:
    """The optimizer's state, each parameter's tensors in the memory layout of the parameter.

    Kernels that do all of a step go through both by address.
    """
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]

    def like(value: Any, parameter: Tensor) -> Any:
        same_shape = isinstance(value, Tensor) and value.shape == parameter.shape
        return torch.empty_like(parameter, dtype=value.dtype).copy_(value) if same_shape else value

    per_parameter = {
        int(index): {name: like(value, parameters[int(index)]) for name, value in values.items()}
        for index, values in state["state"].items()
    }
    return {**state, "state": per_parameter}


def global_generators(device: torch.device) -> dict[str, torch.Generator]:
    """Torch's own generators, which layers such as dropout draw from: the CPU's and that of an accelerator."""
    generators = {"cpu": torch.default_generator}
    if device.type == "mps":
        generators["mps"] = torch.mps._get_default_mps_generator()
    elif device.type != "cpu":
        generators[device.type] = torch.get_device_module(device).default_generators[device.index]
    return generators
