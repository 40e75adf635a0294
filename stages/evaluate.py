"""Measure the classifier on the test split, which nothing else reads."""

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from src.checkpoints import load_classifier
from src.datasets import DatasetInfo, load_split
from src.devices import choose_device, describe_device, keep_freed_memory, make_deterministic, place
from src.evaluation import (
    calibration_bins,
    class_rows,
    confusion_rows,
    expected_calibration_error,
    summary_metrics,
)
from src.inference import predict_logits
from src.outputs import whole_folder
from src.params import Pictures, read_params
from src.pictures import (
    BLUE,
    ORANGE,
    class_figures,
    confusion_matrix,
    image_grid,
    learning_curves,
    reliability_diagram,
    save,
    shorten,
)
from stages import log, run_stage, write_csv, write_json


def main(
    normalized: Path, classifier: Path, history_csv: Path, metrics: Path, predictions_csv: Path, pictures: Path
) -> None:
    """Measure the classifier: figures into the folder `metrics`, all predictions, and pictures of them.

    history_csv: what training left, for the learning curves.
    """
    params = read_params()
    device = choose_device(params.device)
    make_deterministic()
    keep_freed_memory()
    loaded = load_classifier(classifier)
    images, labels = load_split(normalized, "test")
    log(f"{loaded.name} on {describe_device(device)}: {len(images)} test images")
    probabilities = classify(place(loaded.model, device), images, params.evaluate.batch_size, device)
    predicted, names = probabilities.argmax(1), loaded.dataset.class_names
    figures = summary_metrics(labels, probabilities)
    write_json(metrics / "test.json", figures)
    write_csv(metrics / "confusion.csv", confusion_rows(labels, predicted, names))
    write_csv(metrics / "classes.csv", class_rows(labels, predicted, names))
    write_csv(metrics / "calibration.csv", calibration_bins(labels, probabilities))
    write_csv(
        predictions_csv,
        [
            {"image": i, "actual": names[label], "predicted": names[guess], "probability": float(row[guess])}
            for i, (label, guess, row) in enumerate(zip(labels, predicted, probabilities, strict=True))
        ],
    )
    with whole_folder(pictures) as folder:
        draw_figures(folder, labels, probabilities, names, read_history(history_csv))
        draw_images(folder, images, labels, probabilities, loaded.dataset, params.pictures)
    log(
        f"test accuracy {figures['accuracy']:.4f} (95 %: {figures['accuracy_low']:.4f} to "
        f"{figures['accuracy_high']:.4f}), log loss {figures['log_loss']:.4f}, {figures['errors']} errors"
    )


def classify(model: nn.Module, images: np.ndarray, batch_size: int, device: torch.device) -> np.ndarray:
    """Each class's probability: float64, shape (N, K). images: normalized, shape (N, C, H, W)."""
    logits = []
    with tqdm(total=len(images), desc="evaluate", unit="image", disable=None, dynamic_ncols=True) as bar:
        for start in range(0, len(images), batch_size):
            batch = torch.from_numpy(np.array(images[start : start + batch_size])).to(device)
            logits.append(predict_logits(model, batch, batch_size))
            bar.update(len(batch))
    return torch.cat(logits).double().softmax(1).cpu().numpy()


def draw_figures(
    folder: Path,
    labels: np.ndarray,
    probabilities: np.ndarray,
    names: Sequence[str],
    history: list[dict[str, float]],
) -> None:
    """The figures of metrics/ as pictures."""
    predicted = probabilities.argmax(1)
    counts = np.array([row["count"] for row in confusion_rows(labels, predicted, names)]).reshape(len(names), -1)
    rows, bins = class_rows(labels, predicted, names), calibration_bins(labels, probabilities)
    precision, recall = ([float(row[name]) for row in rows] for name in ("precision", "recall"))
    save(learning_curves(history), folder / "learning_curves.png")
    save(confusion_matrix(counts, names, share_of_row=False), folder / "confusion.png")
    save(confusion_matrix(counts, names, share_of_row=True), folder / "confusion_normalized.png")
    save(class_figures(precision, recall, names), folder / "classes.png")
    save(reliability_diagram(bins, expected_calibration_error(bins)), folder / "reliability.png")


def draw_images(
    folder: Path,
    images: np.ndarray,
    labels: np.ndarray,
    probabilities: np.ndarray,
    dataset: DatasetInfo,
    settings: Pictures,
) -> None:
    """Random test images with their predictions (T3), and the mistakes made with most confidence."""
    predicted, confidence = probabilities.argmax(1), probabilities.max(1)
    drawn = np.random.default_rng(settings.seed).choice(len(labels), min(settings.test_images, len(labels)), False)
    wrong = np.flatnonzero(predicted != labels)
    worst = wrong[np.argsort(-confidence[wrong], kind="stable")][: settings.test_images]
    for name, indices in (("predictions", np.sort(drawn)), ("mistakes", worst)):
        if not len(indices):
            log("no mistakes to draw")
            continue
        names = [shorten(name, 14) for name in dataset.class_names]
        captions = [f"{names[predicted[i]]}: {confidence[i]:.1%}\nactual: {names[labels[i]]}" for i in indices]
        colours = [BLUE if predicted[i] == labels[i] else ORANGE for i in indices]
        pixels = dataset.normalization.undo(images[indices])
        save(image_grid(pixels, captions, colours), folder / f"{name}.png")


def read_history(path: Path) -> list[dict[str, float]]:
    """The rows of history.csv, without the cells that are empty."""
    with path.open(newline="") as file:
        return [{name: float(value) for name, value in row.items() if value} for row in csv.DictReader(file)]


if __name__ == "__main__":
    run_stage(main)
