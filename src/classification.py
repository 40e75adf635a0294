"""A classifier at work on raw pixels."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import yaml

from src.checkpoints import Classifier
from src.datasets import load_info, load_split
from src.errors import MnistryError
from src.inference import predict_logits
from src.normalization import Normalization

BATCH_SIZE = 256


@dataclass(frozen=True)
class LabelledImages:
    """Normalized images, which can be had back as pixels, and their labels.

    inputs: normalized, float32 of shape (N, C, H, W). labels: int64, shape (N,).
    """

    inputs: np.ndarray
    labels: np.ndarray
    normalization: Normalization

    def pixels(self, indices: np.ndarray | slice) -> np.ndarray:
        """The images at `indices` as they were before normalization: uint8, shape (n, C, H, W)."""
        return self.normalization.undo(self.inputs[indices])


def class_probabilities(classifier: Classifier, pixels: np.ndarray) -> np.ndarray:
    """Each class's probability: float64, shape (N, K).

    pixels: uint8 in [0, 255], shape (N, C, H, W), of the classifier's own size.
    """
    inputs = torch.from_numpy(classifier.dataset.normalization(pixels))
    return predict_logits(classifier.model, inputs, BATCH_SIZE).double().softmax(1).numpy()


def best_classes(probabilities: np.ndarray, class_names: Sequence[str], top: int) -> list[tuple[str, float]]:
    """The `top` likeliest classes, or all if there are fewer, with their probabilities.

    probabilities: shape (K,).
    """
    order = np.argsort(-probabilities, kind="stable")[:top]
    return [(class_names[i], float(probabilities[i])) for i in order]


def looks_inverted(classifier: Classifier, pixels: np.ndarray) -> bool:
    """Whether the image's light and dark look swapped, beside the images that the classifier was trained on.

    pixels: uint8, shape (C, H, W). It does where both the whole image and its border (its median) are nearer to the
    negative of the training images' mean than to the mean itself, colours averaged. Only the method `standard` knows
    that mean. One near the middle decides nothing; colour, with photographs' means near it, needs one further out.
    """
    normalization = classifier.dataset.normalization
    side = np.mean(normalization.mean) - 0.5
    if normalization.method != "standard" or abs(side) < (0.1 if len(pixels) == 1 else 0.25):
        return False
    image = pixels.mean(0) / 255
    border = np.concatenate([image[0], image[-1], image[1:-1, 0], image[1:-1, -1]])
    return all((value - 0.5) * side < 0 for value in (image.mean(), np.median(border)))


def trained_on(lock: Path) -> Path:
    """The normalized dataset that the classifier came from, as dvc.lock has it."""
    try:
        stages = yaml.safe_load(lock.read_text("utf-8"))["stages"]
    except FileNotFoundError:
        raise MnistryError(f"{lock}: no such file; run from the project's top folder") from None
    paths = [Path(entry["path"]) for entry in stages.get("train", {}).get("deps", [])]
    for path in paths:
        if path.parent.name == "normalized":
            return path
    raise MnistryError(f"{lock}: names no dataset that the classifier was trained on; give it with --data FOLDER")


def load_test_split(classifier: Classifier, folder: Path) -> LabelledImages:
    """The test split in `folder`; raises MnistryError where the classifier was trained on another dataset."""
    try:
        info = load_info(folder)
        inputs, labels = load_split(folder, "test")
    except FileNotFoundError as error:
        raise MnistryError(f"{error.filename}: no such file; run `dvc repro` or `dvc checkout`") from None
    if info != classifier.dataset:
        raise MnistryError(
            f"{folder}: {len(info.class_names)} classes of shape {info.shape}, {info.normalization.method}, are not "
            f"what the classifier was trained on; run `dvc repro` or give its own dataset with --data FOLDER"
        )
    return LabelledImages(inputs, labels, info.normalization)
