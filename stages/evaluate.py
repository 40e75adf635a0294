"""Measure the classifier on the test split, which nothing else reads."""

import csv
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from src.calibration import without_temperature
from src.checkpoints import load_classifier
from src.classification import load_test_split
from src.csv_files import significant, write_csv
from src.datasets import load_files, load_labels
from src.devices import choose_device, describe_device, place
from src.evaluation import Evaluation, class_rows, confusion_rows, evaluate_predictions, summary_metrics
from src.heatmaps import heatmaps
from src.inference import class_probabilities
from src.models import temperature_of
from src.outputs import whole_folder
from src.params import read_params
from src.plots.base import save, save_all
from src.plots.results import heatmap_images, predicted_images, result_figures
from src.predictions import in_pieces, write_predictions
from src.runtime import prepare_process
from stages import log, run_stage, write_json


def main(
    normalized: Path, classifier: Path, history_csv: Path, metrics: Path, predictions_csv: Path, figures: Path
) -> None:
    """Measure the classifier: metrics into the folder `metrics`, all predictions, and figures of them.

    history_csv: what training left, for the learning curves.
    """
    params = read_params()
    device = choose_device(params.device)
    prepare_process()
    loaded = load_classifier(classifier)
    images, labels = load_test_split(loaded, normalized)
    log(f"{loaded.name} on {describe_device(device)}: {len(images)} test images")
    size = params.evaluate.batch_size
    batches = torch.from_numpy(images).split(size)
    bar = tqdm(batches, desc="evaluate", unit="image", unit_scale=size, disable=None, dynamic_ncols=True)
    probabilities = class_probabilities(place(loaded.model, device), bar, len(images))
    names = loaded.dataset.class_names
    evaluation = evaluate_predictions(labels, probabilities, names)
    temperature = float(temperature_of(loaded.model))
    uncalibrated = evaluate_predictions(labels, without_temperature(probabilities, temperature), names)
    summary = write_metrics(evaluation, uncalibrated, load_labels(normalized, "train", loaded.dataset), metrics)
    files = load_files(normalized, "test", len(labels))
    write_predictions(predictions_csv, in_pieces(np.arange(len(labels)), labels, [probabilities]), files, names)
    with whole_folder(figures) as folder:
        save_all(result_figures(evaluation, images, list(files), read_history(history_csv), params.figures), folder)
        shown = heatmap_images(evaluation, params.figures)
        maps = heatmaps(loaded.model, images[shown], evaluation.predicted[shown])
        if maps is not None:
            save(predicted_images(evaluation, images, shown, maps=maps), folder / "heatmaps.png")
    if not evaluation.errors:
        log("no mistakes to draw")
    log(
        f"test accuracy {summary['accuracy']:.4f} (95 %: {summary['accuracy_low']:.4f} to "
        f"{summary['accuracy_high']:.4f}), log loss {summary['log_loss']:.4f}, {evaluation.errors} errors; "
        f"always predicting the commonest class gives {summary['baseline_accuracy']:.4f}"
    )


def write_metrics(
    evaluation: Evaluation, uncalibrated: Evaluation, train_labels: np.ndarray, folder: Path
) -> dict[str, float | int]:
    """Write test.json and the CSVs; returns what is in test.json. uncalibrated: with no temperature."""
    summary, before = (summary_metrics(each, train_labels) for each in (evaluation, uncalibrated))
    for name in ("log_loss", "ece"):
        summary |= {name: significant(summary[name]), f"{name}_uncalibrated": significant(before[name])}
    write_json(folder / "test.json", summary)
    write_csv(folder / "confusion.csv", confusion_rows(evaluation))
    write_csv(folder / "classes.csv", class_rows(evaluation))
    calibration = [row | {"confidence": significant(row["confidence"])} for row in evaluation.calibration]
    write_csv(folder / "calibration.csv", calibration)
    return summary


def read_history(path: Path) -> list[dict[str, float]]:
    """The rows of history.csv, without the cells that are empty."""
    with path.open(newline="") as file:
        return [{name: float(value) for name, value in row.items() if value} for row in csv.DictReader(file)]


if __name__ == "__main__":
    run_stage(main)
