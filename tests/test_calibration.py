"""The temperature: worked by hand, saved with the classifier, and used by whatever asks it for probabilities."""

import csv
import gc
import json
import re

import numpy as np
import pytest
import torch

from src.batches import Subset
from src.calibration import fit_temperature, without_temperature
from src.checkpoints import Classifier, load_classifier, save_classifier
from src.errors import MnistryError
from src.inference import class_probabilities
from src.models import build_model, temperature_of
from stages import download, evaluate, normalize, train
from tests.conftest import PROJECT, dataset_info


def answers(right, wrong, logit=3.0):
    """Logits (logit, 0) of each image, of which so many are right and so many wrong."""
    logits = torch.tensor([[logit, 0.0]]).repeat(right + wrong, 1)
    return logits, torch.tensor([0] * right + [1] * wrong)


@pytest.mark.parametrize(("right", "wrong", "logit"), [(30, 10, 3.0), (30, 10, 0.5), (70, 0, 3.0), (1000, 1, 3.0)])
def test_temperature_worked_by_hand(right, wrong, logit):
    """The lowest log loss is where each says what share is right, half a mistake of all and one more counted in."""
    images, half = right + wrong, 0.5 / (right + wrong + 1)
    share = ((1 - half) * right + half * wrong) / images
    temperature = fit_temperature(*answers(right, wrong, logit))
    assert temperature == pytest.approx(logit / np.log(share / (1 - share)))


def test_temperature_has_the_lowest_log_loss():
    """Of random logits of ten classes, that were drawn too large; a temperature near 2.5 brings them back."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2000, 10, generator=generator) * 2
    labels = torch.multinomial(logits.softmax(1), 1, generator=generator)[:, 0]
    temperature = fit_temperature(logits * 2.5, labels)
    assert temperature == pytest.approx(2.5, rel=0.1)

    def log_loss(value):
        return torch.nn.functional.cross_entropy(logits.double() * 2.5 / value, labels)

    assert log_loss(temperature) < min(log_loss(temperature * 0.98), log_loss(temperature * 1.02))


def test_temperature_is_never_far_from_1():
    """Nor 0 or infinite, where most answers are wrong or logits hardly differ."""
    assert fit_temperature(*answers(10, 30)) == pytest.approx(20)
    assert fit_temperature(*answers(1000, 10, logit=0.001)) == pytest.approx(1 / 20)


def test_probabilities_without_the_temperature():
    """They are the softmax of the logits as they were, also where probabilities are as small as can be."""
    logits = np.array([[800.0, 0, -800], [1, 2, 3]])
    for temperature in (0.4, 1, 3):
        exponentials = np.exp(logits / temperature - (logits / temperature).max(1, keepdims=True))
        calibrated = exponentials / exponentials.sum(1, keepdims=True)
        expected = torch.from_numpy(logits).softmax(1).numpy()
        assert without_temperature(calibrated, temperature) == pytest.approx(expected, abs=1e-12)


def test_temperature_is_saved_and_divides_the_logits(params, tmp_path):
    """But not in training; every image's class stays."""
    model = build_model("linear", params.models.linear, dataset_info())
    codes = torch.randint(256, (50, 1, 8, 8), dtype=torch.uint8)
    before = model.eval()(codes)
    temperature_of(model).fill_(0.5)
    path = tmp_path / "classifier.safetensors"
    save_classifier(path, Classifier(model, "linear", params.models.linear, dataset_info()))
    loaded = load_classifier(path).model
    torch.testing.assert_close(loaded(codes), before * 2)
    assert torch.equal(loaded(codes).argmax(1), before.argmax(1))
    torch.testing.assert_close(loaded.train()(codes), before)


@pytest.mark.parametrize("temperature", [0.0, -1.0])
def test_temperature_that_none_can_be_is_refused(params, tmp_path, temperature):
    """It would turn the classes' order round, or give no numbers."""
    model = build_model("linear", params.models.linear, dataset_info())
    temperature_of(model).fill_(temperature)
    save_classifier(tmp_path / "c", Classifier(model, "linear", params.models.linear, dataset_info()))
    with pytest.raises(MnistryError, match=r"c: calibrate.temperature is -?[01]; expected above 0; run `dvc repro`"):
        load_classifier(tmp_path / "c")


def test_calibrating_twice_is_calibrating_once(params):
    """A training that was kept after its end, because nothing could be written, goes on from there."""
    model = build_model("linear", params.models.linear, dataset_info())
    codes, labels = torch.randint(256, (90, 1, 8, 8), dtype=torch.uint8), torch.arange(90) % 10
    (first,) = train.calibrate(model, Subset(codes, labels, torch.arange(90)), 10)
    temperature = float(temperature_of(model))
    assert temperature != 1
    (again,) = train.calibrate(model, Subset(codes, labels, torch.arange(90)), 10)
    assert np.array_equal(again, first)
    assert float(temperature_of(model)) == temperature


def test_stages_calibrate_and_measure_both(tmp_path, monkeypatch, write_params, capsys):
    """An underfitted softmax regression is too unsure: the temperature is below 1, and log loss and ECE fall."""
    monkeypatch.chdir(tmp_path)
    # Or everything that the tests have made would stay to their end.
    monkeypatch.setattr(gc, "freeze", lambda: None)
    write_params(model="linear", models__linear__epochs=1, train__validation_fraction=0.2, device="cpu")
    download.main(PROJECT / "data/sources/digits", tmp_path / "raw/digits")
    normalize.main(tmp_path / "raw/digits", tmp_path / "n", tmp_path / "dataset.json", tmp_path / "figures")
    train.main(tmp_path / "n", *(tmp_path / name for name in ("c", "train.json", "history.csv", "v.csv")))
    evaluate.main(*(tmp_path / name for name in ("n", "c", "history.csv", "metrics", "p.csv", "f")))
    summary, test = (json.loads((tmp_path / name).read_text()) for name in ("train.json", "metrics/test.json"))
    classifier = load_classifier(tmp_path / "c")
    assert summary["temperature"] == pytest.approx(float(temperature_of(classifier.model)), rel=1e-4)
    assert summary["temperature"] < 0.9
    said = re.search(r"temperature ([\d.]+), fitted on (\d+) validation images", capsys.readouterr().out)
    assert said
    assert float(said[1]) == pytest.approx(summary["temperature"], rel=1e-3)
    assert test["log_loss"] < test["log_loss_uncalibrated"]
    assert test["ece"] < test["ece_uncalibrated"]
    with (tmp_path / "v.csv").open(newline="") as file:
        predictions = list(csv.DictReader(file))
    assert int(said[2]) == len(predictions)
    images = torch.from_numpy(np.load(tmp_path / "n/train_images.npy")[[int(row["image"]) for row in predictions]])
    probabilities = class_probabilities(classifier.model, [images], len(images)).max(1)
    assert [float(row["probability"]) for row in predictions] == pytest.approx(probabilities, rel=1e-4)
