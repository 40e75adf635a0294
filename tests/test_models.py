import math

import pytest
import torch
from torch.nn import functional as F

from src.errors import MnistryError
from src.models import NormalizeCodes, build_model, build_network, count_parameters
from src.params import MODELS
from tests.conftest import dataset_info

TUTORIALS = {"linear": {}, "mlp": {"hidden_sizes": (256,)}, "cnn": {"channels": (16, 32), "kernel_size": 5}}
SHAPES = [(1, 28, 28), (1, 8, 8), (3, 32, 32), (3, 20, 31)]


def model_of(name, params, shape=(1, 28, 28), num_classes=10):
    """The network by params.yaml's recipe."""
    torch.manual_seed(0)
    return build_network(name, getattr(params.models, name), shape, num_classes)


def tutorials_model(name, params):
    """The network with its tutorial's sizes, for MNIST."""
    torch.manual_seed(0)
    recipe = getattr(params.models, name).model_copy(update=TUTORIALS[name])
    return build_network(name, recipe, (1, 28, 28), 10)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", MODELS)
def test_any_shape_gives_one_logit_per_class(params, name, shape):
    """Grey or colour, small or large, square or not."""
    assert model_of(name, params, shape, 47)(torch.randn(5, *shape)).shape == (5, 47)


@pytest.mark.parametrize("name", MODELS)
def test_untrained_loss_is_about_ln_k(params, name):
    """Before training, all classes are about as likely: cross-entropy near ln 10."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(256, 1, 28, 28, generator=generator) * 0.3
    loss = F.cross_entropy(model_of(name, params)(images), torch.arange(256) % 10)
    assert abs(loss.item() - math.log(10)) < 0.35


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("linear", 784 * 10 + 10),
        ("mlp", 784 * 256 + 256 + 256 * 10 + 10),
        ("cnn", 25 * 16 + 16 + 25 * 16 * 32 + 32 + 1568 * 10 + 10),
    ],
)
def test_the_tutorials_architectures(params, name, parameters):
    """T2, T3 and T5 on 28x28 images, by the README's settings, counted by hand."""
    assert count_parameters(tutorials_model(name, params)) == parameters


def test_cnn_equals_the_tutorials_order_of_layers(params):
    """Pooling before the rectifier gives what T5's rectifier before pooling gives."""
    model, images = tutorials_model("cnn", params), torch.randn(4, 1, 28, 28)
    maps = images
    for i in (0, 3):
        maps = F.max_pool2d(F.relu(F.conv2d(maps, model[i].weight, model[i].bias, padding=2)), 2)
    torch.testing.assert_close(model(images), model[7](maps.flatten(1)))


def test_cnns_linear_weight_is_xavier_uniform(params):
    """T5's initialization: within sqrt(6 / (fan in + fan out)), and filling it."""
    weight = tutorials_model("cnn", params)[7].weight
    bound = math.sqrt(6 / (1568 + 10))
    assert 0.99 * bound < weight.abs().max() <= bound


def test_sizes_are_params(params):
    """Hidden sizes, channels and kernel of the recipe are the model's."""
    mlp = params.models.mlp.model_copy(update={"hidden_sizes": (7, 5)})
    assert [tuple(p.shape) for p in build_network("mlp", mlp, (1, 2, 2), 3).parameters()] == [
        (7, 4), (7,), (5, 7), (5,), (3, 5), (3,)
    ]  # fmt: skip
    cnn = params.models.cnn.model_copy(update={"channels": (4,), "kernel_size": 2})
    assert build_network("cnn", cnn, (3, 8, 8), 2).get_parameter("0.weight").shape == (4, 3, 2, 2)
    resnet = params.models.resnet.model_copy(update={"channels": (4, 8), "blocks": 2})
    assert build_network("resnet", resnet, (1, 8, 8), 2)(torch.randn(2, 1, 8, 8)).shape == (2, 2)


@pytest.mark.parametrize(
    ("name", "message"), [("cnn", r"models\.cnn\.channels: 3 blocks halve 3x28"), ("resnet", "1x28")]
)
def test_images_too_small_are_refused(params, name, message):
    """With the size that came and what would do."""
    with pytest.raises(MnistryError, match=message):
        model_of(name, params, (1, 3 if name == "cnn" else 1, 28))


def test_kernels_beyond_the_image_are_refused(params):
    """Of 8x20 images, a window of 39 still reaches from edge to edge; with one of 40, weights would do nothing."""
    recipe = params.models.cnn.model_copy(update={"channels": (2,)})
    widest = recipe.model_copy(update={"kernel_size": 39})
    assert build_network("cnn", widest, (1, 8, 20), 2)(torch.randn(2, 1, 8, 20)).shape == (2, 2)
    wider = recipe.model_copy(update={"kernel_size": 40})
    with pytest.raises(MnistryError, match=r"models\.cnn\.kernel_size: 40; expected at most 39, .* of 8x20 images"):
        build_network("cnn", wider, (1, 8, 20), 2)


def test_first_layer_computes_what_the_normalization_says():
    """Bit for bit what numpy computes from scale and offset, for all 256 codes, each channel by itself."""
    info = dataset_info(shape=(2, 16, 16), mean=0.1307, std=0.3081)
    codes = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16).repeat(1, 2, 1, 1)
    expected = info.normalization(codes.numpy())
    assert torch.equal(NormalizeCodes(info.normalization)(codes), torch.from_numpy(expected))


def test_model_takes_codes_and_leaves_them_as_they_are(params):
    """The classifier on codes is its network on normalized images; the codes, which may be a file's map, are kept."""
    info = dataset_info("abc", (1, 8, 8))
    model = build_model("cnn", params.models.cnn, info)
    codes = torch.randint(0, 256, (5, 1, 8, 8), dtype=torch.uint8)
    before = codes.clone()
    normalized = torch.from_numpy(info.normalization(codes.numpy()))
    assert torch.equal(model(codes), model.get_submodule("network")(normalized))
    assert torch.equal(codes, before)
    assert {"normalize.scale", "normalize.offset"} <= set(model.state_dict())


def test_logits_are_averaged_over_mirror_images_after_training_alone(params):
    """Where the recipe says so: an image and its mirror image then get the same ones."""
    info = dataset_info("abc", (1, 8, 8))
    recipe = params.models.cnn.model_copy(update={"flip_at_inference": True})
    model = build_model("cnn", recipe, info)
    codes = torch.randint(0, 256, (5, 1, 8, 8), dtype=torch.uint8)
    mirrored = codes.flip(3)
    one, other = model(codes), model(mirrored)
    assert not torch.allclose(one, other)
    model.eval()
    torch.testing.assert_close(model(codes), (one + other) / 2)
    torch.testing.assert_close(model(mirrored), (one + other) / 2)


def test_recipe_that_is_left_open_is_refused(params):
    """Auto is a string, which would count as a yes: MNIST's accuracy was 91 % by it."""
    recipe = params.models.cnn.model_copy(update={"flip_at_inference": "auto"})
    with pytest.raises(ValueError, match="complete the recipe first"):
        build_model("cnn", recipe, dataset_info("abc", (1, 8, 8)))
