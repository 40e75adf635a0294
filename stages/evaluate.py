"""Measure the classifier on the test split, which nothing else reads."""

import csv
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from torch import Tensor, nn
from tqdm import tqdm

from src.blocks import StoredImages
from src.calibration import without_temperature
from src.checkpoints import load_classifier
from src.classification import load_test_split
from src.csv_files import significant, write_csv
from src.datasets import load_files, load_labels
from src.devices import choose_device, describe_device, place
from src.evaluation import Evaluation, Evaluator, class_rows, confusion_rows, summary_metrics
from src.heatmaps import heatmaps
from src.inference import logits_in_pieces, probabilities_of
from src.models import temperature_of
from src.outputs import whole_folder
from src.params import Pretrained, read_params
from src.plots.base import save, save_all
from src.plots.results import drawn_images, heatmap_answers, predicted_images, result_figures
from src.predictions import Piece, in_pieces, write_predictions
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
    model = place(loaded.model, device)
    images, labels = load_test_split(loaded, normalized)
    log(f"{loaded.name} on {describe_device(device)}: {len(images)} test images")
    names, shown = loaded.dataset.class_names, params.figures
    evaluator = Evaluator(names, drawn_images(len(images), shown), shown.test_images)
    uncalibrated = Evaluator(names)
    files = load_files(normalized, "test", len(labels))
    pieces = in_pieces(
        np.arange(len(labels)), labels, probabilities_in_pieces(model, images, params.evaluate.batch_size)
    )
    evaluated = evaluate_pieces(pieces, evaluator, uncalibrated, float(temperature_of(model)))
    write_predictions(predictions_csv, evaluated, files, names)
    evaluation = evaluator.evaluation()
    train_labels = load_labels(normalized, "train", loaded.dataset)
    summary = write_metrics(evaluation, uncalibrated.evaluation(), train_labels, metrics)
    with whole_folder(figures) as folder:
        wrong = np.sort(evaluation.mistakes.indices).tolist()
        named = dict(zip(wrong, files.at(wrong), strict=True))
        save_all(result_figures(evaluation, images, named, read_history(history_csv)), folder)
        answers = heatmap_answers(evaluation, shown)
        maps = heatmaps(model, images[answers.indices], answers.predicted)
        if maps is not None:
            save(predicted_images(answers, images, names, maps=maps), folder / "heatmaps.png")
        elif isinstance(loaded.recipe, Pretrained):
            log(f"no heatmaps.png: {loaded.recipe.backbone} has no last maps in rows and columns, as convolutions have")
    if not evaluation.errors:
        log("no mistakes to draw")
    log(
        f"test accuracy {summary['accuracy']:.4f} (95 %: {summary['accuracy_low']:.4f} to "
        f"{summary['accuracy_high']:.4f}), log loss {summary['log_loss']:.4f}, {evaluation.errors} errors; "
        f"always predicting the commonest class gives {summary['baseline_accuracy']:.4f}"
    )


def probabilities_in_pieces(model: nn.Module, images: np.ndarray, batch_size: int) -> Iterator[np.ndarray]:
    """Each class's probability for the memory-mapped images, float64 of shape (n, K), piece by piece."""
    with tqdm(total=len(images), desc="evaluate", unit="image", disable=None, dynamic_ncols=True) as bar:
        for logits in logits_in_pieces(model, counted(StoredImages.of(images).in_order(batch_size), bar), len(images)):
            yield probabilities_of(logits)


def counted(batches: Iterable[Tensor], bar: tqdm) -> Iterator[Tensor]:
    """The batches; the bar moves on by their images."""
    for images in batches:
        yield images
        bar.update(len(images))


def evaluate_pieces(
    pieces: Iterable[Piece], evaluator: Evaluator, uncalibrated: Evaluator, temperature: float
) -> Iterator[Piece]:
    """The pieces, each evaluated, with the temperature and without."""
    for piece in pieces:
        _, labels, probabilities = piece
        evaluator.add(labels, probabilities)
        uncalibrated.add(labels, without_temperature(probabilities, temperature))
        yield piece


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
