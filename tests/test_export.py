"""`python -m src.export`: what onnxruntime answers is what torch does."""

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from src.checkpoints import Classifier
from src.classification import LabelledImages
from src.datasets import DatasetInfo
from src.errors import MnistryError
from src.export import export, main
from src.models import build_model
from src.normalization import Normalization
from src.params import Models, read_params

SHAPE = (3, 8, 9)
NORMALIZATION = Normalization("standard", (0.1, 0.5, 0.7), (0.3, 0.2, 0.25))


def untrained(name: str) -> Classifier:
    torch.manual_seed(0)
    recipe = getattr(read_params().models, name)
    model = build_model(name, recipe, SHAPE, 4).eval()
    return Classifier(model, name, recipe, DatasetInfo(("T-shirt/top", "れ", "7", "🙂"), SHAPE, NORMALIZATION))


@pytest.fixture
def split() -> LabelledImages:
    pixels = np.random.default_rng(0).integers(0, 256, (300, *SHAPE), np.uint8)
    return LabelledImages(NORMALIZATION(pixels), np.zeros(300, np.int64), NORMALIZATION)


@pytest.mark.parametrize("name", sorted(Models.model_fields))
def test_every_model_answers_as_in_torch(name: str, split: LabelledImages, tmp_path: Path):
    """On raw pixels, for any batch size, with the class names in the file, in one file."""
    path = tmp_path / "classifier.onnx"
    classifier = untrained(name)
    assert export(classifier, split, path) <= 1e-4
    assert [file.name for file in tmp_path.iterdir()] == ["classifier.onnx"]
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    assert json.loads(session.get_modelmeta().custom_metadata_map["class_names"]) == ["T-shirt/top", "れ", "7", "🙂"]
    for size in (1, 3):
        (probabilities,) = session.run(None, {"pixels": split.pixels(slice(size))})
        with torch.inference_mode():
            expected = classifier.model(torch.from_numpy(split.inputs[:size])).softmax(1)
        assert probabilities.dtype == np.float32
        assert probabilities == pytest.approx(expected.numpy(), abs=1e-5)


def test_folder_is_refused_before_any_work(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["export", str(tmp_path), "--model", "missing"])
    with pytest.raises(MnistryError, match="a folder; expected the name of a file to write"):
        main()


def test_weights_in_bfloat16_are_written_as_float32(split: LabelledImages, tmp_path: Path):
    classifier = untrained("mlp")
    rounded = classifier.model.bfloat16().float()
    session_path = tmp_path / "classifier.onnx"
    from src.export import write_onnx

    write_onnx(Classifier(rounded.bfloat16(), "mlp", classifier.recipe, classifier.dataset), session_path)
    session = onnxruntime.InferenceSession(session_path, providers=["CPUExecutionProvider"])
    (probabilities,) = session.run(None, {"pixels": split.pixels(slice(5))})
    with torch.inference_mode():
        expected = rounded.float()(torch.from_numpy(split.inputs[:5])).softmax(1).numpy()
    assert probabilities.dtype == np.float32
    assert probabilities == pytest.approx(expected, abs=1e-5)


def test_a_file_that_answers_otherwise_is_not_written(split: LabelledImages, tmp_path: Path):
    """Here the normalized images don't come from the pixels that the file gets."""
    other = Normalization("unit", (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    wrong = LabelledImages(split.inputs, split.labels, other)
    with pytest.raises(MnistryError, match=r"onnxruntime and torch differ on the test split: \d+ classes in images 0 "):
        export(untrained("linear"), wrong, tmp_path / "classifier.onnx")
    assert not list(tmp_path.iterdir())
