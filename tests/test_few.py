"""The benchmark of few images: what it trains on and is judged by."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import few, recipes
from src.datasets import save_info, write_split
from src.models import build_model
from src.recipes import Facts, complete
from src.transfer import compute_features
from tests.conftest import dataset_info

CPU = torch.device("cpu")
SHAPE = (3, 16, 16)
LIGHT = {"train": np.arange(40) % 2, "test": np.array([0, 1, 0, 1])}
"""Which images are light; the others are dark."""
LABELS = LIGHT | {"test": np.array([0, 1, 0, 0])}


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    """A normalized dataset of dark and light images, labelled right but for the last one of the test split."""
    generator, sha256 = np.random.default_rng(0), {}
    for split, light in LIGHT.items():
        images = generator.integers(0, 100, (len(light), *SHAPE)) + 150 * light[:, None, None, None]
        sha256[split] = write_split(tmp_path, split, [images.astype(np.uint8)], LABELS[split], SHAPE)
    save_info(tmp_path, replace(dataset_info(("dark", "light"), SHAPE), sha256=sha256, content="objects"))
    return tmp_path


@pytest.fixture
def small(default_params, params, monkeypatch):
    """The pretrained model's recipe with a small backbone, whose random weights are no matter here."""
    monkeypatch.setattr("src.transfer.start_from_weights", lambda *_: None)
    changes = {"backbone": "test_resnet", "trained": "head", "image_size": 32, "epochs": 3}
    return type(params.models.pretrained).model_validate(default_params["models"]["pretrained"] | changes)


def printed(monkeypatch, capsys, *words: str) -> list[str]:
    """The lines that the command prints."""
    monkeypatch.setattr(few, "prepare_process", lambda: None)
    monkeypatch.setattr("sys.argv", ["few", *words])
    few.main()
    lines: list[str] = capsys.readouterr().out.splitlines()
    return lines


def test_accuracy_is_of_the_test_split(photographs, monkeypatch, capsys):
    """Three of its four images are labelled right; each seed has a line, and all together have one."""
    lines = printed(monkeypatch, capsys, str(photographs), "--model=linear", "--seeds=2", "--set", "epochs=30")
    assert [line.partition(" (")[0] for line in lines[:2]] == ["seed 0: 75.00", "seed 1: 75.00"]
    assert lines[2:] == ["linear, 40 images: 75.00 ± 0.00 %, 2 seeds"]


def test_one_seed_has_no_spread(photographs, monkeypatch, capsys):
    """And fewer images than there are may be asked for."""
    words = (str(photographs), "--model=linear", "--images=20", "--seeds=1", "--set", "epochs=1")
    last = printed(monkeypatch, capsys, *words)[-1]
    assert last.startswith("linear, 20 images: ")
    assert "±" not in last


def test_fewer_images_are_drawn_class_by_class(photographs):
    """Ten of each class; of the test split, as many as are asked for, and always the same."""
    data = few.Data(photographs, 20, 2, CPU)
    assert np.bincount(data.train_images.labels[data.train_images.indices]).tolist() == [10, 10]
    assert len(data.test_images) == 2
    for subset in ("train_images", "test_images"):
        again = getattr(few.Data(photographs, 20, 2, CPU), subset)
        assert torch.equal(getattr(data, subset).indices, again.indices)


def test_a_twentieth_is_held_out(photographs, params, monkeypatch):
    """Of each class, one image at least; which ones, the seed draws."""
    trained_on = []

    def fit(model, subset, *_, **__):
        trained_on.append(subset.indices.tolist())
        return iter(())

    monkeypatch.setattr(few, "fit", fit)
    data = few.Data(photographs, None, None, CPU)
    for seed in (0, 0, 1):
        data.train("linear", params.models.linear, seed)
    assert [np.bincount(LABELS["train"][indices]).tolist() for indices in trained_on] == [[19, 19]] * 3
    assert trained_on[0] == trained_on[1] != trained_on[2]


def test_the_head_gets_each_kept_image_and_its_mirror_image(photographs, small):
    """The rows of features that were computed for all images are those of the images kept, both of each, in order."""
    data, kept = few.Data(photographs, 30, None, CPU), np.array([1, 4, 5, 17, 28])
    recipe = complete("pretrained", small, Facts.of(data.info, len(kept)))
    model = build_model("pretrained", recipe, data.info)
    learned = replace(data.train_images, indices=data.train_images.indices[kept])
    head, features, test = data.pretrained_learner(model, kept, learned, recipe, 0)
    expected = compute_features(model, learned, True, torch.float32)
    torch.testing.assert_close(features.images, expected.images)
    assert torch.equal(features.labels, expected.labels)
    assert len(features) == 2 * len(kept)
    assert not torch.equal(features.images[0], features.images[1])
    assert head is model.get_submodule("network.head")
    assert torch.equal(test.labels, torch.from_numpy(LABELS["test"]))


def test_features_are_computed_once(photographs, small):
    """A second seed holds out others of the same images, and is judged by the same features."""
    data = few.Data(photographs, None, None, CPU)
    first = data.train("pretrained", small, 0)
    known = dict(data.features)
    assert (first, data.train("pretrained", small, 1)) == (75, 75)
    assert all(data.features[key] is subset for key, subset in known.items())
    assert (len(known[True]), len(known[False])) == (2 * 40, 4)


def test_the_whole_network_is_judged_by_images(photographs, small):
    """It goes on from the head, which was trained on features of the images alone."""
    data = few.Data(photographs, None, None, CPU)
    assert data.train("pretrained", small.model_copy(update={"trained": "all", "learning_rate": 1e-5}), 0) == 75
    assert len(data.features[True]) == 40


def test_benchmarks_train_on_the_device_of_params(photographs, monkeypatch):
    """Which is named in params.yaml, or the accelerator that there is."""
    asked: list[torch.device] = []

    class Data:
        def __init__(self, *arguments: object):
            asked.extend(each for each in arguments if isinstance(each, torch.device))
            raise KeyboardInterrupt

    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda **_: torch.device("xpu"))
    for benchmark in (few, recipes):
        monkeypatch.setattr(benchmark, "Data", Data)
        monkeypatch.setattr(benchmark, "prepare_process", lambda: None)
        monkeypatch.setattr("sys.argv", ["benchmark", str(photographs)])
        with pytest.raises(KeyboardInterrupt):
            benchmark.main()
    assert asked == [torch.device("xpu")] * 2
