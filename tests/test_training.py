import math
from collections import deque
from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight
from torch.nn import functional as F

from src.augmentation import make_augmentation
from src.batches import Subset, shuffled_batches
from src.devices import place
from src.inference import predict_logits
from src.models import build_model, build_network
from src.params import MODELS
from src.resuming import Checkpoint
from src.training import (
    CHECK_EVERY,
    OPTIMIZERS,
    DivergedError,
    balanced_weights,
    evaluate,
    fit,
    learns_from_one_image,
    make_optimizer,
    make_schedule,
)
from tests.conftest import dataset_info, words_printed


def random_subset(count=32, classes=10):
    """Images as networks take them, normalized: no codes, so that the network alone is trained."""
    images = torch.randn(count, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    return Subset(images, torch.arange(count) % classes, torch.arange(count))


NOTHING = random_subset(0)


def trained(recipe, name="mlp", seed=0, **options):
    """The network after training on random images, and its epochs."""
    torch.manual_seed(seed)
    model = build_network(name, recipe, (1, 8, 8), 10)
    generator = torch.Generator().manual_seed(seed)
    return model, list(fit(model, random_subset(), NOTHING, recipe, generator=generator, **options))


@pytest.mark.parametrize("name", MODELS)
def test_every_model_learns_32_images_by_heart(params, name):
    """With its own optimizer and schedule, given time."""
    epochs = 50 if name == "pretrained" else 150
    changes = {"epochs": epochs, "batch_size": 32, "label_smoothing": 0.0}
    model, _ = trained(getattr(params.models, name).model_copy(update=changes), name)
    assert evaluate(model, random_subset()).accuracy == 1


def test_same_seed_same_weights_other_seed_other_weights(params):
    """Bit for bit."""
    recipe = params.models.mlp.model_copy(update={"epochs": 2, "batch_size": 8})
    first, again, other = (trained(recipe, seed=seed)[0].state_dict() for seed in (3, 3, 4))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)


def test_training_equals_a_loop_written_by_hand(params):
    """SGD without tricks: w -= learning_rate * gradient, over the same batches."""
    recipe = params.models.linear.model_copy(
        update={"epochs": 2, "batch_size": 8, "optimizer": "sgd", "learning_rate": 0.1, "schedule": "constant"}
    )
    model, epochs = trained(recipe, "linear")
    torch.manual_seed(0)
    weight, bias = build_network("linear", recipe, (1, 8, 8), 10).parameters()
    generator, losses = torch.Generator().manual_seed(0), []
    for _ in range(2):
        for images, labels in shuffled_batches(random_subset(), 8, generator):
            loss = F.cross_entropy(images.flatten(1) @ weight.T + bias, labels)
            for parameter, gradient in zip((weight, bias), torch.autograd.grad(loss, (weight, bias)), strict=True):
                parameter.data -= 0.1 * gradient
            losses.append(loss.item())
    torch.testing.assert_close(model[1].weight, weight)
    assert epochs[0].train.loss == pytest.approx(sum(losses[:4]) / 4)
    assert epochs[1].train.loss == pytest.approx(sum(losses[4:]) / 4)


def test_labels_are_smoothed_in_training_alone(params):
    """Worked by hand: 1 - s of the label's logarithm and s of the mean over classes; validation has only the first."""
    smoothing, subset = 0.3, random_subset()
    recipe = params.models.linear.model_copy(
        update={"epochs": 1, "batch_size": 32, "label_smoothing": smoothing, "learning_rate": 1e-9}
    )
    torch.manual_seed(0)
    model = build_network("linear", recipe, (1, 8, 8), 10)
    log_probabilities = model(subset.images).log_softmax(1).detach()
    plain = -log_probabilities[torch.arange(32), subset.labels].mean().item()
    smoothed = (1 - smoothing) * plain - smoothing * log_probabilities.mean().item()
    (epoch,) = fit(model, subset, subset, recipe, generator=torch.Generator())
    assert abs(smoothed - plain) > 0.001
    assert epoch.train.loss == pytest.approx(smoothed, rel=1e-5)
    assert epoch.validation is not None
    assert epoch.validation.loss == pytest.approx(plain, rel=1e-5)


def test_balanced_weights_are_scikit_learns():
    """N / (K * images of the class); a class without images weighs nothing."""
    labels = np.array([0] * 6 + [1] * 3 + [3])
    expected = compute_class_weight("balanced", classes=np.array([0, 1, 3]), y=labels) * 3 / 4
    np.testing.assert_allclose(balanced_weights(labels, 4)[[0, 1, 3]], expected, rtol=1e-6)
    assert balanced_weights(labels, 4)[2] == 0


def test_balanced_weights_let_the_rare_class_weigh_as_much(params):
    """Of 100 images without a difference, 90 are of one class: each class gets half, not nine tenths."""
    subset = Subset(torch.zeros(100, 1, 2, 2), (torch.arange(100) >= 90).long(), torch.arange(100))
    recipe = params.models.linear.model_copy(update={"epochs": 200, "batch_size": 100, "learning_rate": 0.1})
    shares = []
    for weights in (None, balanced_weights(subset.labels.numpy(), 2)):
        model = build_network("linear", recipe, (1, 2, 2), 2)
        list(fit(model, subset, NOTHING, recipe, generator=torch.Generator(), class_weights=weights))
        shares.append(model(subset.images[:1]).softmax(1)[0, 1].item())
    assert shares[0] == pytest.approx(0.1, abs=0.02)
    assert shares[1] == pytest.approx(0.5, abs=0.02)


def test_validation_is_scored_after_each_epoch(params):
    """As `evaluate` scores it; None where there are no validation images."""
    recipe = params.models.mlp.model_copy(update={"epochs": 1, "batch_size": 8})
    torch.manual_seed(0)
    model = build_network("mlp", recipe, (1, 8, 8), 10)
    (epoch,) = fit(model, random_subset(), random_subset(16), recipe, generator=torch.Generator())
    assert epoch.validation == evaluate(model, random_subset(16))
    assert trained(recipe)[1][0].validation is None


def test_bfloat16_trains_float32_weights(params):
    """Only products are rounded: the weights are near those of float32, but not the same."""
    recipe = params.models.mlp.model_copy(update={"epochs": 1, "batch_size": 8, "optimizer": "sgd"})
    exact, rounded = (trained(recipe, precision=dtype)[0] for dtype in (torch.float32, torch.bfloat16))
    assert rounded[1].weight.dtype == torch.float32
    assert not torch.equal(exact[1].weight, rounded[1].weight)
    torch.testing.assert_close(exact[1].weight, rounded[1].weight, atol=1e-3, rtol=0)


@pytest.mark.parametrize(("name", "kind"), [("sgd", "SGD"), ("adam", "Adam"), ("adamw", "AdamW"), ("muon", "Muon")])
def test_optimizer_is_the_recipes(params, name, kind):
    """With its learning rate and weight decay, and momentum for SGD."""
    changes = {"optimizer": name, "weight_decay": 0.25, "momentum": 0.5, "learning_rate": 0.125}
    recipe = params.models.linear.model_copy(update=changes)
    optimizer = make_optimizer(build_network("linear", recipe, (1, 8, 8), 10), recipe)
    assert type(optimizer).__name__ == kind
    assert (optimizer.defaults["lr"], optimizer.defaults["weight_decay"]) == (0.125, 0.25)
    assert optimizer.defaults.get("momentum", 0.5) == (0.95 if name == "muon" else 0.5)


def test_training_imports_no_compiler():
    """Torch's optimizers would, to tell it to leave them alone."""
    program = (
        "import sys, torch; from src.params import read_params; from src.training import OPTIMIZERS, fit;"
        "from src.batches import Subset; recipe = read_params().models.linear; index = torch.arange(256);"
        "train = Subset(torch.zeros(256, 1, 2, 2), torch.zeros(256, dtype=torch.int64), index);"
        "model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2));"
        "changes = {'epochs': 1, 'learning_rate': 0.01};"
        "[list(fit(model, train, train, recipe.model_copy(update=changes | {'optimizer': optimizer}),"
        " generator=torch.Generator())) for optimizer in OPTIMIZERS];"
        "print('torch._dynamo' in sys.modules)"
    )
    assert words_printed(program) == ["False"]


def test_one_cycle_rises_to_the_learning_rate_and_falls_to_nearly_0(params):
    """Over the number of steps that it is given; `constant` is no schedule."""
    recipe = params.models.linear.model_copy(update={"schedule": "one_cycle", "learning_rate": 0.5})
    optimizer = make_optimizer(build_network("linear", recipe, (1, 8, 8), 10), recipe)
    schedule, rates = make_schedule(optimizer, recipe, 100), []
    assert schedule is not None
    for _ in range(99):
        optimizer.step()
        schedule.step()
        rates.append(schedule.get_last_lr()[0])
    assert max(rates) == pytest.approx(0.5, rel=1e-3)
    assert rates[-1] < 1e-4
    assert make_schedule(optimizer, recipe.model_copy(update={"schedule": "constant"}), 100) is None


def test_inference_does_not_depend_on_the_batch_size(params):
    """And leaves the model in evaluation mode, where batch normalization ignores the other images."""
    recipe = params.models.resnet
    model, images = build_network("resnet", recipe, (1, 8, 8), 10), random_subset().images
    torch.testing.assert_close(predict_logits(model, images.split(5), 32), predict_logits(model, [images], 32))
    assert predict_logits(model, images.split(5), 32).shape == (32, 10)
    assert not model.training


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    ("optimizer", "learning_rate"), [("adam", 1e30), ("adamw", 1e30), ("sgd", 1e20), ("muon", 1e30)]
)
def test_training_stops_at_the_first_loss_that_is_not_finite(params, precision, optimizer, learning_rate):
    """With its epoch and its step; no epoch is yielded."""
    changes = {"batch_size": 4, "optimizer": optimizer, "learning_rate": learning_rate, "schedule": "constant"}
    with pytest.raises(DivergedError, match=r"^epoch 1, step [2-8]: the training loss is (nan|inf)$") as error:
        trained(params.models.mlp.model_copy(update=changes), precision=precision)
    assert f"step {error.value.step}:" in str(error.value)


def test_step_of_the_first_loss_that_is_not_finite_is_the_right_one(params):
    """The loss of the only image that isn't a number, wherever its batch comes."""
    recipe = params.models.linear.model_copy(update={"batch_size": 1})
    subset = random_subset()
    subset.images[7] = math.nan
    order = torch.randperm(32, generator=torch.Generator().manual_seed(5))
    model = build_network("linear", recipe, (1, 8, 8), 10)
    with pytest.raises(DivergedError) as error:
        list(fit(model, subset, NOTHING, recipe, generator=torch.Generator().manual_seed(5)))
    assert (error.value.epoch, error.value.step) == (1, order.tolist().index(7) + 1)


def test_a_long_epoch_is_not_trained_to_its_end(params, monkeypatch):
    """Losses are looked at now and then: 32 batches of an epoch are enough where every eighth step has a look."""
    monkeypatch.setattr("src.training.CHECK_EVERY", 8)
    recipe = params.models.linear.model_copy(update={"batch_size": 1})
    subset, seen = random_subset(), []
    subset.images[:] = math.nan
    model = build_network("linear", recipe, (1, 8, 8), 10)
    model.register_forward_hook(lambda *_: seen.append(1))
    with pytest.raises(DivergedError, match="epoch 1, step 1: the training loss is nan"):
        list(fit(model, subset, NOTHING, recipe, generator=torch.Generator()))
    assert len(seen) == 8 < CHECK_EVERY


def test_validation_loss_and_weights_that_are_not_finite_stop_training(params):
    """Where the training losses all are finite."""
    recipe = params.models.linear.model_copy(update={"batch_size": 32, "epochs": 3})
    poisoned = random_subset(8)
    poisoned.images[3] = math.inf
    model = build_network("linear", recipe, (1, 8, 8), 10)
    with pytest.raises(DivergedError, match=r"^epoch 1: the validation loss is (nan|inf)$"):
        list(fit(model, random_subset(), poisoned, recipe, generator=torch.Generator()))
    # One step, after which nothing is computed from the weights.
    changes = {"epochs": 1, "optimizer": "sgd", "learning_rate": 3e38, "weight_decay": 3e38, "schedule": "constant"}
    with pytest.raises(DivergedError, match=r"^epoch 1: some weights are no longer finite numbers$"):
        trained(params.models.linear.model_copy(update=changes), "linear")


def test_the_first_loss_is_that_of_the_untrained_model(params):
    """On the first batch."""
    recipe = params.models.linear.model_copy(update={"epochs": 2, "batch_size": 32})
    torch.manual_seed(0)
    untrained = evaluate(build_network("linear", recipe, (1, 8, 8), 10), random_subset())
    first, second = trained(recipe, "linear")[1]
    assert first.first_loss == pytest.approx(untrained.loss, rel=1e-6)
    assert second.first_loss < first.first_loss


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 32, 32)])
def test_batches_of_one_image_are_trained_right_or_known_not_to_be(params, name, shape):
    """Only batch normalization needs two values per channel; asking leaves the model as it was."""
    model = build_model(name, getattr(params.models, name), dataset_info("ab", shape))
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    image = torch.randint(0, 256, (1, *shape), dtype=torch.uint8)
    learns = learns_from_one_image(model, image)
    assert learns == (name != "resnet" or shape == (3, 32, 32))
    assert all(torch.equal(before[key], tensor) for key, tensor in model.state_dict().items())
    subset = Subset(image, torch.tensor([1]), torch.tensor([0]))
    recipe = getattr(params.models, name).model_copy(update={"epochs": 2})
    if learns:
        epochs = list(fit(model, subset, NOTHING, recipe, generator=torch.Generator()))
        assert all(math.isfinite(epoch.train.loss) for epoch in epochs)


@pytest.fixture
def open_again(tmp_path, monkeypatch):
    """Opens a training's checkpoint, written after every epoch, with what an earlier run left."""
    monkeypatch.setattr("src.resuming.SECONDS", 0)
    monkeypatch.setattr("src.resuming.SHARE", math.inf)
    return lambda: Checkpoint(tmp_path, "0" * 64, pytest.fail)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("schedule", ["one_cycle", "constant"])
def test_resumed_training_gives_the_same_bits(params, open_again, name, optimizer, schedule):
    """Cut off after each epoch: weights, buffers, history; with augmentation, class weights, momentum and dropout."""
    augment = params.models.mlp.augment.model_copy(update={"shift": 0.2, "rotation": 20, "flip": True, "cutout": 0.2})
    changes = {"epochs": 4, "batch_size": 8, "optimizer": optimizer, "schedule": schedule, "weight_decay": 0.01}
    changes |= {"momentum": 0.9, "learning_rate": 0.01, "augment": augment}
    recipe = getattr(params.models, name).model_copy(update=changes)
    info = dataset_info()
    codes = torch.randint(0, 256, (32, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    subset = Subset(codes, torch.arange(32) % 10, torch.arange(32))

    def run(checkpoint=None):
        torch.manual_seed(0)
        normalize, network, calibrate = build_model(name, recipe, info)
        # Dropout draws from torch's own generator.
        model = place(torch.nn.Sequential(normalize, torch.nn.Dropout(0.2), network, calibrate), torch.device("cpu"))
        return model, fit(
            model,
            subset,
            subset,
            recipe,
            generator=torch.Generator().manual_seed(0),
            augment=make_augmentation(recipe.augment, 0, torch.device("cpu")),
            class_weights=balanced_weights(subset.labels.numpy(), 10),
            checkpoint=checkpoint,
        )

    expected, epochs = run()
    untimed = [replace(epoch, seconds=0, images_per_second=0) for epoch in epochs]
    for done in range(3):
        checkpoint = open_again()
        assert len(checkpoint.epochs) == done
        next(run(checkpoint)[1])
    checkpoint = open_again()
    model, epochs = run(checkpoint)
    history = [replace(epoch, seconds=0, images_per_second=0) for epoch in (*checkpoint.epochs, *epochs)]
    assert history == untimed
    assert all(torch.equal(tensor, model.state_dict()[key]) for key, tensor in expected.state_dict().items())
    # And once more with nothing left to train.
    model, epochs = run(open_again())
    assert list(epochs) == []
    assert all(torch.equal(tensor, model.state_dict()[key]) for key, tensor in expected.state_dict().items())


def test_best_keeps_the_epoch_of_the_lowest_validation_loss(params, open_again):
    """Not the last one, whose training images are known by heart; the same after going on from a later checkpoint."""
    recipe = params.models.mlp.model_copy(update={"epochs": 6, "batch_size": 8, "learning_rate": 0.03})
    train, validation = random_subset(), random_subset()
    validation = replace(validation, labels=(validation.labels + (torch.arange(32) % 2)) % 10)

    def run(keep, checkpoint=None):
        torch.manual_seed(0)
        model = build_network("mlp", recipe, (1, 8, 8), 10)
        generator = torch.Generator().manual_seed(0)
        return model, fit(model, train, validation, recipe, generator=generator, keep=keep, checkpoint=checkpoint)

    model, epochs = run("last")
    weights, losses = [], []
    for epoch in epochs:
        weights.append({name: tensor.clone() for name, tensor in model.state_dict().items()})
        losses.append(epoch.validation.loss)
    best = losses.index(min(losses))
    assert best < 3
    assert all(torch.equal(tensor, weights[-1][name]) for name, tensor in model.state_dict().items())
    for done in (None, *range(1, 6)):
        checkpoint = open_again() if done else None
        model, epochs = run("best", checkpoint)
        if done and done < 5:
            next(epochs)
            continue
        deque(epochs, maxlen=0)
        assert all(torch.equal(tensor, weights[best][name]) for name, tensor in model.state_dict().items())


def test_optimizers_state_is_kept_in_the_memory_layout_of_the_weights(params, open_again, monkeypatch):
    """Channels last, for convolutions: one kernel goes through both by address."""
    recipe = params.models.cnn.model_copy(update={"batch_size": 32, "epochs": 2, "optimizer": "adam"})
    optimizers = []
    make = make_optimizer

    def remember(*arguments):
        optimizers.append(make(*arguments))
        return optimizers[-1]

    monkeypatch.setattr("src.training.make_optimizer", remember)
    for _ in range(2):
        torch.manual_seed(0)
        model = place(build_network("cnn", recipe, (1, 8, 8), 10), torch.device("cpu"))
        next(fit(model, random_subset(), NOTHING, recipe, generator=torch.Generator(), checkpoint=open_again()))
    parameter = next(parameter for parameter in model.parameters() if parameter.dim() == 4 and parameter.shape[1] > 1)
    assert parameter.is_contiguous(memory_format=torch.channels_last)
    assert optimizers[-1].state[parameter]["exp_avg"].stride() == parameter.stride()
