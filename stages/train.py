"""Train the chosen classifier on the training split."""

import csv
import time
from collections.abc import Iterable, Iterator, Sequence
from math import ceil
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from src.augmentation import make_augmentation
from src.batches import load_subsets, steps_per_epoch
from src.checkpoints import Classifier, save_classifier
from src.datasets import load_info
from src.devices import choose_device, choose_precision, describe_device, place
from src.familiarity import choose_references, fit_familiarity
from src.models import build_model, count_parameters
from src.params import Params, read_params
from src.runtime import prepare_process
from src.training import Epoch, balanced_weights, fit
from stages import log, run_stage, significant, write_json

FEW_STEPS = 400
"""The recipes are made for MNIST's 445 steps per epoch; with fewer than this in all, every model underfits."""
UNEQUAL = 10
"""Class weights are suggested where the commonest class has this many times the images of the rarest."""


def main(normalized: Path, classifier: Path, train_json: Path, history_csv: Path) -> None:
    """Write the trained `classifier`, its last epoch's metrics and the `history` of all epochs."""
    params = read_params()
    device = choose_device(params.device)
    prepare_process()
    torch.manual_seed(params.seed)
    dataset, recipe = load_info(normalized), params.recipe
    model = place(build_model(params.model, recipe, dataset), device)
    precision = choose_precision(params.train.precision, device, model)
    train, validation = load_subsets(normalized, dataset, params.train.validation_fraction, params.seed, device)
    log(
        f"{params.model}: {count_parameters(model):,} parameters on {describe_device(device)} "
        f"in {str(precision).removeprefix('torch.')}, {len(train)} training and {len(validation)} validation images"
        + (" of the source's own validation split" if "validation" in dataset.sha256 else "")
    )
    batch_size = min(recipe.batch_size, len(train))
    log(f"batches of images {(batch_size, *dataset.shape)} and labels {(batch_size,)}")
    train_labels = train.labels.cpu()[train.indices].numpy()
    for hint in hints(params, train_labels, dataset.class_names):
        log(f"hint: {hint}")
    balanced = params.train.class_weights == "balanced"
    epochs = fit(
        model,
        train,
        validation,
        recipe,
        generator=torch.Generator().manual_seed(params.seed),
        augment=make_augmentation(recipe.augment, params.seed, device),
        class_weights=balanced_weights(train_labels, len(dataset.class_names)).to(device) if balanced else None,
        precision=precision,
    )
    last = write_history(epochs, recipe.epochs, history_csv)
    chosen = train.indices[torch.from_numpy(choose_references(len(train)))].to(device)
    familiarity = fit_familiarity(train.images.index_select(0, chosen).cpu().numpy())
    save_classifier(classifier, Classifier(model, params.model, recipe, dataset, familiarity))
    metrics = {name: value for name, value in epoch_metrics(last).items() if value is not None}
    write_json(train_json, {"epochs": last.number, "parameters": count_parameters(model)} | metrics)


def hints(params: Params, labels: np.ndarray, class_names: Sequence[str]) -> Iterator[str]:
    """What the params may be wrong about. labels: of the images to train on, int64."""
    steps, epochs = steps_per_epoch(len(labels), params.recipe.batch_size), params.recipe.epochs
    if steps * epochs < FEW_STEPS:
        yield (
            f"{steps * epochs} steps in all are few; a small dataset takes more epochs, "
            f"such as -S models.{params.model}.epochs={ceil(FEW_STEPS / steps)}"
        )
    counts = np.bincount(labels, minlength=len(class_names))
    most, fewest = int(counts.argmax()), int(counts.argmin())
    if params.train.class_weights == "none" and counts[most] >= UNEQUAL * counts[fewest]:
        yield (
            f"class {class_names[most]!r} has {counts[most]} training images and {class_names[fewest]!r} has "
            f"{counts[fewest]}; -S train.class_weights=balanced gives all classes the same weight"
        )


def write_history(epochs: Iterable[Epoch], total: int, path: Path) -> Epoch:
    """Train by going through the epochs, each logged and written to the CSV as it ends; the last of them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with (
        path.open("w", newline="") as file,
        tqdm(total=total, desc="train", unit="epoch", disable=None, dynamic_ncols=True) as bar,
    ):
        start = time.perf_counter()
        writer = csv.DictWriter(file, ("epoch", *epoch_metrics(None)), lineterminator="\n")
        writer.writeheader()
        for epoch in epochs:
            writer.writerow({"epoch": epoch.number} | epoch_metrics(epoch))
            file.flush()
            report(bar, describe_epoch(epoch, total, time.perf_counter() - start))
    return epoch


def epoch_metrics(epoch: Epoch | None) -> dict[str, float | None]:
    """The columns of history.csv after `epoch`; None where there is no such metric."""
    columns: dict[str, float | None] = {}
    for split in ("train", "validation"):
        score = getattr(epoch, split) if epoch else None
        columns[f"{split}_loss"] = significant(score.loss) if score else None
        columns[f"{split}_accuracy"] = score.accuracy if score else None
    return columns


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
    per_epoch = seconds / epoch.number
    left = tqdm.format_interval(per_epoch * (epochs - epoch.number))
    return f"{line}; {epoch.images_per_second:,.0f} images/s, {per_epoch:.2f} s per epoch, {left} left"


if __name__ == "__main__":
    run_stage(main)
