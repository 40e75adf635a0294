"""Fitting a classifier to labelled images."""

import copy
import inspect
import math
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, OneCycleLR

from src.augmentation import Augmentation
from src.batches import Subset, shuffled_batches, steps_per_epoch
from src.errors import MnistryError
from src.inference import BATCH_SIZE, logits_in_pieces
from src.models import is_finite
from src.muon import Muon
from src.params import Recipe
from src.processes import ALONE, Processes
from src.progress import Epoch, Progress, Score, global_generators
from src.resuming import Checkpoint, from_bytes, to_bytes
from src.runtime import without_compiler

OPTIMIZERS: dict[str, tuple[type[Optimizer], tuple[str, ...]]] = {
    "sgd": (torch.optim.SGD, ("weight_decay", "momentum")),
    "adam": (torch.optim.Adam, ("weight_decay",)),
    "adamw": (torch.optim.AdamW, ("weight_decay",)),
    "muon": (Muon, ("weight_decay",)),
}
"""For each optimizer, its class and which values of the recipe it takes besides the learning rate."""


CHECK_EVERY = 100
"""Steps between two looks at the losses, for each of which an accelerator has to finish its work first."""


class DivergedError(MnistryError):
    """A loss or a weight is no longer a finite number; step: of the epoch, or None where it showed after it."""

    def __init__(self, epoch: int, step: int | None, problem: str):
        super().__init__(f"epoch {epoch}, step {step}: {problem}" if step else f"epoch {epoch}: {problem}")
        self.epoch, self.step = epoch, step


def fit(
    model: nn.Module,
    train: Subset,
    validation: Subset,
    recipe: Recipe,
    *,
    generator: torch.Generator,
    augment: Augmentation | None = None,
    class_weights: Tensor | None = None,
    precision: torch.dtype = torch.float32,
    keep: Literal["last", "best"] = "last",
    checkpoint: Checkpoint | None = None,
    processes: Processes = ALONE,
) -> Iterator[Epoch]:
    """Train the model in place, yielding after each epoch; raises DivergedError.

    train, validation: on the model's device; validation may be empty. generator: on the CPU; draws the order of the
    images. augment: changes a batch of training images. class_weights: of each class in the loss, float32 of shape
    (K,), on the model's device. precision: what products are computed in; weights and sums stay float32. keep:
    which epoch's weights the model has at the end; best needs validation images. checkpoint: of the same training;
    epochs that it holds are neither trained nor yielded again. processes: those that call this at the same time with
    the same arguments but augment's share; all go on from the leader's checkpoint.
    """
    share = processes.share(min(recipe.batch_size, len(train)))
    loss_function = processes.loss(nn.CrossEntropyLoss(class_weights, label_smoothing=recipe.label_smoothing), share)
    optimizer, steps = make_optimizer(model, recipe), steps_per_epoch(len(train), recipe.batch_size)
    schedule = make_schedule(optimizer, recipe, steps * recipe.epochs)
    progress = Progress(model, optimizer, schedule, all_generators(model, generator, augment))
    if checkpoint:
        checkpoint.restore(progress)
    share_progress(progress, processes)
    network = processes.wrap(model)
    for number in range(len(progress.epochs) + 1, recipe.epochs + 1):
        start = time.perf_counter()
        batches = shuffled_batches(train, recipe.batch_size, generator, share)
        if augment is not None:
            batches = ((augment(images), labels) for images, labels in batches)
        losses, correct, seen = train_epoch(
            network, batches, steps, optimizer, schedule, loss_function, precision, processes
        )
        trained = time.perf_counter()
        check_losses(losses, number)
        score = evaluate(model, validation, processes) if len(validation) else None
        check_epoch(model, score, number)
        seconds = time.perf_counter() - start
        train_score = Score(losses.mean().item(), correct / seen)
        epoch = Epoch(number, train_score, score, losses[0].item(), seconds, seen / (trained - start))
        progress.epochs.append(epoch)
        if keep == "best":
            progress.keep_best()
        if checkpoint:
            checkpoint.update(progress)
        yield epoch
    if progress.best:
        model.load_state_dict(progress.best)


def share_progress(progress: Progress, processes: Processes) -> None:
    """Bring all processes to where the leader is."""
    if processes.count > 1:
        content = processes.from_leader(to_bytes(progress.state_dict()))
        if not processes.leads:
            progress.load_state_dict(from_bytes(content))


def all_generators(
    model: nn.Module, order: torch.Generator, augment: Augmentation | None
) -> dict[str, torch.Generator]:
    """Whatever draws random numbers in training, by a name."""
    own = {"order": order} | ({"augmentation": augment.generator} if augment else {})
    return own | global_generators(next(model.parameters()).device)


def train_epoch(
    model: nn.Module,
    batches: Iterator[tuple[Tensor, Tensor]],
    steps: int,
    optimizer: Optimizer,
    schedule: LRScheduler | None,
    loss_function: nn.Module,
    precision: torch.dtype,
    processes: Processes = ALONE,
) -> tuple[Tensor, int, int]:
    """One pass over that many batches of one size, of which each process has its share.

    Returns each one's loss, float64 on the CPU, fewer where one isn't finite; how many images were classified
    correctly; and how many there were.
    """
    model.train()
    device = next(model.parameters()).device
    losses, correct, seen = torch.empty(steps, device=device), torch.zeros((), dtype=torch.int64, device=device), 0
    for step, (images, labels) in enumerate(batches, 1):
        with torch.autocast(device.type, precision, enabled=precision is not torch.float32):
            logits = model(images)
        loss = loss_function(logits.float(), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if schedule is not None:
            schedule.step()
        losses[step - 1] = loss.detach()
        correct += (logits.detach().argmax(1) == labels).sum()
        seen += len(labels)
        if step % CHECK_EVERY == 0 and processes.sum((~losses[step - CHECK_EVERY : step].isfinite()).sum()):
            break
    # But for these looks, the epoch's only synchronization with the device.
    counts = processes.sum(torch.stack([correct, torch.full_like(correct, seen)])).tolist()
    return processes.mean(losses[:step]).cpu().double(), counts[0], counts[1]


def check_losses(losses: Tensor, epoch: int) -> None:
    """Raise DivergedError at the first of an epoch's losses, one per step, that isn't finite."""
    for index in (~losses.isfinite()).nonzero()[:1].flatten().tolist():
        raise DivergedError(epoch, index + 1, f"the training loss is {losses[index].item()}")


def check_epoch(model: nn.Module, validation: Score | None, epoch: int) -> None:
    """Raise DivergedError where the validation loss after an epoch, or a weight, isn't finite."""
    if validation and not math.isfinite(validation.loss):
        raise DivergedError(epoch, None, f"the validation loss is {validation.loss}")
    if not is_finite(model):
        raise DivergedError(epoch, None, "some weights are no longer finite numbers")


def learns_from_one_image(model: nn.Module, image: Tensor) -> bool:
    """Whether the model can be trained on batches of one image, uint8 codes of shape (1, C, H, W).

    Batch normalization can't where its maps are of one pixel: it needs two values per channel.
    """
    try:
        copy.deepcopy(model).train()(image)
    except ValueError:
        return False
    return True


def evaluate(model: nn.Module, subset: Subset, processes: Processes = ALONE) -> Score:
    """The model's score on the images, without label smoothing; each process looks at its share of them."""
    indices = processes.share(len(subset)).of(subset.indices)
    loss, correct = _evaluate(model, replace(subset, indices=indices)) if len(indices) else (0.0, 0)
    if processes.count > 1:
        sums = processes.sum(torch.tensor([loss * len(indices), correct], dtype=torch.float64))
        loss, correct = sums[0].item() / len(subset), int(sums[1].item())
    return Score(loss, correct / len(subset))


def _evaluate(model: nn.Module, subset: Subset) -> tuple[float, int]:
    """The mean loss, and how many images are classified correctly."""
    loss, correct, done = 0.0, 0, 0
    for logits in logits_in_pieces(model, (images for images, _ in subset.in_order(BATCH_SIZE)), len(subset)):
        labels = subset.labels.index_select(0, subset.indices[done : done + len(logits)].to(subset.labels.device))
        loss += F.cross_entropy(logits, labels).item() * (len(logits) / len(subset))
        correct += int((logits.argmax(1) == labels).sum().item())
        done += len(logits)
    return loss, correct


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
    return without_compiler(kind)(parameter_groups(model, recipe), **options)


def parameter_groups(model: nn.Module, recipe: Recipe) -> list[dict[str, Any]]:
    """The parameters that are trained, at the recipe's learning rate; those of a backbone at its fraction of it."""
    groups: dict[bool, list[nn.Parameter]] = {False: [], True: []}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            groups["backbone" in name.split(".")].append(parameter)
    rates = {False: recipe.learning_rate, True: recipe.learning_rate * getattr(recipe, "backbone_rate", 1.0)}
    return [{"params": parameters, "lr": rates[slow]} for slow, parameters in groups.items() if parameters]


def make_schedule(optimizer: Optimizer, recipe: Recipe, steps: int) -> LRScheduler | None:
    """The recipe's learning-rate schedule over that many steps; None keeps the rate constant.

    one_cycle: Smith and Topin, Super-Convergence, https://arxiv.org/abs/1708.07120.
    """
    if recipe.schedule == "constant":
        return None
    highest = [group["lr"] for group in optimizer.param_groups]
    return OneCycleLR(optimizer, max_lr=highest, total_steps=steps)
