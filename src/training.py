"""Fitting a classifier to labelled images."""

import inspect
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, OneCycleLR

from src.batches import Subset, shuffled_batches, steps_per_epoch
from src.inference import BATCH_SIZE, predict_logits
from src.params import Recipe
from src.runtime import without_compiler

OPTIMIZERS: dict[str, tuple[type[Optimizer], tuple[str, ...]]] = {
    "sgd": (torch.optim.SGD, ("weight_decay", "momentum")),
    "adam": (torch.optim.Adam, ("weight_decay",)),
    "adamw": (torch.optim.AdamW, ("weight_decay",)),
}
"""For each optimizer, torch's class and which values of the recipe it takes besides the learning rate."""


@dataclass(frozen=True)
class Score:
    """Mean cross-entropy in nats, and the fraction classified correctly, in [0, 1]."""

    loss: float
    accuracy: float


@dataclass(frozen=True)
class Epoch:
    """What came of an epoch.

    train: over its batches, as they were trained on. validation: after it, or None without validation images.
    images_per_second: of training alone.
    """

    number: int
    train: Score
    validation: Score | None
    images_per_second: float


def fit(
    model: nn.Module,
    train: Subset,
    validation: Subset,
    recipe: Recipe,
    *,
    generator: torch.Generator,
    augment: Callable[[Tensor], Tensor] | None = None,
    class_weights: Tensor | None = None,
    precision: torch.dtype = torch.float32,
) -> Iterator[Epoch]:
    """Train the model in place, yielding after each epoch.

    train, validation: on the model's device; validation may be empty. generator: on the CPU; draws the order of the
    images. augment: changes a batch of training images. class_weights: of each class in the loss, float32 of shape
    (K,), on the model's device. precision: what products are computed in; weights and sums stay float32.
    """
    loss_function = nn.CrossEntropyLoss(class_weights, label_smoothing=recipe.label_smoothing)
    optimizer = make_optimizer(model, recipe)
    schedule = make_schedule(optimizer, recipe, steps_per_epoch(len(train), recipe.batch_size) * recipe.epochs)
    for number in range(1, recipe.epochs + 1):
        start = time.perf_counter()
        batches = shuffled_batches(train, recipe.batch_size, generator)
        if augment is not None:
            batches = ((augment(images), labels) for images, labels in batches)
        score, seen = train_epoch(model, batches, optimizer, schedule, loss_function, precision)
        seconds = time.perf_counter() - start
        yield Epoch(number, score, evaluate(model, validation) if len(validation) else None, seen / seconds)


def train_epoch(
    model: nn.Module,
    batches: Iterator[tuple[Tensor, Tensor]],
    optimizer: Optimizer,
    schedule: LRScheduler | None,
    loss_function: nn.Module,
    precision: torch.dtype,
) -> tuple[Score, int]:
    """One pass over the batches; returns their mean score and the number of images."""
    model.train()
    device = next(model.parameters()).device
    loss_sum, correct, seen = torch.zeros((), device=device), torch.zeros((), dtype=torch.int64, device=device), 0
    for images, labels in batches:
        with torch.autocast(device.type, precision, enabled=precision is not torch.float32):
            logits = model(images)
        loss = loss_function(logits.float(), labels)
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


def evaluate(model: nn.Module, subset: Subset) -> Score:
    """The model's score on the images, without label smoothing."""
    logits = predict_logits(model, (images for images, _ in subset.gather(subset.indices, BATCH_SIZE)), len(subset))
    labels = subset.labels.index_select(0, subset.indices.to(subset.labels.device))
    correct = (logits.argmax(1) == labels).sum().item()
    return Score(F.cross_entropy(logits, labels).item(), correct / len(subset))


def balanced_weights(labels: np.ndarray, num_classes: int) -> Tensor:
    """A weight per class, float32 of shape (K,), inversely proportional to its images; 1 on average over the images.

    labels: int64, shape (N,). A class without images weighs 0. scikit-learn calls these weights `balanced`, too.
    """
    counts = np.bincount(labels, minlength=num_classes)
    weights = np.divide(len(labels), num_classes * counts, out=np.zeros(num_classes), where=counts > 0)
    return torch.from_numpy(weights).float()


def make_optimizer(model: nn.Module, recipe: Recipe) -> Optimizer:
    """The recipe's optimizer over the model's parameters; all of a step in one kernel where torch has one."""
    kind, values = OPTIMIZERS[recipe.optimizer]
    options: dict[str, Any] = {"lr": recipe.learning_rate, **{name: getattr(recipe, name) for name in values}}
    if "fused" in inspect.signature(kind).parameters:
        options["fused"] = next(model.parameters()).device.type in ("cpu", "cuda")
    return without_compiler(kind)(model.parameters(), **options)


def make_schedule(optimizer: Optimizer, recipe: Recipe, steps: int) -> LRScheduler | None:
    """The recipe's learning-rate schedule over that many steps; None keeps the rate constant.

    one_cycle: Smith and Topin, Super-Convergence, https://arxiv.org/abs/1708.07120.
    """
    if recipe.schedule == "constant":
        return None
    return OneCycleLR(optimizer, max_lr=recipe.learning_rate, total_steps=steps)
