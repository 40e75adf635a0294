"""What a classifier's answers mean, and whether images are like those that it was trained on."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from src.checkpoints import Classifier
from src.datasets import load_info, load_split
from src.errors import MnistryError


def best_classes(probabilities: np.ndarray, class_names: Sequence[str], top: int) -> list[tuple[str, float]]:
    """The `top` likeliest classes, or all if there are fewer, with their probabilities.

    probabilities: shape (K,).
    """
    order = np.argsort(-probabilities, kind="stable")[:top]
    return [(class_names[i], float(probabilities[i])) for i in order]


def looks_inverted(classifier: Classifier, codes: np.ndarray) -> bool:
    """Whether the image's light and dark look swapped, compared with the images that the classifier was trained on.

    codes: uint8, shape (C, H, W), without padding. They do where both the whole image and its border (its median) are
    nearer to the negative of the training images' mean than to the mean itself, colours averaged. Only the method
    `standard` knows that mean. One near the middle decides nothing; colour, with photographs' means near it, needs one
    further out.
    """
    normalization = classifier.dataset.normalization
    side = np.mean(normalization.mean) - 0.5
    if normalization.method != "standard" or abs(side) < (0.1 if len(codes) == 1 else 0.25):
        return False
    image = codes.mean(0) / 255
    border = np.concatenate([image[0], image[-1], image[1:-1, 0], image[1:-1, -1]])
    return all((value - 0.5) * side < 0 for value in (image.mean(), np.median(border)))


def looks_unfamiliar(classifier: Classifier, codes: np.ndarray) -> list[bool]:
    """Whether each image looks like none of the training images; never where there were too few of them to say.

    codes: uint8, shape (N, C, H, W).
    """
    if classifier.familiarity is None:
        return [False] * len(codes)
    unfamiliar: list[bool] = classifier.familiarity.unfamiliar(codes).tolist()
    return unfamiliar


def load_test_split(classifier: Classifier, folder: Path, advice: str = "") -> tuple[np.ndarray, np.ndarray]:
    """The test split's images and labels in `folder`, as `load_split` gives them.

    Raises MnistryError where the classifier was trained on another dataset. advice: what a user can do about it besides
    running the pipeline.
    """
    try:
        info = load_info(folder)
    except FileNotFoundError as error:
        raise MnistryError(f"{error.filename}: no such file; run `dvc repro` or `dvc checkout`") from None
    if info != classifier.dataset:
        raise MnistryError(
            f"{folder}: {len(info.class_names)} classes of shape {info.shape}, {info.normalization.method}, are not "
            f"what the classifier was trained on; run `dvc repro`{advice}"
        )
    return load_split(folder, "test", info)
