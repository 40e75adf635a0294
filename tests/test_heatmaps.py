"""Heat maps: that they show what the classifier goes by."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from src.batches import Subset
from src.heatmaps import heatmaps, maps_layer
from src.models import build_model
from src.plots.results import images_with_heatmaps
from src.training import fit
from tests.conftest import dataset_info


def test_heatmap_of_a_small_network_by_hand(params):
    """Each pixel of the maps times its weight for the class, where that is above 0, by the largest of them."""
    model = build_model("linear", params.models.linear, dataset_info("ab", (1, 4, 4), mean=0.0, std=1.0))
    convolution, linear = nn.Conv2d(1, 1, 1, bias=False), nn.Linear(16, 2, bias=False)
    convolution.weight.data.fill_(255.0)
    weights = torch.arange(-8.0, 8.0)
    linear.weight.data = torch.stack([weights, -weights.abs()])
    model.network = nn.Sequential(convolution, nn.Flatten(), linear)
    codes = np.arange(16, dtype=np.uint8).reshape(1, 1, 4, 4)
    found = heatmaps_of(model, codes.repeat(2, 0), [0, 1])
    expected = np.maximum(np.arange(16) * np.arange(-8, 8), 0) / (15 * 7)
    np.testing.assert_allclose(found[0].ravel(), expected, atol=1e-6)
    assert not found[1].any()


def test_heatmap_is_of_the_image_itself_where_its_mirror_image_counts_too(params):
    """Not of the mirror image, whose maps are the other way around."""
    recipe = params.models.linear.model_copy(update={"flip_at_inference": True})
    model = build_model("linear", recipe, dataset_info("ab", (1, 4, 4), mean=0.0, std=1.0)).eval()
    convolution, linear = nn.Conv2d(1, 1, 1, bias=False), nn.Linear(16, 2, bias=False)
    convolution.weight.data.fill_(1.0)
    linear.weight.data.fill_(1.0)
    model.network = nn.Sequential(convolution, nn.Flatten(), linear)
    codes = np.zeros((1, 1, 4, 4), np.uint8)
    codes[0, 0, 2, 0] = 255
    np.testing.assert_allclose(heatmaps_of(model, codes, [0])[0], codes[0, 0] / 255)


def heatmaps_of(model, codes, classes) -> np.ndarray:
    """Those of a model that has some."""
    found = heatmaps(model, codes, np.asarray(classes))
    assert found is not None
    return found


@pytest.fixture(scope="module")
def patches():
    """Noise with a small bright patch anywhere: of stripes that lie across, class 0, or that stand, class 1."""
    generator = np.random.default_rng(0)
    images = generator.integers(0, 60, (400, 1, 16, 16), np.uint8)
    labels, corners = np.arange(400) % 2, generator.integers(0, 11, (400, 2))
    stripes = np.tile(np.array([255, 0], np.uint8), (5, 3))[:, :5]
    for image, label, (y, x) in zip(images, labels, corners, strict=True):
        image[0, y : y + 5, x : x + 5] = stripes if label else stripes.T
    return images, labels, corners


@pytest.fixture
def trained(params, patches):
    """A cnn that tells the two kinds of patches from each other, and its recipe."""
    images, labels, _ = patches
    changes = {"epochs": 8, "batch_size": 32, "channels": (8, 16), "augment": params.models.linear.augment}
    changes |= {"optimizer": "adam", "learning_rate": 0.005, "label_smoothing": 0.0}
    recipe = params.models.cnn.model_copy(update=changes)
    torch.manual_seed(0)
    model = build_model("cnn", recipe, dataset_info("ab", (1, 16, 16)))
    subset = Subset(torch.from_numpy(images), torch.from_numpy(labels), torch.arange(400))
    *_, last = fit(model, subset, subset, recipe, generator=torch.Generator().manual_seed(0))
    assert last.validation is not None
    assert last.validation.accuracy > 0.97
    return model, recipe


def test_heatmap_is_where_the_object_is(trained, patches):
    """Half of its sum is within a pixel of the patch: a fifth of the image, and maps of 4x4 pixels."""
    images, labels, corners = patches
    found = heatmaps_of(trained[0], images[:100], labels[:100])
    inside = [
        each[max(y - 1, 0) : y + 6, max(x - 1, 0) : x + 6].sum() for each, (y, x) in zip(found, corners, strict=False)
    ]
    assert np.sum(inside) / found.sum() > 0.45


def test_heatmap_changes_when_the_weights_are_drawn_anew(trained, patches):
    """J. Adebayo and others, https://arxiv.org/abs/1810.03292: a map that doesn't shows the image, not the model."""
    images, labels, _ = patches
    model, recipe = trained
    before = heatmaps_of(model, images[:100], labels[:100])
    again = heatmaps_of(model, images[:100], labels[:100])
    np.testing.assert_array_equal(before, again)
    torch.manual_seed(1)
    other = build_model("cnn", recipe, dataset_info("ab", (1, 16, 16)))
    assert mean_correlation(before, heatmaps_of(other, images[:100], labels[:100])) < 0.5


def mean_correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Of the maps of the same images."""
    pairs = [np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in zip(first, second, strict=True) if a.any() and b.any()]
    assert len(pairs) > len(first) / 2
    return float(np.mean(pairs))


@pytest.mark.parametrize("backbone", ["test_resnet", "test_mambaout"])
def test_pretrained_heatmap_changes_when_the_weights_are_drawn_anew(params, backbone):
    """Whether the last stage's maps have their channels first or last."""
    recipe = params.models.pretrained.model_copy(update={"backbone": backbone, "image_size": 96})
    codes = np.random.default_rng(0).integers(0, 256, (8, 3, 32, 32), np.uint8)
    found = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        model = build_model("pretrained", recipe, dataset_info("ab", (3, 32, 32))).eval()
        torch.nn.init.normal_(model.get_parameter("network.head.1.weight"))
        found.append(heatmaps_of(model, codes, [0, 1] * 4))
    np.testing.assert_array_equal(found[0], found[1])
    assert mean_correlation(found[0], found[2]) < 0.5


@pytest.mark.parametrize(("backbone", "channels"), [("test_resnet", 1), ("test_mambaout", 3)])
def test_heatmap_sums_over_the_channels_of_the_backbones_maps(params, backbone, channels):
    """Wherever they are: the products of maps and gradients, by torch's own gradients of the whole network."""
    recipe = params.models.pretrained.model_copy(update={"backbone": backbone, "image_size": 128, "trained": "all"})
    model = build_model("pretrained", recipe, dataset_info("ab", (3, 128, 128))).eval()
    torch.nn.init.normal_(model.get_parameter("network.head.1.weight"))
    codes = np.random.default_rng(0).integers(0, 256, (2, 3, 128, 128), np.uint8)
    kept: list[torch.Tensor] = []
    network: Any = model.get_submodule("network")
    layer = network.get_submodule(network.maps_layer)
    hook = layer.register_forward_hook(lambda _, __, output: kept.append(output))
    logits = model(torch.from_numpy(codes))
    hook.remove()
    (gradients,) = torch.autograd.grad(logits[:, 0].sum(), kept)
    expected = (gradients * kept[0]).sum(channels).detach().relu()
    assert expected.shape == (2, 4, 4)
    found = heatmaps_of(model, codes, [0, 0])
    expected = torch.nn.functional.interpolate(expected[:, None], (128, 128), mode="bilinear")[:, 0]
    np.testing.assert_allclose(found, expected / expected.amax((1, 2), keepdim=True), atol=1e-5)
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_nothing_before_the_maps_is_kept_for_gradients(params):
    """A whole backbone's feature maps of all shown images take gigabytes."""
    recipe = params.models.pretrained.model_copy(update={"backbone": "test_resnet", "image_size": 32, "trained": "all"})
    model = build_model("pretrained", recipe, dataset_info("ab", (3, 32, 32))).eval()
    torch.nn.init.normal_(model.get_parameter("network.head.1.weight"))
    first = next(module for module in model.modules() if isinstance(module, nn.Conv2d))
    wanted: list[bool] = []
    first.register_forward_hook(lambda _, __, output: wanted.append(output.requires_grad))
    heatmaps_of(model, np.zeros((2, 3, 32, 32), np.uint8), [0, 1])
    assert wanted
    assert not any(wanted)


def test_backbone_whose_last_stage_is_no_module_has_no_heatmaps(params):
    """As some of timm's name their stages."""
    recipe = params.models.pretrained.model_copy(update={"backbone": "test_resnet", "image_size": 32})
    model = build_model("pretrained", recipe, dataset_info("ab", (3, 32, 32)))
    backbone: Any = model.get_submodule("network.backbone")
    backbone.feature_info = [{"module": "block", "reduction": 32}]
    assert heatmaps(model, np.zeros((2, 3, 32, 32), np.uint8), np.array([0, 1])) is None


@pytest.mark.parametrize("name", ["linear", "mlp"])
def test_models_without_maps_have_no_heatmaps(params, name):
    """They see all pixels at once."""
    model = build_model(name, getattr(params.models, name), dataset_info())
    assert heatmaps(model, np.zeros((2, 1, 8, 8), np.uint8), np.array([0, 1])) is None


@pytest.mark.parametrize("name", ["cnn", "resnet", "pretrained"])
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 20, 31)])
def test_heatmaps_have_the_images_size(params, name, shape):
    """In [0, 1], one per image, whether weights are frozen or not; the model is left as it was, without hooks."""
    model = build_model(name, getattr(params.models, name), dataset_info(shape=shape))
    torch.nn.init.normal_([p for p in model.parameters() if p.dim() == 2][-1])
    codes = np.random.default_rng(0).integers(0, 256, (3, *shape), np.uint8)
    found = heatmaps_of(model, codes, [0, 1, 9])
    assert found.shape == (3, *shape[1:])
    assert found.dtype == np.float32
    assert found.min() >= 0
    assert found.max() == 1
    assert not any(module._forward_hooks for module in model.modules())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_maps_are_the_last_that_are_large_enough(params):
    """Of the cnn on 8x8 pixels, those of 4x4 before the second pooling; of too small images, none."""
    model = build_model("cnn", params.models.cnn, dataset_info(shape=(1, 8, 8)))
    assert maps_layer(model, torch.zeros(1, 1, 8, 8, dtype=torch.uint8)) is model.get_submodule("network.3")
    recipe = params.models.cnn.model_copy(update={"channels": (4,)})
    small = build_model("cnn", recipe, dataset_info(shape=(1, 2, 2)))
    assert maps_layer(small, torch.zeros(1, 1, 2, 2, dtype=torch.uint8)) is None


def test_image_and_heatmap_are_next_to_each_other():
    """The image as it is; a white gap; the image in grey, dark where the map is 0."""
    images = np.full((1, 3, 28, 28), 100, np.uint8)
    drawn = images_with_heatmaps(images, np.zeros((1, 28, 28), np.float32))
    assert drawn.shape == (1, 3, 28, 58)
    assert (drawn[..., :28] == 100).all()
    assert (drawn[..., 28:30] == 255).all()
    assert (drawn[..., 30:] <= 50).all()
    hot = images_with_heatmaps(images[:, :1], np.ones((1, 28, 28), np.float32))
    assert (hot[..., 30:] > drawn[..., 30:]).all()
