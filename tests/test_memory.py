"""That training which can't fit into memory is refused before it begins, and no other."""

import pytest
import torch

from src import devices, memory
from src.batches import make_subset
from src.errors import MnistryError
from src.memory import (
    kept_per_image,
    require_room_for_batches,
    require_room_for_features,
    require_room_for_weights,
    states_per_weight,
)
from src.models import build_model
from src.params import MODELS
from tests.conftest import dataset_info

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("optimizer", "momentum", "expected"), [("sgd", 0.0, 0), ("sgd", 0.9, 1), ("adamw", 0.0, 2), ("muon", 0.0, 1)]
)
def test_states_of_the_optimizers(params, optimizer, momentum, expected):
    """Momentum's buffer; Adam's two means."""
    recipe = params.models.mlp.model_copy(update={"optimizer": optimizer, "momentum": momentum})
    assert states_per_weight(recipe) == expected


def test_what_is_kept_of_an_image(params):
    """By hand, for a block of 16 channels on 8x8 pixels: what two layers keep counts once; bfloat16 takes half."""
    pixels, activated, indices, pooled = 4 * 64, 16 * 4 * 64, 16 * 8 * 16, 16 * 4 * 16
    recipe = params.models.cnn.model_copy(update={"channels": (16,)})
    model = build_model("cnn", recipe, dataset_info(shape=(1, 8, 8)))
    images = torch.zeros(4, 1, 8, 8, dtype=torch.uint8)
    assert kept_per_image(model, images, torch.float32) == pixels + activated + indices + pooled
    assert kept_per_image(model, images, torch.bfloat16) == (pixels + activated + pooled) // 2 + indices


@pytest.mark.parametrize("name", MODELS)
def test_asking_changes_nothing(params, name):
    """Neither the generators nor the model with its running means, so that the same seed gives the same bytes."""
    dataset = dataset_info(shape=(1, 8, 8))
    recipe = getattr(params.models, name)
    torch.manual_seed(0)
    state = torch.get_rng_state()
    require_room_for_weights(name, recipe, dataset, CPU)
    assert torch.equal(torch.get_rng_state(), state)
    model = build_model(name, recipe, dataset)
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    state = torch.get_rng_state()
    kept_per_image(model, torch.zeros(4, 1, 8, 8, dtype=torch.uint8), torch.float32)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(before[key], tensor) for key, tensor in model.state_dict().items())


def test_weights_that_do_not_fit_are_refused_before_they_are_made(params, monkeypatch):
    """With what they take at least, and what there is."""
    recipe = params.models.mlp.model_copy(update={"hidden_sizes": (10**5, 10**5)})
    monkeypatch.setattr(devices, "free_memory", lambda: 10**10)
    message = (
        r"models.mlp: takes at least 160 GB of memory for its weights, .* but 10 GB is free on cpu; choose a smaller"
    )
    with pytest.raises(MnistryError, match=message):
        require_room_for_weights("mlp", recipe, dataset_info(shape=(1, 8, 8)), CPU)


def test_batches_that_do_not_fit_are_refused_and_those_that_do_are_not(params, monkeypatch):
    """To the byte: the batch of 100 images, gradients and Adam's two states; the advice is half of the batch."""
    recipe = params.models.cnn.model_copy(update={"batch_size": 100, "optimizer": "adam"})
    dataset = dataset_info(shape=(1, 8, 8))
    model = build_model("cnn", recipe, dataset)
    images = torch.zeros(1000, 1, 8, 8, dtype=torch.uint8)
    train = make_subset(images.numpy(), torch.zeros(1000, dtype=torch.int64).numpy(), CPU)
    weights = sum(parameter.nbytes for parameter in model.parameters())
    needed = 100 * kept_per_image(model, images[:4], torch.float32) + 3 * weights
    for free in (needed, None):
        monkeypatch.setattr(devices, "free_memory", lambda free=free: free)
        require_room_for_batches("cnn", model, recipe, train, CPU, torch.float32)
    monkeypatch.setattr(devices, "free_memory", lambda: needed - 1)
    with pytest.raises(
        MnistryError, match=r"a batch of 100 images .* is free on cpu; try -S models\.cnn\.batch_size=50, "
    ):
        require_room_for_batches("cnn", model, recipe, train, CPU, torch.float32)


def test_features_have_to_fit_into_an_accelerator_alone(monkeypatch):
    """On a processor they are mapped from their file."""
    cuda = torch.device("cuda")
    monkeypatch.setattr(memory, "free_on", lambda _: 10**6)
    require_room_for_features(10**6, cuda)
    require_room_for_features(10**9, CPU)
    with pytest.raises(MnistryError, match=r"features take 2 MB, but 1 MB of memory is free on cuda; try device: cpu"):
        require_room_for_features(2 * 10**6, cuda)
