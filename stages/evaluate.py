"""Measure the classifier on the test split, which nothing else reads."""

from pathlib import Path

import numpy as np
import torch

from src.checkpoints import load_classifier
from src.datasets import load_split
from src.devices import choose_device, describe_device, make_deterministic
from src.evaluation import class_rows, confusion_rows, summary_metrics
from src.inference import predict_logits
from src.params import read_params
from stages import log, run_stage, write_csv, write_json


def main(
    normalized: Path, classifier: Path, test_json: Path, confusion_csv: Path, classes_csv: Path, predictions_csv: Path
) -> None:
    """Write the test split's figures, its confusion matrix, the figures of each class and all predictions."""
    params = read_params()
    device = choose_device(params.device)
    make_deterministic()
    loaded = load_classifier(classifier)
    images, labels = load_split(normalized, "test")
    log(f"{loaded.name} on {describe_device(device)}: {len(images)} test images")
    logits = predict_logits(
        loaded.model.to(device), torch.from_numpy(np.array(images)).to(device), params.evaluate.batch_size
    )
    probabilities = logits.double().softmax(1).cpu().numpy()
    predicted, names = probabilities.argmax(1), loaded.dataset.class_names
    figures = summary_metrics(labels, probabilities)
    write_json(test_json, figures)
    write_csv(confusion_csv, confusion_rows(labels, predicted, names))
    write_csv(classes_csv, class_rows(labels, predicted, names))
    write_csv(
        predictions_csv,
        [
            {"image": i, "actual": names[label], "predicted": names[guess], "probability": float(row[guess])}
            for i, (label, guess, row) in enumerate(zip(labels, predicted, probabilities, strict=True))
        ],
    )
    log(
        f"test accuracy {figures['accuracy']:.4f} (95 %: {figures['accuracy_low']:.4f} to "
        f"{figures['accuracy_high']:.4f}), log loss {figures['log_loss']:.4f}, {figures['errors']} errors"
    )


if __name__ == "__main__":
    run_stage(main)
