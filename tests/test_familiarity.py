"""Which images look like none of the training images."""

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

from src.checkpoints import Classifier, load_classifier, save_classifier
from src.errors import MnistryError
from src.familiarity import FEWEST, Familiarity, fit_familiarity, image_statistics
from src.models import build_model
from tests.conftest import dataset_info


def smooth(count: int, channels: int, seed: int) -> np.ndarray:
    """Images of 8x8 pixels with slopes of random directions: uint8, shape (count, channels, 8, 8)."""
    slopes = np.random.default_rng(seed).uniform(-15, 15, (2, count, channels, 1, 1))
    places = np.arange(8) - 3.5
    images: np.ndarray = (128 + slopes[0] * places + slopes[1] * places[:, None]).astype(np.uint8)
    return images


def fitted(images: np.ndarray) -> Familiarity:
    """The familiarity of images that are enough."""
    familiarity = fit_familiarity([images])
    assert familiarity is not None
    return familiarity


@pytest.mark.parametrize("channels", [1, 3])
def test_other_kinds_of_images_are_flagged_and_the_own_are_not(channels):
    """Noise and white are; of further images of the same kind, one in fifty at most."""
    familiarity = fitted(smooth(1000, channels, seed=0))
    assert familiarity.unfamiliar(smooth(1000, channels, seed=1)).mean() <= 0.02
    noise = np.random.default_rng(0).integers(0, 256, (50, channels, 8, 8), np.uint8)
    assert familiarity.unfamiliar(noise).all()
    assert familiarity.unfamiliar(np.full((1, channels, 8, 8), 255, np.uint8)).all()


def test_the_limit_is_set_by_the_training_images():
    """One in a hundred of them is further than it from all the others."""
    images = smooth(1000, 1, seed=0)
    familiarity = fitted(images)
    references = familiarity.references.astype(np.float64)
    between = np.linalg.norm(references[:, None] - references, axis=2)
    np.fill_diagonal(between, np.inf)
    assert (between.min(1) > familiarity.limit).sum() == 10


def test_nothing_is_said_of_few_training_images():
    """A hundredth of them is less than one."""
    assert fit_familiarity([smooth(FEWEST - 1, 1, seed=0)]) is None
    assert fit_familiarity([smooth(FEWEST, 1, seed=0)]) is not None


def test_images_in_pieces_have_the_statistics_that_they_have_at_once(monkeypatch):
    """To the last bit, whatever the size of batches and of pieces."""
    images = smooth(300, 3, seed=0)
    at_once, familiarity = image_statistics(images), fitted(images)
    monkeypatch.setattr("src.familiarity.VALUES", 7 * 3 * 8 * 8)
    assert np.array_equal(image_statistics(images), at_once)
    in_batches = fit_familiarity(images[begin : begin + 64] for begin in range(0, 300, 64))
    assert in_batches is not None
    assert np.array_equal(in_batches.references, familiarity.references)


@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 1, 5), (1, 2, 2)])
def test_the_smallest_images_have_statistics(shape):
    """Finite ones."""
    codes = np.random.default_rng(0).integers(0, 256, (4, *shape), np.uint8)
    assert np.isfinite(image_statistics(codes)).all()


def test_the_classifiers_file_keeps_it(params, tmp_path):
    """What is loaded judges as what was saved."""
    info, recipe = dataset_info(), params.models.linear
    familiarity = fitted(smooth(300, 1, seed=0))
    path = tmp_path / "classifier.safetensors"
    save_classifier(path, Classifier(build_model("linear", recipe, info), "linear", recipe, info, familiarity))
    images = smooth(50, 1, seed=1)
    loaded = load_classifier(path).familiarity
    assert loaded is not None
    assert (loaded.distances(images) == familiarity.distances(images)).all()
    assert loaded.limit == familiarity.limit


@pytest.mark.parametrize(
    "change",
    [
        {"limit": np.array([np.nan], np.float32)},
        {"centre": np.zeros(8, np.float32)},
        {"references": np.zeros((0, 9), np.float32)},
        {"references": np.zeros((5, 9), np.float64)},
        {"limit": np.array(1, np.float32)},
        {"other": np.zeros(1, np.float32)},
        {"limit": None},
    ],
)
def test_damaged_familiarity_is_refused(params, tmp_path, change):
    """Values, shapes, types and names: an error that names the file."""
    info, recipe = dataset_info(), params.models.linear
    path = tmp_path / "classifier.safetensors"
    classifier = Classifier(
        build_model("linear", recipe, info), "linear", recipe, info, fitted(smooth(FEWEST, 1, seed=0))
    )
    save_classifier(path, classifier)
    with safe_open(path, framework="np") as file:
        metadata = file.metadata()
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it is no mapping)
    tensors |= {f"familiarity.{name}": array for name, array in change.items()}
    save_file({name: array for name, array in tensors.items() if array is not None}, path, metadata)
    with pytest.raises(MnistryError, match=r"classifier\.safetensors: what its training images look like is damaged"):
        load_classifier(path)
