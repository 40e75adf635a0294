"""Fitting a classifier to labelled images."""

import inspect
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, OneCycleLR

from src.batches import batches, steps_an_epoch
from src.inference import predict_logits
from src.params import Recipe

VALIDATION_BATCH_SIZE = 200

OPTIMIZERS: dict[str, tuple[type[Optimizer], tuple[str, ...]]] = {
    "sgd": (torch.optim.SGD, ("weight_decay", "momentum")),
    "adam": (torch.optim.Adam, ("weight_decay",)),
    "adamw": (torch.optim.AdamW, ("weight_decay",)),
}
"""For each optimizer, torch's class and which values of the recipe it takes besides the learning rate."""


@dataclass(frozen=True)
class Score:
    """Mean cross-entropy in nats, and the fraction classified rightly, in [0, 1]."""

    loss: float
    accuracy: float


@dataclass(frozen=True)
class Epoch:
    """What an epoch came to.

    train: over its batches, as they were trained on. validation: after it, or None without validation images.
    images_per_second: of training alone.
    """

    number: int
    train: Score
    validation: Score | None
    images_per_second: float


def fit(
    model: nn.Module,
    train: tuple[Tensor, Tensor],
    validation: tuple[Tensor, Tensor],
    recipe: Recipe,
    *,
    generator: torch.Generator,
    augment: Callable[[Tensor], Tensor] | None = None,
    precision: torch.dtype = torch.float32,
) -> Iterator[Epoch]:
    """Train the model in place, yielding after each epoch.

    train, validation: float32 images (N, C, H, W) and int64 labels (N,) on the model's device; validation may be
    empty. generator: on the CPU; draws the order of the images. augment: changes a batch of training images.
    precision: what products are computed in; weights and sums stay float32.
    """
    images, labels = train
    optimizer = make_optimizer(model, recipe)
    schedule = make_schedule(optimizer, recipe, steps_an_epoch(len(images), recipe.batch_size) * recipe.epochs)
    for number in range(1, recipe.epochs + 1):
        start = time.perf_counter()
        epoch_batches = batches(images, labels, recipe.batch_size, generator)
        if augment is not None:
            epoch_batches = ((augment(some), answers) for some, answers in epoch_batches)
        score, seen = train_epoch(model, epoch_batches, optimizer, schedule, recipe.label_smoothing, precision)
        seconds = time.perf_counter() - start
        yield Epoch(number, score, evaluate(model, *validation) if len(validation[0]) else None, seen / seconds)


def train_epoch(
    model: nn.Module,
    epoch_batches: Iterator[tuple[Tensor, Tensor]],
    optimizer: Optimizer,
    schedule: LRScheduler | None,
    label_smoothing: float,
    precision: torch.dtype,
) -> tuple[Score, int]:
    """One pass over the batches; returns their mean score and the number of images."""
    model.train()
    device = next(model.parameters()).device
    loss_sum, correct, seen = torch.zeros((), device=device), torch.zeros((), dtype=torch.int64, device=device), 0
    for images, labels in epoch_batches:
        with torch.autocast(device.type, precision, enabled=precision is not torch.float32):
            logits = model(images)
        loss = F.cross_entropy(logits.float(), labels, label_smoothing=label_smoothing)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if schedule is not None:
            schedule.step()
        loss_sum += loss.detach() * len(labels)
        correct += (logits.detach().argmax(1) == labels).sum()
        seen += len(labels)
    # The epoch's only synchronization with the device.
    return Score(loss_sum.item() / seen, correct.item() / seen), seen


def evaluate(model: nn.Module, images: Tensor, labels: Tensor) -> Score:
    """The model's score on the images, without label smoothing."""
    logits = predict_logits(model, images, VALIDATION_BATCH_SIZE)
    loss = F.cross_entropy(logits, labels)
    return Score(loss.item(), (logits.argmax(1) == labels).float().mean().item())


def make_optimizer(model: nn.Module, recipe: Recipe) -> Optimizer:
    """The recipe's optimizer over the model's parameters; all of a step in one kernel where torch has one."""
    kind, values = OPTIMIZERS[recipe.optimizer]
    options: dict[str, Any] = {"lr": recipe.learning_rate, **{name: getattr(recipe, name) for name in values}}
    if "fused" in inspect.signature(kind).parameters:
        options["fused"] = next(model.parameters()).device.type in ("cpu", "cuda")
    return without_compiler(kind)(model.parameters(), **options)


def without_compiler(kind: type[Optimizer]) -> type[Optimizer]:
    """The optimizer without the wrappers that import torch's compiler, for 3 s, to tell it to keep out of training."""
    methods = {name: inspect.unwrap(getattr(kind, name)) for name in ("add_param_group", "zero_grad")}
    return type(kind.__name__, (kind,), {**methods, "step": torch.no_grad()(inspect.unwrap(kind.step))})


def make_schedule(optimizer: Optimizer, recipe: Recipe, steps: int) -> LRScheduler | None:
    """The recipe's learning-rate schedule over that many steps; None keeps the rate constant.

    one_cycle: Smith and Topin, Super-Convergence, https://arxiv.org/abs/1708.07120.
    """
    if recipe.schedule == "constant":
        return None
    return OneCycleLR(optimizer, max_lr=recipe.learning_rate, total_steps=steps)
