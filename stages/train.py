"""Train the chosen classifier on the training split."""

import csv
import time
from math import ceil
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from src.augmentation import Augmentation
from src.batches import steps_an_epoch
from src.checkpoints import Classifier, save_classifier
from src.datasets import load_info, load_split
from src.devices import choose_device, choose_precision, describe_device, keep_freed_memory, make_deterministic, place
from src.models import build_model, count_parameters
from src.normalization import Normalization
from src.params import Augment, read_params
from src.splits import stratified_split
from src.training import Epoch, fit
from stages import log, run_stage, write_json

FEW_STEPS = 400
"""The recipes are made for MNIST's 445 steps an epoch; with fewer than this in all, every model underfits."""


def main(normalized: Path, classifier: Path, train_json: Path, history_csv: Path) -> None:
    """Write the trained `classifier`, its last epoch's figures and the `history` of all epochs."""
    params = read_params()
    device = choose_device(params.device)
    make_deterministic()
    torch.manual_seed(params.seed)
    info = load_info(normalized)
    recipe = params.recipe
    model = place(build_model(params.model, recipe, info.shape, len(info.class_names)), device)
    precision = choose_precision(params.train.precision, device, model)
    train, validation = load_training_data(normalized, params.train.validation_fraction, params.seed, device)
    # From here on: what loading took and freed goes back to the system.
    keep_freed_memory()
    log(
        f"{params.model}: {count_parameters(model):,} parameters on {describe_device(device)} "
        f"in {str(precision).removeprefix('torch.')}, "
        f"{len(train[0])} training and {len(validation[0])} validation images"
    )
    batch_size = min(recipe.batch_size, len(train[0]))
    log(f"batches of images {(batch_size, *info.shape)} and labels {(batch_size,)}")
    steps = steps_an_epoch(len(train[0]), recipe.batch_size)
    if steps * recipe.epochs < FEW_STEPS:
        log(
            f"hint: {steps * recipe.epochs} steps in all are few; a small dataset takes more epochs, "
            f"such as -S models.{params.model}.epochs={ceil(FEW_STEPS / steps)}"
        )
    generator = torch.Generator().manual_seed(params.seed)
    augment = make_augmentation(recipe.augment, info.normalization, params.seed, device)
    history_csv.parent.mkdir(parents=True, exist_ok=True)
    with (
        history_csv.open("w", newline="") as file,
        tqdm(total=recipe.epochs, desc="train", unit="epoch", disable=None, dynamic_ncols=True) as bar,
    ):
        start = time.perf_counter()
        writer = csv.DictWriter(file, ("epoch", *epoch_figures(None)), lineterminator="\n")
        writer.writeheader()
        for epoch in fit(model, train, validation, recipe, generator=generator, augment=augment, precision=precision):
            writer.writerow({"epoch": epoch.number} | epoch_figures(epoch))
            file.flush()
            report(bar, describe_epoch(epoch, recipe.epochs, time.perf_counter() - start))
    save_classifier(classifier, Classifier(model, params.model, recipe, info))
    figures = {name: value for name, value in epoch_figures(epoch).items() if value is not None}
    write_json(train_json, {"epochs": epoch.number, "parameters": count_parameters(model)} | figures)


def load_training_data(
    normalized: Path, validation_fraction: float, seed: int, device: torch.device
) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Images and labels to train on, and those to validate on, on the device."""
    images, labels = load_split(normalized, "train")
    class_names = load_info(normalized).class_names
    kept, held_out = stratified_split(labels, validation_fraction, np.random.default_rng(seed), class_names)
    on_device = torch.from_numpy(np.array(images)).to(device), torch.from_numpy(labels).to(device)
    if not len(held_out):
        return on_device, (on_device[0][:0], on_device[1][:0])
    train, validation = (
        tuple(tensor.index_select(0, torch.from_numpy(indices).to(device)) for tensor in on_device)
        for indices in (kept, held_out)
    )
    return (train[0], train[1]), (validation[0], validation[1])


def make_augmentation(
    settings: Augment, normalization: Normalization, seed: int, device: torch.device
) -> Augmentation | None:
    """The augmentation that the settings ask for, drawn from the seed; None where they ask for none."""
    if not any(settings.model_dump().values()):
        return None
    black = normalization(np.zeros((1, len(normalization.mean), 1, 1), np.uint8))
    generator = torch.Generator(device).manual_seed(seed)
    return Augmentation(settings, torch.from_numpy(black).view(-1).to(device), generator)


def epoch_figures(epoch: Epoch | None) -> dict[str, float | None]:
    """The columns of history.csv after `epoch`; None where there is no such figure."""
    train, validation = (epoch.train, epoch.validation) if epoch else (None, None)
    return {
        f"{split}_{figure}": getattr(score, figure) if score else None
        for split, score in (("train", train), ("validation", validation))
        for figure in ("loss", "accuracy")
    }


def report(bar: tqdm, line: str) -> None:
    """Log a line, above the bar where there is one, and move the bar on."""
    with bar.external_write_mode():
        log(line)
    bar.update()


def describe_epoch(epoch: Epoch, epochs: int, seconds: float) -> str:
    """A line for the log. seconds: since the first epoch began."""
    line = f"epoch {epoch.number}/{epochs}: train loss {epoch.train.loss:.4f}, accuracy {epoch.train.accuracy:.4f}"
    if epoch.validation:
        line += f"; validation loss {epoch.validation.loss:.4f}, accuracy {epoch.validation.accuracy:.4f}"
    left = tqdm.format_interval(seconds / epoch.number * (epochs - epoch.number))
    return f"{line}; {epoch.images_per_second:,.0f} images/s, {left} left"


if __name__ == "__main__":
    run_stage(main)
