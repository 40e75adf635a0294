import csv
import gc
import io
import json
import os
import re
import resource
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tqdm import tqdm

from src.batches import Subset
from src.calibration import without_temperature
from src.checkpoints import load_classifier
from src.csv_files import significant
from src.datasets import load_files, load_info, save_files
from src.errors import MnistryError
from src.inference import class_probabilities
from src.models import build_model
from src.params import MODELS
from src.progress import Epoch, Score
from stages import check, download, evaluate, normalize, run_stage, train, write_json
from tests.conftest import PROJECT, dataset_info


@pytest.fixture(autouse=True)
def _no_freeze(monkeypatch):
    """Or everything that the tests have made would stay to their end."""
    monkeypatch.setattr(gc, "freeze", lambda: None)


@pytest.fixture
def project(tmp_path, monkeypatch, write_params):
    """An empty folder as the current one, with the digits' source and params for a quick run."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "sources").symlink_to(PROJECT / "data" / "sources")
    write_params(models__mlp__epochs=2)
    return tmp_path


@pytest.fixture
def normalized(project):
    """The digits, downloaded and normalized."""
    download.main(project / "data/sources/digits", project / "raw/digits")
    normalize.main(
        project / "raw/digits", project / "normalized", project / "dataset.json", project / "figures/dataset"
    )
    return project / "normalized"


def rows(path):
    """The CSV's rows."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_stages_write_what_the_design_promises(project, normalized):
    """Each file, its columns and its keys, from source to metrics."""
    arrays = {path.name: np.load(path) for path in normalized.glob("*.npy")}
    assert {name: (array.dtype.name, array.shape) for name, array in arrays.items()} == {
        "train_images.npy": ("uint8", (1438, 1, 8, 8)),
        "train_labels.npy": ("int64", (1438,)),
        "test_images.npy": ("uint8", (359, 1, 8, 8)),
        "test_labels.npy": ("int64", (359,)),
    }
    values = load_info(normalized).normalization(arrays["train_images.npy"])
    assert values.mean() == pytest.approx(0, abs=1e-6)
    assert values.std() == pytest.approx(1, abs=1e-6)
    train.main(
        normalized, project / "c.safetensors", project / "train.json", project / "history.csv", project / "v.csv"
    )
    summary = json.loads((project / "train.json").read_text())
    history = rows(project / "history.csv")
    scores = ["train_loss", "train_accuracy", "validation_loss", "validation_accuracy"]
    assert list(summary) == ["epochs", "kept_epoch", "parameters", "untrained_loss", *scores, "temperature"]
    assert list(history[0]) == ["epoch", *scores]
    assert [row["epoch"] for row in history] == ["1", "2"]
    assert {name: float(history[-1][name]) for name in scores} == {name: summary[name] for name in scores}

    metrics = project / "metrics"
    evaluate.main(
        normalized,
        project / "c.safetensors",
        project / "history.csv",
        metrics,
        project / "p.csv",
        project / "figures/test",
    )
    summary, confusion = json.loads((metrics / "test.json").read_text()), rows(metrics / "confusion.csv")
    predictions = rows(project / "p.csv")
    promised = {"accuracy", "accuracy_low", "accuracy_high", "log_loss", "macro_f1", "balanced_accuracy", "ece"}
    assert promised | {"log_loss_uncalibrated", "ece_uncalibrated"} <= set(summary)
    assert sum(int(row["count"]) for row in confusion) == summary["images"] == len(predictions) == 359
    wrong = sum(int(row["count"]) for row in confusion if row["actual"] != row["predicted"])
    assert wrong == summary["errors"] == sum(row["actual"] != row["predicted"] for row in predictions)
    assert list(predictions[0]) == ["image", "file", "actual", "predicted", "probability", "probability_of_actual"]
    assert all(
        row["probability"] == row["probability_of_actual"] for row in predictions if row["actual"] == row["predicted"]
    )
    assert sum(int(row["images"]) for row in rows(metrics / "calibration.csv")) == 359
    assert {path.name for path in (project / "figures").rglob("*.png")} == {
        "samples.png", "first_image.png", "classes.png", "learning_curves.png", "confusion.png",
        "confusion_normalized.png", "reliability.png", "predictions.png", "mistakes.png",
    }  # fmt: skip
    assert [row["class"] for row in rows(metrics / "classes.csv")] == list("0123456789")


@pytest.mark.parametrize("model", MODELS)
def test_colour_goes_through_every_stage_with_every_model(project, write_params, model, capsys):
    """FakeData of torchvision at 3x32x32: random images, so nothing to learn, but the shapes have to fit."""
    write_params(model=model, **{f"models__{model}__epochs": 1})
    source = project / "fake"
    source.mkdir()
    splits = "train: {size: 20}\ntest: {size: 9}\n"
    arguments = "arguments: {image_size: [3, 32, 32], num_classes: 2}\n"
    (source / "source.yaml").write_text(f"torchvision: FakeData\n{arguments}{splits}")
    download.main(source, project / "raw/fake")
    normalize.main(project / "raw/fake", project / "normalized", project / "dataset.json", project / "figures/dataset")
    assert np.load(project / "normalized/train_images.npy").shape == (20, 3, 32, 32)
    files = [project / name for name in ("c.safetensors", "train.json", "history.csv", "v.csv")]
    train.main(project / "normalized", *files)
    hinted = capsys.readouterr().out.splitlines()[-1].startswith("hint: 18 colour images are few")
    assert hinted == (model in ("mlp", "cnn", "resnet"))
    evaluate.main(project / "normalized", files[0], files[2], *(project / n for n in ("metrics", "p.csv", "figures/t")))
    assert sum(int(row["count"]) for row in rows(project / "metrics/confusion.csv")) == 9
    assert (project / "figures/t/heatmaps.png").exists() == (model in ("cnn", "resnet", "pretrained"))


@pytest.mark.parametrize(
    ("model", "channels", "images", "content", "hinted"),
    [
        ("cnn", 3, 19_999, None, True),
        ("mlp", 3, 5, "objects", True),
        ("cnn", 3, 5, "characters", False),
        ("cnn", 3, 20_000, None, False),
        ("cnn", 1, 5, None, False),
        ("pretrained", 3, 5, None, False),
        ("linear", 3, 5, None, False),
    ],
)
def test_few_colour_images_are_told_of_the_pretrained_model(model, channels, images, content, hinted):
    """With the command: fewer than 2,000 per class of ten, to a model that learned from scratch; but characters."""
    info = replace(dataset_info(shape=(channels, 8, 8)), content=content)
    hint = train.few_photographs(model, info, images)
    assert (hint is not None) == hinted
    assert hint is None or hint.endswith(": dvc exp run -S model=pretrained")


def test_training_twice_gives_the_same_bytes(project, normalized):
    """The classifier, the history and the figures; another seed gives others."""
    outputs = []
    for name in ("first", "second"):
        folder = project / name
        train.main(
            normalized, folder / "c.safetensors", folder / "train.json", folder / "history.csv", folder / "v.csv"
        )
        outputs.append({path.name: path.read_bytes() for path in folder.iterdir()})
    assert outputs[0] == outputs[1]


def test_training_that_is_too_short_is_told(project, normalized, write_params, capsys):
    """1,366 images in batches of 128 are 10 steps an epoch: 40 epochs are enough, 39 aren't."""
    for epochs, hints in ((39, 1), (40, 0)):
        write_params(model="linear", models__linear__epochs=epochs)
        train.main(
            normalized, project / "c.safetensors", project / "train.json", project / "history.csv", project / "v.csv"
        )
        hint = "hint: 390 steps in all are few; a small dataset takes more epochs, such as -S models.linear.epochs=40\n"
        assert capsys.readouterr().out.count(hint) == hints


def test_unequal_classes_are_a_hint_unless_they_are_weighed(params):
    """From ten times as many images on; with balanced weights, there is nothing to say."""
    recipe = params.models.linear.model_copy(update={"epochs": 400})
    models = params.models.model_copy(update={"linear": recipe})
    plain = params.model_copy(update={"model": "linear", "models": models})
    weighed = plain.model_copy(update={"train": params.train.model_copy(update={"class_weights": "balanced"})})
    labels = np.array([0] * 30 + [1] * 3)
    (hint,) = train.hints(plain, labels, ["cat", "dog"], 100)
    assert hint.startswith("class 'cat' has 30 training images and 'dog' has 3; -S train.class_weights=balanced")
    assert not list(train.hints(plain, labels[1:], ["cat", "dog"], 100))
    assert not list(train.hints(weighed, labels, ["cat", "dog"], 100))


def test_far_more_parameters_than_images_are_a_hint(params):
    """Beyond 20,000 per training image, whichever of the params made them."""
    labels = np.arange(100_000) % 2
    few, many = (list(train.hints(params, labels, ["cat", "dog"], 20_000 * 100_000 + more)) for more in (0, 1))
    assert not few
    (hint,) = many
    assert hint.startswith("2,000,000,001 parameters for 100000 training images are very many; try a smaller model")
    assert "models.mlp" in hint


def test_loss_above_the_untrained_models_is_a_warning(project, normalized, write_params, capsys):
    """Adam at 1e10 classifies most images correctly at a loss of 1e20; train.json has both losses."""
    for rate, warnings in ((1e10, 1), (0.003, 0)):
        write_params(models__mlp__epochs=4, models__mlp__learning_rate=rate)
        train.main(
            normalized, project / "c.safetensors", project / "train.json", project / "history.csv", project / "v.csv"
        )
        lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("warning: ")]
        summary = json.loads((project / "train.json").read_text())
        assert len(lines) == warnings
        assert (summary["train_loss"] > summary["untrained_loss"]) == bool(warnings)
        for line in lines:
            assert line.startswith(f"warning: the last training loss, {summary['train_loss']:.5g}, is above the ")
            assert line.endswith(
                f" untrained {summary['untrained_loss']:.5g}; most likely, learning_rate 1e+10 is too high; "
                "try -S models.mlp.learning_rate=0.01"
            )


@pytest.mark.parametrize(
    ("train_loss", "validation_loss", "first_loss", "warning"),
    [
        (2.0, 2.0, 2.5, None),
        (2.4, 2.4, 0.1, "last training"),
        (2.4, 2.4, 2.5, None),
        (0.1, 2.6, 2.5, "last validation"),
    ],
)
def test_untrained_is_the_first_batchs_loss_but_no_less_than_ln_k(
    params, train_loss, validation_loss, first_loss, warning
):
    """Ten classes: a batch of one image may happen to begin at any loss. Learning by heart has advice of its own."""
    scores = Score(train_loss, 0.5), Score(validation_loss, 0.5)
    history = [Epoch(1, *scores, first_loss=first_loss, seconds=1, images_per_second=1)]
    assert (warning or "None") in str(train.worse_than_untrained(history, history[-1], params, 10))


def test_validation_loss_of_the_last_epoch_is_no_matter_where_a_better_one_is_kept(params):
    """What the last epoch learned by heart is then not in the classifier."""
    better, last = (
        Epoch(number, Score(0.1, 1), Score(loss, 0.5), first_loss=2.5, seconds=1, images_per_second=1)
        for number, loss in ((1, 0.4), (2, 2.6))
    )
    assert "by heart" in str(train.worse_than_untrained([better, last], last, params, 10))
    assert train.worse_than_untrained([better, last], better, params, 10) is None


@pytest.mark.parametrize(
    ("losses", "keep", "kept", "line"),
    [
        ((0.5, 0.4, 0.45), "last", 3, "hint: the last validation loss, 0.4500, is above the 0.4000 of epoch 2; "),
        ((0.5, 0.4, 0.43), "last", 3, ""),
        ((0.5, 0.4, 0.43), "best", 2, "kept: epoch 2, with the lowest validation loss, 0.4000"),
        ((0.5, 0.4), "best", 2, "kept: epoch 2, "),
        ((None, None), "last", 2, ""),
    ],
)
def test_another_epoch_is_kept_or_suggested(capsys, losses, keep, kept, line):
    """Suggested from a tenth above the lowest loss on; without validation images, the last one is all there is."""
    history = [
        Epoch(number, Score(0.1, 1), None if loss is None else Score(loss, 0.5), 2.5, seconds=1, images_per_second=1)
        for number, loss in enumerate(losses, 1)
    ]
    assert train.kept_epoch(history, keep).number == kept
    printed = capsys.readouterr().out
    assert printed.startswith(line)
    assert bool(printed) == bool(line)


def test_best_goes_by_images_that_are_held_out(project, normalized, write_params, capsys):
    """An error without any, before training; else train.json says which epoch was kept."""
    files = [project / name for name in ("c.safetensors", "train.json", "history.csv", "v.csv")]
    write_params(models__mlp__epochs=2, train__keep="best", train__validation_fraction=0.0)
    with pytest.raises(MnistryError, match=r"^train.keep: best goes by the validation loss, and no images are held"):
        train.main(normalized, *files)
    write_params(
        models__mlp__epochs=4,
        models__mlp__learning_rate=0.3,
        models__mlp__schedule="constant",
        train__validation_fraction=0.05,
    )
    train.main(normalized, *files)
    losses = [float(row["validation_loss"]) for row in rows(project / "history.csv")]
    summary, best = json.loads((project / "train.json").read_text()), losses.index(min(losses)) + 1
    assert (summary["epochs"], summary["kept_epoch"]) == (4, best)
    assert summary["validation_loss"] == min(losses)
    assert f"kept: epoch {best}, with the lowest validation loss" in capsys.readouterr().out
    assert best < 4
    predicted = [row["predicted"] == row["actual"] for row in rows(project / "v.csv")]
    accuracies = [float(row["validation_accuracy"]) for row in rows(project / "history.csv")]
    assert np.mean(predicted) == pytest.approx(accuracies[best - 1], abs=1e-4)
    assert np.mean(predicted) != pytest.approx(accuracies[-1], abs=1e-4)


def test_training_says_its_recipe_and_what_the_images_would_decide(project, write_params, capsys):
    """Where source.yaml doesn't say what they show: by the mlp as well, which never mirrors them."""
    source = project / "fake"
    source.mkdir()
    content = "torchvision: FakeData\narguments: {image_size: [1, 8, 8], num_classes: 2}\n"
    content += "train: {size: 20}\ntest: {size: 9}\n"
    for told in ("", "content: objects\n"):
        (source / "source.yaml").write_text(content + told)
        download.main(source, project / "raw/fake")
        normalize.main(project / "raw/fake", project / "normalized", project / "dataset.json", project / "figures/d")
        capsys.readouterr()
        train.main(project / "normalized", *(project / name for name in ("c.safetensors", "t.json", "h.csv", "v.csv")))
        lines = capsys.readouterr().out.splitlines()
        recipe = next(line for line in lines if line.startswith("recipe: "))
        sizes = "1024, 512" if told else "512"
        assert recipe.startswith("recipe: epochs 2, batch_size 128, optimizer adam, learning_rate 0.00")
        assert f", hidden_sizes [{sizes}] (auto), " in recipe
        hint = "hint: what the images show would decide learning_rate, hidden_sizes, augment.rotation; until"
        assert any(line.startswith(hint) for line in lines) == (not told)


def test_training_that_learns_nothing_is_a_warning(project, normalized, write_params, capsys):
    """Weight decay that sets all weights to 0 leaves a loss of ln 10 and one answer for all images."""
    for decay, warnings in ((1e30, 1), (0.0, 0)):
        write_params(models__mlp__epochs=4, models__mlp__weight_decay=decay, models__mlp__augment__rotation=0)
        train.main(
            normalized, project / "c.safetensors", project / "train.json", project / "history.csv", project / "v.csv"
        )
        lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("warning: ")]
        assert len(lines) == warnings
        for line in lines:
            assert "is hardly better than always answering the commonest class" in line
            assert line.endswith("weight_decay 1e+30 is too high; try -S models.mlp.weight_decay=0.1")


def test_nothing_is_learned_up_to_the_commonest_classs_share(params):
    """60 of 100 images, and three standard deviations of chance, 0.147; with balanced weights, that is no measure."""
    labels = np.array([0] * 60 + [1] * 40)
    assert ", 0.5000, is hardly better than always answering the commonest class, 0.6000; try more" in str(
        train.learned_nothing(0.5, params, labels)
    )
    assert train.learned_nothing(0.746, params, labels)
    assert train.learned_nothing(0.748, params, labels) is None
    balanced = params.model_copy(update={"train": params.train.model_copy(update={"class_weights": "balanced"})})
    assert train.learned_nothing(0.5, balanced, labels) is None


def test_likely_cause_is_named(params):
    """Learning rate, weight decay, or neither where no step had been taken."""
    assert train.advice(params) == (
        "most likely, learning_rate 0.003 is too high; try -S models.mlp.learning_rate=0.0003"
    )
    recipe = params.models.mlp.model_copy(update={"weight_decay": 1e6})
    decayed = params.model_copy(update={"models": params.models.model_copy(update={"mlp": recipe})})
    assert "weight_decay 1e+06 is too high; try -S models.mlp.weight_decay=0.1" in train.advice(decayed)
    faster = recipe.model_copy(update={"learning_rate": 100.0, "optimizer": "sgd"})
    both = params.model_copy(update={"models": params.models.model_copy(update={"mlp": faster})})
    assert "learning_rate 100 is too high; try -S models.mlp.learning_rate=0.1" in train.advice(both)
    assert train.advice(params, untrained=True).endswith("it is the images or the params under models.mlp")


@pytest.mark.parametrize(("model", "refused"), [("resnet", True), ("cnn", False), ("mlp", False), ("linear", False)])
def test_batches_of_one_image_are_trained_or_refused_before_training(project, normalized, write_params, model, refused):
    """Of 8x8 images, the resnet's last maps have 1 pixel, and batch normalization nothing to compare it with."""
    write_params(
        **{"model": model, f"models__{model}__epochs": 1, f"models__{model}__batch_size": 1},
        train__validation_fraction=0.95,
    )
    outputs = [project / name for name in ("c.safetensors", "train.json", "history.csv", "v.csv")]
    if not refused:
        train.main(normalized, *outputs)
        assert json.loads(outputs[1].read_text())["epochs"] == 1
        return
    with pytest.raises(MnistryError, match=r"batch_size: 1; .+ such as -S models\.resnet\.batch_size=2, or larger"):
        train.main(normalized, *outputs)
    assert not any(path.exists() for path in outputs)


def test_one_training_image_is_a_batch_of_one(params):
    """Whatever the batch size is: the error names both."""
    image = torch.zeros(1, 1, 8, 8, dtype=torch.uint8)
    model = build_model("resnet", params.models.resnet, dataset_info())
    subset = Subset(image, torch.tensor([1]), torch.tensor([0]))
    with pytest.raises(MnistryError, match="training images: 1, batch_size: 128; expected at least 2 of both"):
        train.refuse_batches_of_one("resnet", model, subset, 128)


def test_a_folder_that_cannot_be_written_is_found_before_training(project, normalized, capsys):
    """Of the classifier as of the metrics."""
    (project / "file").touch()
    for classifier, metrics in (("file/c.safetensors", "train.json"), ("c.safetensors", "file/train.json")):
        with pytest.raises(MnistryError, match=r"file/(c|train)\.\w+: can't be written \("):
            train.main(normalized, project / classifier, project / metrics, project / "history.csv", project / "v.csv")
        assert "epoch 1/" not in capsys.readouterr().out


def train_within(normalized, project, write_params, enter_limit):
    """The status and the output of a training with 400 million weights; enter_limit: called in its process first."""
    write_params(models__mlp__hidden_sizes=[20_000, 20_000])
    result = subprocess.run(
        [sys.executable, "-m", "stages.train", normalized, *"abcd"], cwd=project, preexec_fn=enter_limit, check=False,
        env={**os.environ, "PYTHONPATH": str(PROJECT)}, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    assert not any((project / name).exists() for name in "abcd")
    return result.returncode, result.stdout


TOO_LARGE = (
    r"error: models.mlp: takes at least 6\.\d+ GB of memory for its weights, gradients and optimizer, but \S+ [MG]B is "
    r"free on cpu; choose a smaller model under models.mlp, close other programs, or raise the limit\n"
)


@pytest.mark.skipif("sys.platform != 'linux'", reason="reads /proc")
def test_the_shells_limit_refuses_a_model_before_it_is_built(project, normalized, write_params):
    """As `ulimit -v` sets it."""
    limit = resource.RLIMIT_AS, (5 << 30, 5 << 30)
    status, output = train_within(normalized, project, write_params, lambda: resource.setrlimit(*limit))
    assert status == 1
    assert re.fullmatch(TOO_LARGE, output)


@pytest.fixture
def memory_group():
    """A control group of 2 GB, of either version; skips where none can be made."""
    for top, limit in (("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max")):
        group = Path(top) / f"mnistry-test-{os.getpid()}"
        try:
            group.mkdir()
        except OSError:
            continue
        try:
            (group / limit).write_text(str(2 << 30))
        except OSError:
            group.rmdir()
            continue
        yield group
        group.rmdir()
        return
    pytest.skip("needs the right to make a control group with a limit on memory")


def test_a_containers_limit_refuses_a_model_before_it_is_built(project, normalized, write_params, memory_group):
    """Instead of a kill without a word."""
    status, output = train_within(
        normalized, project, write_params, lambda: (memory_group / "cgroup.procs").write_text(str(os.getpid()))
    )
    assert status == 1
    assert re.fullmatch(TOO_LARGE, output)


def test_training_logs_what_its_bytes_depend_on(project, normalized, capsys):
    """Versions, processor and threads."""
    train.main(
        normalized, project / "c.safetensors", project / "train.json", project / "history.csv", project / "v.csv"
    )
    output = capsys.readouterr().out
    assert f"the same bytes come again with torch {torch.__version__}, device cpu, precision float32, " in output
    assert f"threads {torch.get_num_threads()}\n" in output


def test_training_never_opens_the_test_split(project, normalized):
    """It does without those files."""
    for path in normalized.glob("test_*"):
        path.unlink()
    train.main(
        normalized, project / "c.safetensors", project / "train.json", project / "history.csv", project / "v.csv"
    )


def test_training_without_validation_leaves_its_figures_out(project, normalized, write_params):
    """No figure is made up: empty cells in the history, no keys in train.json."""
    write_params(train__validation_fraction=0, models__mlp__epochs=1)
    train.main(
        normalized, project / "c.safetensors", project / "train.json", project / "history.csv", project / "v.csv"
    )
    assert "validation_loss" not in json.loads((project / "train.json").read_text())
    assert rows(project / "history.csv")[0]["validation_loss"] == ""
    assert (project / "v.csv").read_text() == "image,file,actual,predicted,probability,probability_of_actual\n"


def test_validation_predictions_are_the_classifiers_for_the_images_held_out(project, normalized):
    """Each with its index, file and class in the training split; as many are right as train.json says."""
    train.main(
        normalized, project / "c.safetensors", project / "train.json", project / "history.csv", project / "v.csv"
    )
    predictions, summary = rows(project / "v.csv"), json.loads((project / "train.json").read_text())
    indices = [int(row["image"]) for row in predictions]
    assert len(indices) == len(set(indices)) == 70
    labels, files = np.load(normalized / "train_labels.npy"), list(load_files(normalized, "train", 1438))
    assert [row["actual"] for row in predictions] == [str(labels[i]) for i in indices]
    assert [row["file"] for row in predictions] == [files[i] for i in indices]
    right = sum(row["actual"] == row["predicted"] for row in predictions)
    assert right / 70 == pytest.approx(summary["validation_accuracy"])
    images = torch.from_numpy(np.load(normalized / "train_images.npy")[indices])
    probabilities = class_probabilities(load_classifier(project / "c.safetensors").model, [images], 70)
    assert [float(row["probability"]) for row in predictions] == pytest.approx(probabilities.max(1), rel=1e-4)
    of_actual = np.array([[float(row["probability_of_actual"])] for row in predictions])
    assert of_actual[:, 0] == pytest.approx(probabilities[np.arange(70), labels[indices]], rel=1e-4)
    before = without_temperature(probabilities, summary["temperature"])[np.arange(70), labels[indices]]
    assert -np.log(before).mean() == pytest.approx(summary["validation_loss"], rel=1e-4)


def test_validation_predictions_name_the_images_of_an_own_validation_split(project, params):
    """By their index and file there."""
    images, labels = torch.zeros(3, 1, 8, 8, dtype=torch.uint8), torch.tensor([1, 0, 1])
    model = build_model("linear", params.models.linear, dataset_info("ab"))
    subset = Subset(images, labels, torch.arange(3))
    save_files(project, "validation", "xyz")
    files = load_files(project, "validation", 3)
    train.write_validation(project / "v.csv", subset, files, dataset_info("ab"), train.calibrate(model, subset, 2))
    found = [(row["image"], row["file"], row["actual"]) for row in rows(project / "v.csv")]
    assert found == [("0", "x", "b"), ("1", "y", "a"), ("2", "z", "b")]


def test_training_says_which_fold_it_holds_out(project, normalized, write_params, capsys):
    """With the number of its images, a fifth of 1,438."""
    write_params(train__folds=5, train__fold=2, models__mlp__epochs=1)
    train.main(
        normalized, project / "c.safetensors", project / "train.json", project / "history.csv", project / "v.csv"
    )
    output = capsys.readouterr().out
    assert "1150 training and 288 validation images, which are fold 2 of 5\n" in output


def run(project, *arguments):
    """Run a module of ours in the folder; the finished process."""
    environment = os.environ | {"PYTHONPATH": str(PROJECT)}
    return subprocess.run(
        [sys.executable, "-m", *arguments], cwd=project, env=environment, capture_output=True, text=True, check=False
    )


def test_wrong_dataset_is_an_error_with_the_known_ones(project, write_params):
    """One line, exit status 1, no traceback."""
    write_params(dataset="mnits")
    result = run(project, "stages.check", "data/sources", "data/checked/mnits")
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: params.yaml: dataset is 'mnits'; did you mean mnist? expected one of digits, ")
    assert line.endswith("or put your own images into data/sources/mnits/")
    assert not (project / "data/checked/mnits").exists()


def test_known_dataset_passes_the_check(project):
    """The file that `download` depends on is there."""
    check.main(project / "data/sources", project / "data/checked/digits")
    assert (project / "data/checked/digits").read_text() == "digits\n"


def test_dataset_that_dvc_tracks_passes_the_check(project, write_params, capsys):
    """Its folder may be not here yet: `dvc repro --pull` fetches it after the check."""
    (project / "sources").mkdir()
    (project / "sources/flowers.dvc").write_text("outs:\n- path: flowers\n")
    write_params(dataset="flowers")
    check.main(project / "sources", project / "checked")
    assert "unless DVC fetches it now, run `dvc pull" in capsys.readouterr().out
    assert (project / "checked").read_text() == "flowers\n"


def test_file_in_place_of_a_folder_is_named(project, write_params):
    """As `dvc import-url` leaves an archive where it isn't given a folder."""
    (project / "sources").mkdir()
    for name in ("flowers", "flowers.dvc"):
        (project / "sources" / name).touch()
    write_params(dataset="flowers")
    with pytest.raises(MnistryError, match="sources/flowers: a file; expected a folder, with images or an archive"):
        check.main(project / "sources", project / "checked")


def run_python(project, *arguments):
    """A process with our code in `project`; its exit status and all that it prints."""
    environment = os.environ | {"PYTHONPATH": str(PROJECT)}
    result = subprocess.run(
        [sys.executable, *arguments], cwd=project, env=environment, capture_output=True, text=True, check=False
    )
    return result.returncode, result.stdout + result.stderr


def test_bad_pictures_end_download_with_a_list(project):
    """A failing exit status, no traceback, nothing written."""
    source = project / "flowers"
    for name in ("a/0.png", "a/1.png", "b/0.png"):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes(b"no image")
    status, output = run_python(project, "-m", "stages.download", str(source), str(project / "raw/flowers"))
    assert status == 1
    assert output.startswith("error: flowers: 4 problems; nothing was written\n  class 'b' has 1 image")
    assert "Traceback" not in output
    assert list((project / "raw").iterdir()) == []


KILLED = """
import os, signal, sys
from pathlib import Path
from stages import {stage}

def interrupted(items, **_):
    for number, item in enumerate(items):
        if number == 5:
            os.kill(os.getpid(), signal.SIGKILL)
        yield item

{patch}
{stage}.main(*map(Path, sys.argv[1:]))
"""


@pytest.mark.parametrize(
    ("stage", "patch"),
    [
        ("download", "import src.sources.packed as packed; packed.tqdm = interrupted"),
        (
            "normalize",
            "import src.datasets as datasets; write = datasets.write_array\n"
            "single = lambda chunks: (image[None] for chunk in chunks for image in chunk)\n"
            "datasets.write_array = lambda path, chunks, *rest: write(path, interrupted(single(chunks)), *rest)",
        ),
    ],
)
def test_kill_in_the_middle_leaves_nothing_to_trust(project, stage, patch):
    """Amid the packing of images and the writing of arrays; the next run gives what an undisturbed one gives."""
    source = project / "flowers"
    for i in range(40):
        path = source / "ab"[i % 2] / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (3, 2), i).save(path)
    download.main(source, project / "whole/flowers")
    if stage == "download":
        folders, outputs = [source], [project / "raw/flowers"]
    else:
        folders, outputs = (
            [project / "whole/flowers"],
            [project / "raw/flowers", project / "dataset.json", project / "figures"],
        )
    status, output = run_python(project, "-c", KILLED.format(stage=stage, patch=patch), *map(str, folders + outputs))
    assert status == -signal.SIGKILL, output
    assert [path.name for path in (project / "raw").iterdir()] == [".flowers.partial"]
    main = {"download": download, "normalize": normalize}[stage].main
    main(*folders, *outputs)
    main(*folders, project / "again/flowers", *outputs[1:])
    assert [path.name for path in (project / "raw").iterdir()] == ["flowers"]
    for path in (project / "again/flowers").iterdir():
        assert path.read_bytes() == (project / "raw/flowers" / path.name).read_bytes()


@pytest.mark.parametrize("stage", ["check", "download", "normalize", "train", "evaluate"])
def test_every_stage_refuses_wrong_params_before_it_writes(project, write_params, stage):
    """Whichever runs first checks all of params.yaml, other stages' params too."""
    write_params(models__cnn__epochs=-1)
    count = {"check": 2, "download": 2, "normalize": 4, "train": 5, "evaluate": 6}[stage]
    result = run(project, f"stages.{stage}", *(f"nothing/{i}" for i in range(count)))
    assert result.returncode == 1
    assert result.stderr == "error: params.yaml: models.cnn.epochs is -1; expected a number of at least 1, or auto\n"
    assert not (project / "nothing").exists()


def test_missing_device_stops_training_at_once(project, write_params):
    """Before the data are looked for."""
    write_params(device="cuda:99")
    result = run(project, "stages.train", *"abcde")
    assert result.returncode == 1
    assert result.stderr.startswith("error: device: 'cuda:99' is not available here; expected auto or one of cpu")


def test_wrong_number_of_paths_shows_the_usage(project):
    """For those who run a stage by hand."""
    result = run(project, "stages.download", "only-one")
    assert result.returncode == 1
    assert result.stderr == "usage: python -m stages.download SOURCE RAW\n"


def test_system_errors_and_interrupts_end_without_a_traceback(monkeypatch):
    """A full disk is the user's to fix; Ctrl-C exits with 130."""

    def full_disk():
        raise OSError(28, "No space left on device", "data/raw/x")

    def interrupted():
        raise KeyboardInterrupt

    monkeypatch.setattr(sys, "argv", ["stages/x.py"])
    with pytest.raises(SystemExit) as error:
        run_stage(full_disk)
    assert error.value.code == "error: data/raw/x: no space left on device"
    with pytest.raises(SystemExit) as error:
        run_stage(interrupted)
    assert error.value.code == 130


def test_losses_are_written_with_five_significant_digits(project, normalized):
    """What processors agree on; fractions of counts stay exact: they are whole numbers of the 70 validation images."""
    train.main(
        normalized, project / "c.safetensors", project / "train.json", project / "history.csv", project / "v.csv"
    )
    metrics = json.loads((project / "train.json").read_text())
    assert metrics["train_loss"] == float(f"{metrics['train_loss']:.5g}")
    assert metrics["validation_loss"] == float(f"{metrics['validation_loss']:.5g}")
    assert metrics["validation_accuracy"] in {correct / 70 for correct in range(71)}
    assert significant(0.000123456789) == 0.00012346


def test_not_finite_metrics_are_refused(tmp_path):
    """DVC would only warn of malformed JSON."""
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "metrics.json", {"loss": float("nan")})


def test_epochs_are_logged_with_the_time_left():
    """Two of five epochs in 60 s leave 90 s."""
    epoch = Epoch(2, Score(0.51234, 0.9), Score(0.25, 0.95), first_loss=2.3, seconds=30, images_per_second=12345.6)
    assert train.describe_epoch(epoch, 5, seconds=60) == (
        "epoch 2/5: train loss 0.5123, accuracy 0.9000; validation loss 0.2500, accuracy 0.9500; "
        "12,346 images/s, 30.00 s per epoch, 01:30 left"
    )


@pytest.mark.parametrize("terminal", [True, False])
def test_a_bar_is_drawn_on_terminals_only(terminal, monkeypatch, capsys):
    """The line is logged either way."""
    file = io.StringIO()
    monkeypatch.setattr(file, "isatty", lambda: terminal)
    with tqdm(total=2, desc="train", disable=None, file=file) as bar:
        train.report(bar, "epoch 1/2")
    assert capsys.readouterr().out == "epoch 1/2\n"
    assert ("train" in file.getvalue()) == terminal
    assert ("1/2" in file.getvalue()) == terminal
