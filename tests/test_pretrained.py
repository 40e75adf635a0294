"""`model=pretrained`: the backbone's weights, what surrounds it, and how it is trained."""

import errno
import gc
import json
import sys
from importlib.resources import files
from pathlib import Path
from typing import Any

import huggingface_hub
import numpy as np
import pytest
import timm
import torch
from efficientnet_lite_pytorch import EfficientNet
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch.nn import functional as F

from src import weights as weights_module
from src.batches import Subset
from src.checkpoints import METADATA_KEY, Classifier, load_classifier, save_classifier
from src.errors import MnistryError
from src.models import build_model
from src.models.pretrained import Network, Standardize, _quarters, enlarged
from src.params import Params, read_params
from src.processes import Processes
from src.resources import in_words
from src.training import fit, make_optimizer, make_schedule
from src.transfer import (
    compute_features,
    feature_subsets,
    features_at_inference,
    standardize,
    start_from_weights,
    train_head,
)
from src.weights import PACKAGED, PACKAGED_FILE, load_weights
from stages import download, evaluate, normalize, train
from tests.conftest import PROJECT, dataset_info, words_printed

CPU = torch.device("cpu")
SMALL = "test_resnet"
"""A backbone of timm for tests; it has batch normalization, and its last maps are those of its last stage."""
SMALL_FEATURES = 192 + 4 * 96 + 96
"""Of its last two stages, and of the last one's quarters."""


@pytest.fixture
def recipe(params):
    """The default one, on images of 32x32."""
    return params.models.pretrained


@pytest.fixture
def codes():
    """Four random images in colour."""
    return torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def mirror(tmp_path, monkeypatch):
    """A folder that MNISTRY_MIRROR names, with weights for the small backbone; there is no hub."""

    def no_hub(*_: object, **__: object) -> str:
        raise RuntimeError("the hub is unreachable\nfor good")

    monkeypatch.setattr(huggingface_hub, "get_hf_file_metadata", no_hub)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("MNISTRY_MIRROR", str(tmp_path / "mirror"))
    (tmp_path / "mirror" / "weights").mkdir(parents=True)
    torch.manual_seed(1)
    save_file(timm.create_model(SMALL).state_dict(), tmp_path / "mirror" / "weights" / f"{SMALL}.safetensors")
    return tmp_path / "mirror"


def parts(model) -> tuple[Any, Any]:
    """The first layer and the network."""
    return model.get_submodule("normalize"), model.get_submodule("network")


def small(recipe, **changes):
    """The recipe with the small backbone."""
    return recipe.model_copy(update={"backbone": SMALL} | changes)


def test_packaged_weights_give_what_their_own_implementation_gives(recipe):
    """The same logits within 1e-4, through timm's network with the statistics in its convolutions."""
    file = Path(str(files(PACKAGED_FILE[0]))) / PACKAGED_FILE[1]
    reference = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=str(file)).eval()
    model = build_model("pretrained", recipe, dataset_info(shape=(3, 32, 32)))
    start_from_weights(model, recipe)
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    network = Network(PACKAGED, 64, (3, 64, 64), 10).eval()
    network.backbone.load_state_dict(model.get_submodule("network.backbone").state_dict())
    with torch.inference_mode():
        features = network.features(images)[:, -1280:]
        logits = F.linear(features, reference._fc.weight, reference._fc.bias)
        expected = reference(images * 2 - 1)
    assert expected.abs().max() > 1
    torch.testing.assert_close(logits, expected, rtol=0, atol=1e-4)


def test_the_datasets_normalization_is_undone(recipe, codes):
    """The backbone sees the pixels, whatever they were normalized to, in its own normalization."""
    seen = []
    for mean, std in ((0.0, 1.0), (0.5, 0.5), (0.3, 0.2)):
        info = dataset_info(shape=(3, 32, 32), mean=mean, std=std)
        first, network = parts(build_model("pretrained", recipe, info))
        seen.append(network._enlarged(first(codes)))
    expected = codes / 255 * 2 - 1
    for images in seen:
        torch.testing.assert_close(images, expected, rtol=0, atol=1e-5)


def test_grey_images_are_three_equal_channels(recipe):
    """As if they had been saved in colour."""
    grey = torch.randint(0, 256, (2, 1, 20, 28), dtype=torch.uint8)
    seen = []
    for images in (grey, grey.expand(-1, 3, -1, -1)):
        first, network = parts(build_model("pretrained", recipe, dataset_info(shape=(images.shape[1], 20, 28))))
        seen.append(network._enlarged(first(images)))
    assert seen[0].shape == (2, 3, 32, 32)
    torch.testing.assert_close(*seen)


@pytest.mark.parametrize(
    ("sides", "image_size", "expected"),
    [
        ((28, 28), 160, (160, 160)),
        ((32, 64), 160, (80, 160)),
        ((200, 100), 160, (200, 100)),
        ((8, 8), 32, (32, 32)),
        ((4, 64), 64, (32, 64)),
        ((28, 28), 112, (112, 112)),
    ],
)
def test_images_are_enlarged_in_their_proportions(sides, image_size, expected):
    """No side has fewer than 32 pixels, and images that are as large stay as they are."""
    assert enlarged(sides, image_size) == expected


def test_head_gets_the_last_two_stages_too(recipe):
    """EfficientNet-Lite0's 112 and 320 channels next to its 1,280; no maps twice where they are the features."""
    for backbone, features in ((PACKAGED, 112 + 320 + 4 * 320 + 1280), (SMALL, SMALL_FEATURES)):
        network = Network(backbone, 32, (3, 32, 32), 10)
        assert network.features(torch.rand(1, 3, 32, 32)).shape == (1, features), backbone


def test_head_sees_the_last_maps_in_quarters(recipe):
    """Of maps of 2x2, each value; they come after the averages of the stage before."""
    network = Network(SMALL, 64, (3, 64, 64), 10)
    images = torch.rand(1, 3, 64, 64)
    maps = network.backbone.forward_intermediates(network._enlarged(images), indices=1)[1][0]
    assert maps.shape == (1, 96, 2, 2)
    torch.testing.assert_close(network.features(images)[:, 192 : 192 + 4 * 96], maps.flatten(1))


@pytest.mark.parametrize("sides", [(1, 1), (2, 3), (7, 4), (5, 7)])
def test_quarters_are_those_of_adaptive_pooling(sides):
    """The row and the column in the middle of an odd number belong to both halves."""
    maps = torch.rand(2, 3, *sides)
    expected = torch.nn.functional.adaptive_avg_pool2d(maps, 2).flatten(1)
    torch.testing.assert_close(_quarters(maps), expected)


@pytest.mark.parametrize("size", [1, 16, 17, 40])
def test_images_in_chunks_have_the_features_that_they_have_at_once(recipe, size):
    """Without gradients, they are computed sixteen at a time."""
    network = Network(SMALL, 32, (3, 32, 32), 10)
    images = torch.rand(size, 3, 32, 32)
    at_once = network.features(images)
    with torch.no_grad():
        torch.testing.assert_close(network.features(images), at_once.detach(), rtol=0, atol=1e-5)


def test_unknown_backbone_is_refused_with_similar_names(recipe):
    """Before anything is computed."""
    with pytest.raises(MnistryError, match=r"no image model 'resnet19'; expected one such as .*resnet"):
        build_model("pretrained", small(recipe, backbone="resnet19"), dataset_info())


@pytest.mark.parametrize(
    ("backbone", "message"),
    [
        ("resnet18.nope", r"no image model 'resnet18\.nope'; expected one such as .*resnet18"),
        ("halonet26t", r"backbone: halonet26t can't be used on images of 160x160 \(AssertionError\); expected another"),
        ("crossvit_9_240", r"backbone: crossvit_9_240 can't be used on images of \d+x\d+ \(Attempting .+\); expected"),
    ],
)
def test_backbone_that_cannot_be_built_is_refused_in_words(recipe, backbone, message):
    """Whatever timm raises, also where a classifier's file asks for it."""
    chosen = small(recipe, backbone=backbone, image_size=160)
    with pytest.raises(MnistryError, match=message):
        build_model("pretrained", chosen, dataset_info(shape=(3, 32, 32)))


@pytest.mark.parametrize(
    ("backbone", "image_size", "sides", "expected"),
    [
        (SMALL, 160, (48, 64), (120, 160)),
        ("test_vit", 160, (48, 64), (160, 160)),
        ("test_vit", 100, (48, 64), (112, 112)),
        ("test_vit", 64, (200, 300), (304, 304)),
    ],
)
def test_backbones_of_one_size_see_squares_of_whole_patches(backbone, image_size, sides, expected):
    """They would leave out the last rows and columns of pixels; others keep the proportions."""
    network = Network(backbone, image_size, (3, *sides), 2)
    assert network.size == expected
    images = torch.rand(1, 3, *expected, requires_grad=True)
    network._pooled(images).square().sum().backward()
    assert images.grad is not None
    assert images.grad[..., -1, :].any()
    assert images.grad[..., -1].any()


def test_backbones_that_no_file_can_hold_are_refused(recipe):
    """With tables of positions that a small file would make huge, or layers that share their weights."""
    for backbone, image_size, message in (
        (
            "test_vit_relpos",
            4096,
            r"models\.pretrained\.image_size: takes 3\d\d GB for tables of positions; expected a",
        ),
        ("coat_lite_tiny", 64, r"models\.pretrained\.backbone: its layers share weights; expected another one"),
    ):
        with pytest.raises(MnistryError, match=message):
            build_model("pretrained", small(recipe, backbone=backbone, image_size=image_size), dataset_info())


@pytest.mark.parametrize("backbone", ["test_vit_relpos", "test_mambaout"])
def test_backbones_with_tables_that_no_file_has_come_back_whole(recipe, tmp_path, codes, backbone):
    """Those of relative positions, which the first has, are made anew when a classifier is read."""
    chosen, info = small(recipe, backbone=backbone), dataset_info(shape=(3, 32, 32))
    model = build_model("pretrained", chosen, info).eval()
    torch.nn.init.normal_(model.get_parameter("network.head.1.weight"))
    save_classifier(tmp_path / "c.safetensors", Classifier(model, "pretrained", chosen, info))
    loaded = load_classifier(tmp_path / "c.safetensors")
    with torch.inference_mode():
        assert torch.equal(loaded.model(codes), model(codes))


def test_weights_of_other_backbones_come_from_the_mirror(recipe, mirror):
    """By their name; the classifier names the file and its SHA-256, which may be asked for."""
    model = build_model("pretrained", small(recipe), dataset_info(shape=(3, 32, 32)))
    found = start_from_weights(model, small(recipe))
    file = mirror / "weights" / f"{SMALL}.safetensors"
    assert (found.backbone, found.source) == (SMALL, f"MNISTRY_MIRROR/weights/{SMALL}.safetensors")
    assert found.sha256 == weights_module.file_sha256(file)
    torch.manual_seed(1)
    expected = timm.create_model(SMALL).state_dict()
    for name, tensor in model.get_submodule("network.backbone").state_dict().items():
        assert torch.equal(tensor, expected[name]), name
    assert start_from_weights(model, small(recipe, weights=found.sha256)) == found
    with pytest.raises(MnistryError, match=rf"have the SHA-256 {found.sha256}; expected {'0' * 64}"):
        start_from_weights(model, small(recipe, weights="0" * 64))


def test_weights_of_another_network_are_refused(recipe, mirror):
    """With the file's name and what doesn't fit first; weights that are no numbers, too."""
    own = timm.create_model(SMALL).state_dict()
    of_ten_classes = timm.create_model(SMALL, num_classes=10).state_dict()
    infinite = own | {"conv1.0.weight": own["conv1.0.weight"] / 0}
    model = build_model("pretrained", small(recipe), dataset_info(shape=(3, 32, 32)))
    others = f"does not hold the weights of {SMALL}"
    for weights, reason in (
        ({"stem.weight": torch.zeros(2)}, rf"{others}: conv1\.0\.weight is missing$"),
        ({}, rf"{others}: it is empty$"),
        (of_ten_classes, rf"{others}: fc\.weight has the shape \(10, 96\); expected \(1000, 96\)$"),
        (infinite, r"has weights that are not finite numbers$"),
    ):
        save_file(weights, mirror / "weights" / f"{SMALL}.safetensors")
        with pytest.raises(MnistryError, match=rf"backbone: MNISTRY_MIRROR/weights/{SMALL}\.safetensors {reason}"):
            start_from_weights(model, small(recipe))


def test_damaged_weights_in_the_mirror_are_an_error(mirror):
    """Others, of the hub, would take their place without a word."""
    file = mirror / "weights" / f"{SMALL}.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(MnistryError, match=rf"weights/{SMALL}\.safetensors is damaged or .*; replace it$"):
        load_weights(SMALL, "timm/small", "any")


def test_password_of_a_mirror_is_not_shown(mirror, monkeypatch):
    """Where its answer is."""
    monkeypatch.setenv("MNISTRY_MIRROR", "http://me:secret@127.0.0.1:9/files")
    monkeypatch.setattr("src.downloads.BACKOFF_SECONDS", 0)
    with pytest.raises(MnistryError, match=r"no connection in http://127\.0\.0\.1:9/files; timm's hub") as caught:
        load_weights(SMALL, None, "any")
    assert "secret" not in str(caught.value)


def test_features_that_do_not_fit_on_the_disk_are_an_error_that_names_the_folder(recipe, codes, monkeypatch, tmp_path):
    """And the variable that names another: before they are computed, or when the disk is full."""
    model = build_model("pretrained", small(recipe), dataset_info(shape=(3, 32, 32)))
    subset = Subset(codes, torch.arange(4), torch.arange(4))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    def full(*_: object) -> Any:
        yield torch.zeros(2, SMALL_FEATURES)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("src.transfer._features", full)
    written = (
        rf"no space left on device after .+ of {in_words(4 * 4 * SMALL_FEATURES)} of features were written; make room"
    )
    with pytest.raises(MnistryError, match=rf"^{tmp_path}: {written} there and run again\nTMPDIR may name another"):
        compute_features(model, subset, False, torch.float32)
    monkeypatch.setattr("src.outputs.free_room", lambda _: 5)
    with pytest.raises(MnistryError, match=r"only 5 bytes are free there\. .*\nTMPDIR may name another folder for the"):
        compute_features(model, subset, False, torch.float32)


@pytest.mark.parametrize("mirrored", [True, False])
def test_weights_that_no_place_has_are_an_error_that_names_both(mirrored, mirror, monkeypatch):
    """The mirror, or that there is none, and timm's hub, each with its answer, and what to do."""
    if not mirrored:
        monkeypatch.delenv("MNISTRY_MIRROR")
    answer = "resnet18.safetensors: no such file" if mirrored else "MNISTRY_MIRROR is not set"
    hub = r"timm's hub \(timm/resnet18\.a1_in1k\): the hub is unreachable\n"
    with pytest.raises(MnistryError, match=rf"{answer}.*; {hub}Set MNISTRY_MIRROR .* weights/resnet18\.safetensors"):
        load_weights("resnet18", "timm/resnet18.a1_in1k", "any")


def test_hub_that_cannot_be_reached_is_asked_once(mirror, tmp_path, monkeypatch):
    """And with no further wait, weights that were downloaded before are found in its cache."""
    download, asked = huggingface_hub.hf_hub_download, []

    def spy(*arguments: str, **options: bool) -> Any:
        asked.append(options)
        return download(*arguments, **options)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", spy)
    file = mirror / "weights" / f"{SMALL}.safetensors"
    cached = tmp_path / "hub" / "models--timm--small" / "snapshots" / "0" / "model.safetensors"
    for path, content in ((cached, file.read_bytes()), (cached.parents[2] / "refs" / "main", b"0")):
        path.parent.mkdir(parents=True)
        path.write_bytes(content)
    monkeypatch.delenv("MNISTRY_MIRROR")
    weights, tensors = load_weights(SMALL, "timm/small", "any")
    assert weights.source == "timm's hub (timm/small)"
    assert tensors.keys() == load_file(file).keys()
    assert asked == [{"local_files_only": True}]


def test_packaged_weights_that_changed_are_refused(monkeypatch):
    """Another version of the package takes another version of src/weights.py, which the train stage depends on."""
    monkeypatch.setattr(weights_module, "PACKAGED_SHA256", "0" * 64)
    with pytest.raises(MnistryError, match="have the SHA-256 579344"):
        load_weights(PACKAGED, None, "any")


def test_features_are_refused_before_they_are_computed_where_the_device_has_no_room(recipe, codes, monkeypatch):
    """All bytes of them, those of mirror images too."""
    model = build_model("pretrained", small(recipe), dataset_info(shape=(3, 32, 32)))
    asked: list[tuple[int, torch.device]] = []

    def refuse(*room: Any) -> None:
        asked.append(room)
        raise MnistryError("no room")

    monkeypatch.setattr("src.transfer.require_room_for_features", refuse)
    monkeypatch.setattr("src.transfer._features", None)
    with pytest.raises(MnistryError, match="no room"):
        compute_features(model, Subset(codes, torch.arange(4), torch.arange(4)), True, torch.float32)
    assert asked == [(8 * 4 * SMALL_FEATURES, torch.device("cpu"))]


def test_features_of_mirror_images_follow_those_of_their_images(recipe, codes):
    """Only where they are asked for; validation images are not mirrored; the head standardizes the training images'."""
    model = build_model("pretrained", small(recipe), dataset_info(shape=(3, 32, 32)))
    subset = Subset(codes, torch.tensor([3, 2, 1, 0]), torch.tensor([0, 2]))
    nothing = Subset(codes, subset.labels, torch.tensor([], dtype=torch.int64))
    lines: list[str] = []
    found, none = feature_subsets(model, subset, nothing, True, torch.float32, lines.append)
    assert found.labels.tolist() == [3, 3, 1, 1]
    assert (len(none), none.images.shape[1]) == (0, SMALL_FEATURES)
    assert lines[0] == "computing the features of 2 training images and their mirror images, at 32x32"
    first, network = parts(model)
    with torch.no_grad():
        features, mirrored = network.features(first(codes)), network.features(first(codes.flip(3)))
    expected = torch.stack([features[0], mirrored[0], features[2], mirrored[2]])
    torch.testing.assert_close(found.images, expected, rtol=0, atol=1e-5)
    plain = compute_features(model, subset, False, torch.float32)
    torch.testing.assert_close(plain.images, features[[0, 2]], rtol=0, atol=1e-5)
    standardized = network.head[0](found.images)
    varying = expected.std(0, correction=0) > 1e-3
    torch.testing.assert_close(standardized[:, varying].mean(0), torch.zeros(int(varying.sum())), rtol=0, atol=1e-4)


def test_head_sees_at_inference_what_the_model_sees(recipe, codes):
    """Its logits of the features are the model's, which are averages over mirror images here."""
    model = build_model("pretrained", small(recipe, flip_at_inference=True), dataset_info(shape=(3, 32, 32)))
    torch.nn.init.normal_(model.get_parameter("network.head.1.weight"))
    model.eval()
    subset = Subset(codes, torch.tensor([3, 2, 1, 0]), torch.tensor([0, 2]))
    found = features_at_inference(model, subset, torch.float32)
    assert found.labels.tolist() == [3, 1]
    with torch.inference_mode():
        expected = model(codes[[0, 2]])
        torch.testing.assert_close(model.get_submodule("network.head")(found.images), expected, rtol=1e-4, atol=1e-4)


def test_features_are_standardized():
    """Mean 0 and standard deviation 1, over several chunks; one that doesn't vary is left at its scale."""
    features = torch.randn(5000, 3, generator=torch.Generator().manual_seed(0)) * torch.tensor([2.0, 0.1, 0.0]) + 5
    layer = Standardize(3)
    standardize(layer, features)
    result = layer(features)
    torch.testing.assert_close(result.mean(0), torch.zeros(3), rtol=0, atol=1e-4)
    torch.testing.assert_close(result.std(0, correction=0), torch.tensor([1.0, 1.0, 0.0]), rtol=0, atol=1e-4)


def test_classes_weigh_in_the_head_before_the_whole_network_too(recipe):
    """Of features that say nothing, the head predicts the rarer class where the commoner one weighs nothing."""
    chosen = small(recipe, trained="all")
    labels = torch.tensor([0] * 6 + [1] * 2)
    features = Subset(torch.zeros(8, SMALL_FEATURES), labels, torch.arange(8))
    predicted = {}
    for name, weights in (("none", None), ("of the rarer", torch.tensor([0.0, 1.0]))):
        model = build_model("pretrained", chosen, dataset_info("01", shape=(3, 32, 32)))
        train_head(model, features, chosen, 0, weights)
        predicted[name] = model.get_submodule("network.head")(features.images[:1]).argmax().item()
    assert predicted == {"none": 0, "of the rarer": 1}


@pytest.mark.parametrize("trained", ["head", "all"])
def test_backbone_learns_only_where_all_is_trained(recipe, codes, trained):
    """At its share of the rate, and its batch statistics never change."""
    chosen = small(recipe, trained=trained, epochs=2, batch_size=2, optimizer="sgd", backbone_rate=0.25)
    model = build_model("pretrained", chosen, dataset_info(shape=(3, 32, 32)))
    torch.nn.init.normal_(model.get_parameter("network.head.1.weight"))
    optimizer = make_optimizer(model, chosen)
    schedule = make_schedule(optimizer, chosen, 100)
    assert schedule is not None
    highest = [group["max_lr"] for group in optimizer.param_groups]
    rate = chosen.learning_rate
    assert highest == ([rate] if trained == "head" else [rate, rate * 0.25])
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    subset = Subset(codes, torch.arange(4), torch.arange(4))
    list(fit(model, subset, subset, chosen, generator=torch.Generator().manual_seed(0)))
    changed = {name for name, tensor in model.state_dict().items() if not torch.equal(before[name], tensor)}
    expected = {name for name, _ in model.named_parameters() if trained == "all" or "head" in name}
    assert changed == expected


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("image_size", 16, r"image_size is 16; expected a number of at least 32, or auto"),
        ("optimizer", "autos", r"optimizer is 'autos'; did you mean auto\?"),
        ("optimizer", "rprop", r"optimizer is 'rprop'; expected one of adam, adamw, auto, muon, sgd"),
        ("trained", "tail", r"trained is 'tail'; .*expected one of all, head"),
        ("augment__shift", 0.1, r"trained is 'head'; its features are computed once, so augment can only flip; expec"),
        ("backbone", "hf-hub:me/mine", r"backbone is 'hf-hub:me/mine'; expected the name of one of timm's image"),
        ("weights", "abc", r"weights is 'abc'; expected any, or a SHA-256 in hexadecimal"),
    ],
)
def test_wrong_value_is_refused(write_params, key, value, expected):
    """With what was expected."""
    with pytest.raises(MnistryError, match=rf"models\.pretrained\.{expected}"):
        read_params(write_params(**{f"models__pretrained__{key}": value}))


@pytest.fixture
def no_freeze(monkeypatch):
    """Or everything that the tests have made would stay to their end."""
    monkeypatch.setattr(gc, "freeze", lambda: None)


@pytest.fixture
def digits(tmp_path, monkeypatch, write_params, mirror, no_freeze):
    """A folder with digits, normalized, and a function that trains the small backbone on them."""
    monkeypatch.chdir(tmp_path)
    write_params()
    download.main(PROJECT / "data/sources/digits", tmp_path / "raw")
    normalize.main(tmp_path / "raw", tmp_path / "normalized", tmp_path / "d.json", tmp_path / "figures")

    def run(name: str, **changes: object) -> Path:
        changes = {"backbone": SMALL, "image_size": 32} | changes
        write_params(model="pretrained", **{f"models__pretrained__{key}": value for key, value in changes.items()})
        outputs = ("c.safetensors", "train.json", "history.csv", "v.csv")
        folder: Path = tmp_path / name
        train.main(tmp_path / "normalized", *(folder / output for output in outputs))
        return folder

    return run


def test_trained_head_is_a_classifier_like_any_other(digits, mirror, capsys):
    """Better than chance on untrained features; its file names the weights and needs them no more; the same bytes."""
    folder = digits("first", epochs=4, augment__flip=False)
    printed = capsys.readouterr().out
    with safe_open(folder / "c.safetensors", framework="pt") as file:
        metadata = json.loads(file.metadata()[METADATA_KEY])
    sha256 = weights_module.file_sha256(mirror / "weights" / f"{SMALL}.safetensors")
    assert metadata["weights"] == {
        "backbone": SMALL, "source": f"MNISTRY_MIRROR/weights/{SMALL}.safetensors", "sha256": sha256,
    }  # fmt: skip
    assert f"weights of {SMALL} from MNISTRY_MIRROR/weights/{SMALL}.safetensors, SHA-256 {sha256}" in printed
    hints = [line for line in printed.splitlines() if line.startswith("hint: ")]
    assert hints == [f"hint: to accept these weights alone from now on: -S models.pretrained.weights={sha256}"]
    assert json.loads((folder / "train.json").read_text())["validation_accuracy"] > 0.5
    again = digits("second", epochs=4, augment__flip=False)
    assert (folder / "c.safetensors").read_bytes() == (again / "c.safetensors").read_bytes()
    (mirror / "weights" / f"{SMALL}.safetensors").unlink()
    loaded = load_classifier(folder / "c.safetensors")
    assert loaded.weights == metadata["weights"]
    images = np.load(folder.parent / "normalized" / "test_images.npy")
    labels = np.load(folder.parent / "normalized" / "test_labels.npy")
    with torch.inference_mode():
        predicted = loaded.model(torch.from_numpy(images)).argmax(1).numpy()
    assert (predicted == labels).mean() > 0.5


def test_whole_network_starts_from_the_head_and_goes_on_where_it_was_cut_off(digits, capsys, monkeypatch):
    """Without computing features again; the bytes are those of a training in one piece."""
    whole = digits("whole", trained="all", epochs=2)
    printed = capsys.readouterr().out
    assert json.loads((whole / "train.json").read_text())["untrained_loss"] == pytest.approx(np.log(10), abs=1e-4)
    assert "the head is trained, to a loss of" in printed
    monkeypatch.setattr("src.resuming.SECONDS", 0)
    monkeypatch.setattr("src.resuming.SHARE", 1e9)
    report = train.report

    def cut_off(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(train, "report", cut_off)
    with pytest.raises(KeyboardInterrupt):
        digits("cut", trained="all", epochs=2)
    monkeypatch.setattr(train, "report", report)
    capsys.readouterr()
    resumed = digits("cut", trained="all", epochs=2)
    printed = capsys.readouterr().out
    assert "training goes on after epoch 1/2" in printed
    assert "features" not in printed
    assert (whole / "c.safetensors").read_bytes() == (resumed / "c.safetensors").read_bytes()


def test_backbone_without_maps_is_evaluated_without_heatmaps(digits, mirror, capsys):
    """Which the log says: a vision transformer's patches aren't in rows and columns."""
    save_file(timm.create_model("test_vit").state_dict(), mirror / "weights" / "test_vit.safetensors")
    folder = digits("vit", backbone="test_vit", epochs=1)
    capsys.readouterr()
    outputs = (folder / name for name in ("metrics", "p.csv", "figures"))
    evaluate.main(folder.parent / "normalized", folder / "c.safetensors", folder / "history.csv", *outputs)
    assert "no heatmaps.png: test_vit has no last maps in rows and columns" in capsys.readouterr().out
    assert (folder / "figures" / "predictions.png").exists()
    assert not (folder / "figures" / "heatmaps.png").exists()


def test_one_process_trains_it(default_params, digits, tmp_path):
    """Auto is 1 for this model alone, however many accelerators there are; more are refused."""
    asked = {}
    for model in ("cnn", "pretrained"):
        for processes in ("auto", 2):
            train_params = default_params["train"] | {"processes": processes}
            params = Params.model_validate(default_params | {"model": model, "train": train_params})
            asked[model, processes] = train.asked_processes(params)
    assert asked == {("cnn", "auto"): "auto", ("cnn", 2): 2, ("pretrained", "auto"): 1, ("pretrained", 2): 2}
    outputs = (tmp_path / name for name in ("c.safetensors", "train.json", "history.csv", "v.csv"))
    with pytest.raises(MnistryError, match=r"train\.processes: 2 in all, but model pretrained is trained by one; "):
        train.train_classifier(params, CPU, Processes(0, 2), tmp_path / "normalized", *outputs)


def test_other_models_never_import_timm():
    """It takes two seconds; so does huggingface_hub, and nothing of either is needed."""
    program = (
        "import sys; from stages import train, evaluate; from src.models import build_model; "
        "from src.params import read_params; from src.recipes import Facts, complete; "
        "from tests.conftest import dataset_info; models = read_params().models; "
        "[build_model(name, complete(name, recipe, Facts(1000)), dataset_info()) "
        "for name, recipe in models if name != 'pretrained']; "
        "print('timm' in sys.modules, 'huggingface_hub' in sys.modules, 'src.transfer' in sys.modules)"
    )
    assert words_printed(program) == ["False"] * 3
    assert "timm" in sys.modules
