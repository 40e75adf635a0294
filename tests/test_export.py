"""`python -m commands.export`: what onnxruntime answers is what torch does."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from commands import export as command
from src.checkpoints import Classifier
from src.errors import MnistryError
from src.models import build_model, temperature_of
from src.params import MODELS
from tests.conftest import completed_params, dataset_info

CLASS_NAMES = ("T-shirt/top", "れ", "7", "🙂")
INFO = dataset_info(CLASS_NAMES, (3, 8, 9), mean=0.4, std=0.25)


def untrained(name: str, seed: int = 0) -> Classifier:
    """A classifier with random weights and a temperature, that averages over mirror images."""
    torch.manual_seed(seed)
    recipe = getattr(completed_params().models, name).model_copy(update={"flip_at_inference": True})
    model = build_model(name, recipe, INFO).eval()
    if name == "pretrained":
        # Its own are 0, with which every file would answer right.
        torch.nn.init.normal_(model.get_parameter("network.head.1.weight"), std=0.02)
    temperature_of(model).fill_(0.7)
    return Classifier(model, name, recipe, INFO)


@pytest.fixture
def images() -> np.ndarray:
    """Random codes."""
    return np.random.default_rng(0).integers(0, 256, (300, *INFO.shape), np.uint8)


def torchs_probabilities(classifier: Classifier, images: np.ndarray) -> np.ndarray:
    """What torch answers to the codes."""
    with torch.inference_mode():
        probabilities: np.ndarray = classifier.model(torch.from_numpy(images)).softmax(1).numpy()
    return probabilities


@pytest.mark.parametrize("name", MODELS)
def test_every_model_answers_as_in_torch(name: str, images: np.ndarray, tmp_path: Path):
    """On raw pixels, for any batch size, with the class names in the file, in one file."""
    path = tmp_path / "classifier.onnx"
    classifier = untrained(name)
    assert command.export(classifier, images, path) <= 1e-4
    assert [file.name for file in tmp_path.iterdir()] == ["classifier.onnx"]
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    assert json.loads(session.get_modelmeta().custom_metadata_map["class_names"]) == list(CLASS_NAMES)
    for size in (1, 3):
        (probabilities,) = session.run(None, {"pixels": images[:size]})
        assert probabilities.dtype == np.float32
        assert probabilities == pytest.approx(torchs_probabilities(classifier, images[:size]), abs=1e-5)


def test_folder_is_refused_before_any_work(tmp_path, monkeypatch):
    """Before the classifier is looked for."""
    monkeypatch.setattr(sys, "argv", ["export", str(tmp_path), "--classifier", "missing"])
    with pytest.raises(MnistryError, match="a folder; expected the name of a file to write"):
        command.main()


def test_weights_in_bfloat16_are_written_as_float32(images: np.ndarray, tmp_path: Path):
    """The file answers as the same weights do in float32."""
    classifier = untrained("mlp")
    rounded = classifier.model.bfloat16().float()
    expected = torchs_probabilities(replace(classifier, model=rounded), images[:5])
    path = tmp_path / "classifier.onnx"
    command.write_onnx(replace(classifier, model=rounded.bfloat16()), path)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (probabilities,) = session.run(None, {"pixels": images[:5]})
    assert probabilities.dtype == np.float32
    assert probabilities == pytest.approx(expected, abs=1e-5)


def test_a_file_that_answers_otherwise_is_not_written(images: np.ndarray, tmp_path: Path, monkeypatch):
    """Here the file is another classifier's."""
    write = command.write_onnx
    monkeypatch.setattr(command, "write_onnx", lambda _, path: write(untrained("linear", seed=1), path))
    with pytest.raises(MnistryError, match=r"onnxruntime and torch differ on the test split: \d+ classes in images 0 "):
        command.export(untrained("linear"), images, tmp_path / "classifier.onnx")
    assert not list(tmp_path.iterdir())


def test_an_answer_that_is_no_number_is_a_difference(images: np.ndarray, tmp_path: Path, monkeypatch):
    """NaN is neither above nor below any tolerance, and its first class is the likeliest, in both."""

    class Session:
        def __init__(self, *_: object, **__: object):
            pass

        def run(self, _: object, inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
            probabilities = torchs_probabilities(classifier, inputs["pixels"])
            probabilities[0, expected] = np.nan
            return [probabilities]

    classifier = untrained("linear")
    expected = int(torchs_probabilities(classifier, images[:1]).argmax())
    monkeypatch.setattr(onnxruntime, "InferenceSession", Session)
    with pytest.raises(MnistryError, match="0 classes in images 0 to 199, probabilities by nan where 1e-04 is allowed"):
        command.export(classifier, images, tmp_path / "classifier.onnx")
    assert not list(tmp_path.iterdir())
