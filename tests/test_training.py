import pytest
import torch
from torch.nn import functional as F

from src.batches import batches
from src.inference import predict_logits
from src.models import build_model
from src.params import MODELS
from src.training import evaluate, fit, make_optimizer, make_schedule, without_compiler
from tests.conftest import words_printed

NOTHING = (torch.empty(0, 1, 8, 8), torch.empty(0, dtype=torch.int64))


def images_and_labels(count=32, classes=10):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(count, 1, 8, 8, generator=generator), torch.arange(count) % classes


def trained(recipe, name="mlp", seed=0, **options):
    torch.manual_seed(seed)
    model = build_model(name, recipe, (1, 8, 8), 10)
    generator = torch.Generator().manual_seed(seed)
    return model, list(fit(model, images_and_labels(), NOTHING, recipe, generator=generator, **options))


@pytest.mark.parametrize("name", MODELS)
def test_every_model_learns_32_images_by_heart(params, name):
    """With its own optimizer and schedule, given time."""
    changes = {"epochs": 150, "batch_size": 32, "label_smoothing": 0.0}
    model, _ = trained(getattr(params.models, name).model_copy(update=changes), name)
    assert evaluate(model, *images_and_labels()).accuracy == 1


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
    weight, bias = build_model("linear", recipe, (1, 8, 8), 10).parameters()
    generator, losses = torch.Generator().manual_seed(0), []
    for _ in range(2):
        for images, labels in batches(*images_and_labels(), 8, generator):
            loss = F.cross_entropy(images.flatten(1) @ weight.T + bias, labels)
            for parameter, gradient in zip((weight, bias), torch.autograd.grad(loss, (weight, bias)), strict=True):
                parameter.data -= 0.1 * gradient
            losses.append(loss.item())
    torch.testing.assert_close(model[1].weight, weight)
    assert epochs[0].train.loss == pytest.approx(sum(losses[:4]) / 4)
    assert epochs[1].train.loss == pytest.approx(sum(losses[4:]) / 4)


def test_validation_is_scored_after_each_epoch(params):
    """As `evaluate` scores it; None where there are no validation images."""
    recipe = params.models.mlp.model_copy(update={"epochs": 1, "batch_size": 8})
    torch.manual_seed(0)
    model = build_model("mlp", recipe, (1, 8, 8), 10)
    (epoch,) = fit(model, images_and_labels(), images_and_labels(16), recipe, generator=torch.Generator())
    assert epoch.validation == evaluate(model, *images_and_labels(16))
    assert trained(recipe)[1][0].validation is None


def test_bfloat16_trains_float32_weights(params):
    """Only products are rounded: the weights are near those of float32, but not the same."""
    recipe = params.models.mlp.model_copy(update={"epochs": 1, "batch_size": 8, "optimizer": "sgd"})
    exact, rounded = (trained(recipe, precision=dtype)[0] for dtype in (torch.float32, torch.bfloat16))
    assert rounded[1].weight.dtype == torch.float32
    assert not torch.equal(exact[1].weight, rounded[1].weight)
    torch.testing.assert_close(exact[1].weight, rounded[1].weight, atol=1e-3, rtol=0)


def test_batches_hold_each_image_once_with_its_label():
    """In another order each epoch; the incomplete last batch is dropped."""
    images, labels = torch.arange(10.0).view(10, 1, 1, 1), torch.arange(10)
    generator = torch.Generator().manual_seed(0)
    first, second = (torch.cat([b for _, b in batches(images, labels, 4, generator)]).tolist() for _ in range(2))
    assert len(first) == len(set(first)) == 8
    assert first != second
    assert all(torch.equal(some.view(-1).long(), answers) for some, answers in batches(images, labels, 3, generator))


def test_batch_larger_than_the_images_is_all_of_them():
    """Nothing is dropped where the incomplete batch is the only one."""
    (batch,) = batches(torch.zeros(3, 1, 1, 1), torch.arange(3), 128, torch.Generator())
    assert sorted(batch[1].tolist()) == [0, 1, 2]


@pytest.mark.parametrize(("name", "kind"), [("sgd", "SGD"), ("adam", "Adam"), ("adamw", "AdamW")])
def test_optimizer_is_the_recipes(params, name, kind):
    """With its learning rate and weight decay, and momentum for SGD."""
    changes = {"optimizer": name, "weight_decay": 0.25, "momentum": 0.5, "learning_rate": 0.125}
    recipe = params.models.linear.model_copy(update=changes)
    optimizer = make_optimizer(build_model("linear", recipe, (1, 8, 8), 10), recipe)
    assert type(optimizer).__name__ == kind
    assert (optimizer.defaults["lr"], optimizer.defaults["weight_decay"]) == (0.125, 0.25)
    assert optimizer.defaults.get("momentum", 0.5) == 0.5


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW])
def test_optimizer_without_compiler_is_torchs(params, kind, fused):
    """Bit for bit, over 30 steps."""
    options = {"lr": 0.01, "weight_decay": 0.05, "fused": fused}
    if kind is torch.optim.SGD:
        options["momentum"] = 0.9
    weights = []
    for each in (kind, without_compiler(kind)):
        torch.manual_seed(0)
        model = build_model("mlp", params.models.mlp, (1, 8, 8), 10)
        optimizer = each(model.parameters(), **options)
        images, labels = images_and_labels()
        for _ in range(30):
            optimizer.zero_grad()
            F.cross_entropy(model(images), labels).backward()
            optimizer.step()
        weights.append(torch.nn.utils.parameters_to_vector(model.parameters()))
    assert torch.equal(*weights)


def test_training_imports_no_compiler():
    """Torch's optimizers would, to tell it to leave them alone."""
    program = (
        "import sys, torch; from src.params import read_params; from src.training import OPTIMIZERS, fit;"
        "recipe = read_params().models.linear; train = torch.zeros(256, 1, 2, 2), torch.zeros(256, dtype=torch.int64);"
        "model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2));"
        "[list(fit(model, train, train, recipe.model_copy(update={'optimizer': optimizer, 'epochs': 1}),"
        " generator=torch.Generator())) for optimizer in OPTIMIZERS];"
        "print('torch._dynamo' in sys.modules)"
    )
    assert words_printed(program) == ["False"]


def test_one_cycle_rises_to_the_learning_rate_and_falls_to_nearly_0(params):
    """Over as many steps as it is told; `constant` is no schedule."""
    recipe = params.models.linear.model_copy(update={"schedule": "one_cycle", "learning_rate": 0.5})
    optimizer = make_optimizer(build_model("linear", recipe, (1, 8, 8), 10), recipe)
    schedule, rates = make_schedule(optimizer, recipe, 100), []
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
    model, images = build_model("resnet", recipe, (1, 8, 8), 10), images_and_labels()[0]
    torch.testing.assert_close(predict_logits(model, images, 5), predict_logits(model, images, 32))
    assert predict_logits(model, images, 5).shape == (32, 10)
    assert not model.training
