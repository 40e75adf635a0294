import json
import resource
import struct
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from src.checkpoints import INPUT, METADATA_KEY, Classifier, load_classifier, save_classifier
from src.errors import MnistryError
from src.models import build_model
from src.params import MODELS
from tests.conftest import dataset_info

INFO = dataset_info(("お", "a b"), mean=1 / 3, std=0.25)


@pytest.mark.parametrize("name", MODELS)
def test_loaded_classifier_is_the_saved_one(params, tmp_path, name):
    """Its weights, its recipe and its dataset, without params.yaml."""
    recipe = getattr(params.models, name)
    model = build_model(name, recipe, INFO)
    if name == "pretrained":
        # Its own are 0, with which every file would answer the same.
        torch.nn.init.normal_(model.get_parameter("network.head.1.weight"), std=0.02)
    path = tmp_path / "models" / "classifier.safetensors"
    save_classifier(path, Classifier(model, name, recipe, INFO))
    loaded = load_classifier(path)
    assert (loaded.name, loaded.recipe, loaded.dataset) == (name, recipe, INFO)
    codes = torch.randint(0, 256, (3, 1, 8, 8), dtype=torch.uint8)
    assert torch.equal(loaded.model(codes), model.eval()(codes))


def test_same_classifier_same_bytes_in_every_process(params, tmp_path):
    """So that an unchanged result has an unchanged dvc.lock; hashes differ from process to process."""
    path = tmp_path / "first.safetensors"
    recipe = params.models.mlp
    save_classifier(path, Classifier(build_model("mlp", recipe, INFO), "mlp", recipe, INFO))
    code = (
        "import sys, pathlib; from src.checkpoints import *; a, b = map(pathlib.Path, sys.argv[1:]); "
        "save_classifier(b, load_classifier(a))"
    )
    for name in ("second", "third"):
        copy = tmp_path / f"{name}.safetensors"
        subprocess.run([sys.executable, "-c", code, path, copy], check=True)
        assert copy.read_bytes() == path.read_bytes()


@pytest.mark.parametrize("content", [b"", b"not a classifier", b"\x02\0\0\0\0\0\0\0{}"])
def test_other_file_is_refused(tmp_path, content):
    """Empty, of another kind, or safetensors without metadata: an error that names the file."""
    path = tmp_path / "classifier.safetensors"
    path.write_bytes(content)
    with pytest.raises(MnistryError, match=r"classifier\.safetensors: not a classifier of mnistry's"):
        load_classifier(path)


def test_classifier_of_an_older_version_is_refused(tmp_path):
    """It took normalized images; codes would be read as nonsense, so the error says what makes a new one."""
    path = tmp_path / "classifier.safetensors"
    dataset = {"class_names": ["a", "b"], "shape": [1, 8, 8], "normalization": {"method": "unit"}}
    metadata = {"architecture": "linear", "hyperparameters": {}, "dataset": dataset}
    save_file({"1.weight": torch.zeros(2, 64)}, path, metadata={METADATA_KEY: json.dumps(metadata)})
    with pytest.raises(MnistryError, match=r"an older mnistry, for normalized images; run `dvc repro`"):
        load_classifier(path)


@pytest.mark.parametrize(
    "change",
    [{"decoding": {"fit": "pad", "other": 1}}, {"sha256": None}, {}],
    ids=["unknown decoding", "no digests", "no hyperparameters"],
)
def test_classifier_of_another_form_is_refused(tmp_path, change):
    """Something that this version asks for is missing, or something is there that it doesn't know."""
    path = tmp_path / "classifier.safetensors"
    metadata = {"architecture": "linear", "hyperparameters": {}, "input": INPUT, "dataset": asdict(INFO) | change}
    save_file({"1.weight": torch.zeros(2, 64)}, path, metadata={METADATA_KEY: json.dumps(metadata)})
    with pytest.raises(MnistryError, match=r"of another version of mnistry, or damaged .+; run `dvc repro`"):
        load_classifier(path)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_weights_that_are_not_finite_are_refused(params, tmp_path, value):
    """Whatever loads a classifier says so, rather than giving every image the same answer."""
    model = build_model("mlp", params.models.mlp, INFO)
    model.get_parameter("network.3.bias").data[1] = value
    path = tmp_path / "classifier.safetensors"
    save_classifier(path, Classifier(model, "mlp", params.models.mlp, INFO))
    with pytest.raises(MnistryError, match=r"classifier\.safetensors: some weights are not finite numbers; run"):
        load_classifier(path)


def test_classifier_that_cannot_be_written_leaves_the_last_one(params, tmp_path, monkeypatch):
    """It takes the old one's place when it is whole; nothing else stays."""
    path = tmp_path / "classifier.safetensors"
    path.write_bytes(b"the last one")

    def full_disk(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full_disk)
    with pytest.raises(OSError, match="No space left"):
        save_classifier(path, Classifier(build_model("mlp", params.models.mlp, INFO), "mlp", params.models.mlp, INFO))
    assert path.read_bytes() == b"the last one"
    assert list(tmp_path.iterdir()) == [path]


def test_folder_is_refused(tmp_path):
    """An error that names it."""
    with pytest.raises(MnistryError, match="a folder; expected a classifier's file"):
        load_classifier(tmp_path)


def test_missing_file_is_named(tmp_path):
    """With what brings it back."""
    with pytest.raises(MnistryError, match="no such file; run `dvc repro` or `dvc checkout`"):
        load_classifier(tmp_path / "classifier.safetensors")


@pytest.fixture
def saved(params, tmp_path):
    """The file of a small convolutional network."""
    path = tmp_path / "classifier.safetensors"
    recipe = params.models.cnn.model_copy(update={"channels": (2, 3)})
    save_classifier(path, Classifier(build_model("cnn", recipe, INFO), "cnn", recipe, INFO))
    return path


def with_metadata(path: Path, change) -> Path:
    """The file with its metadata changed by `change`, in place or by what it returns; the weights stay."""
    content = path.read_bytes()
    (size,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + size])
    metadata = json.loads(header["__metadata__"][METADATA_KEY])
    header["__metadata__"][METADATA_KEY] = json.dumps(change(metadata) or metadata)
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + content[8 + size :])
    return path


def places(content, keys=()):
    """The keys that lead to each value of the metadata."""
    inner = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for key, value in inner:
        yield (*keys, key)
        yield from places(value, (*keys, key))


WRONG = [None, True, 10**9, 10**30, float("nan"), "", "\x1b[2J", [], [10**9], {"a": 1}]


def test_wrong_value_anywhere_is_refused_or_harmless(saved):
    """Of every type, in place of every value: never another error than ours, and never much memory."""
    original, refused = saved.read_bytes(), 0
    header = json.loads(original[8 : 8 + struct.unpack("<Q", original[:8])[0]])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for keys in places(json.loads(header["__metadata__"][METADATA_KEY])):
        for value in WRONG:

            def change(metadata, keys=keys, value=value):
                for key in keys[:-1]:
                    metadata = metadata[key]
                metadata[keys[-1]] = value

            saved.write_bytes(original)
            try:
                load_classifier(with_metadata(saved, change))
            except MnistryError:
                refused += 1
    assert refused > 300
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m["hyperparameters"].update(channels=[10**9, 10**9]), "no cnn can be as it says"),
        (lambda m: m["hyperparameters"].update(channels=[2, 3, 4]), r"network\.\d+\.\w+ is .+; its metadata expect"),
        (lambda m: m["hyperparameters"].update(kernel_size=10**8, channels=[10**9]), "no cnn can be as it says"),
        (lambda m: m["dataset"].update(class_names=["a", "b", "c"]), r"network\.\d+\.bias is F32 of shape \(2,\)"),
        (lambda m: m["dataset"].update(class_names=["a", "a"]), "a class that appears twice"),
        (lambda m: m["dataset"]["normalization"].update(scale=[2.0]), r"normalize\.scale is not what its metadata say"),
        (lambda m: m["dataset"]["normalization"].update(std=[0.5, 0.5]), "isn't of 1 channels"),
        (lambda m: m["dataset"]["decoding"].update(fit="squeeze"), r"dataset\.decoding\.fit"),
        (lambda m: m.update(architecture="transformer"), "model 'transformer'"),
        (lambda _: ["x"], "of another version of mnistry, or damaged"),
    ],
)
def test_metadata_that_do_not_fit_the_weights_are_refused(saved, change, message):
    """With what is there and what would be expected, before anything is built."""
    with pytest.raises(MnistryError, match=message):
        load_classifier(with_metadata(saved, change))


@pytest.mark.parametrize(
    ("name", "hyperparameters"),
    [("mlp", {"hidden_sizes": [10**9] * 2}), ("resnet", {"blocks": 10**9}), ("mlp", {"hidden_sizes": [1] * 10**6})],
)
def test_enormous_model_is_refused_before_it_is_built(saved, params, name, hyperparameters):
    """It would take 256 GB, or days."""
    recipe = getattr(params.models, name).model_dump() | hyperparameters
    with pytest.raises(MnistryError, match=r"tensors, fewer than its|its metadata expect"):
        load_classifier(with_metadata(saved, lambda m: m.update(architecture=name, hyperparameters=recipe)))


def test_escapes_in_a_refused_file_are_not_printed(saved):
    """Errors show them as text."""
    with pytest.raises(MnistryError) as error:
        load_classifier(with_metadata(saved, lambda m: m.update(architecture="\x1b]0;title\x07")))
    assert "\x1b" not in str(error.value)
