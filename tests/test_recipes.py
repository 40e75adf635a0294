"""What `auto` in a recipe becomes."""

import re
from argparse import ArgumentParser
from dataclasses import replace

import pytest

from benchmarks.recipes import asked
from src.errors import MnistryError
from src.models import build_model
from src.params import MODELS, Augment, OrAuto, Params, Pretrained, make_recipe
from src.recipes import (
    BY_TRAINED,
    LEAST_STEPS,
    Facts,
    complete,
    complete_params,
    decided_by_content,
    describe_recipe,
    epochs_for,
    recipe_of_head,
)
from src.yaml_files import Section
from tests.conftest import PROJECT, dataset_info


@pytest.fixture
def written(default_params: dict) -> Params:
    """params.yaml with its `auto`."""
    return Params.model_validate(default_params)


@pytest.mark.parametrize(
    ("model", "content", "epochs", "changes"),
    [
        ("linear", "characters", 8, {"shift": 0, "cutout": 0, "flip": False}),
        ("mlp", "characters", 15, {"shift": 0.04, "cutout": 0, "flip": False}),
        ("cnn", "characters", 3, {"shift": 0.04, "cutout": 0, "flip": False}),
        ("resnet", "characters", 7, {"shift": 0.07, "cutout": 0, "flip": False}),
        ("mlp", "objects", 15, {"shift": 0, "cutout": 0, "flip": False}),
        ("cnn", "objects", 16, {"shift": 0.04, "cutout": 0.15, "flip": True}),
        ("resnet", "objects", 36, {"shift": 0.04, "cutout": 0.25, "flip": True}),
        ("cnn", None, 16, {"shift": 0.04, "cutout": 0, "flip": False}),
        ("resnet", None, 36, {"shift": 0.07, "cutout": 0, "flip": False}),
    ],
)
def test_recipes_of_57000_images(written, model, content, epochs, changes):
    """Those of MNIST for characters, of FashionMNIST for objects; images of unknown content are never mirrored."""
    recipe = complete(model, getattr(written.models, model), Facts(57_000, content))
    assert recipe.epochs == epochs
    assert recipe.augment.model_dump() == changes | {"rotation": 0}


def test_objects_take_a_larger_mlp(written):
    """With a lower learning rate."""
    mlp = complete("mlp", written.models.mlp, Facts(57_000, "objects"))
    assert (mlp.hidden_sizes, mlp.learning_rate, mlp.label_smoothing) == ((1024, 512), 0.002, 0.1)
    mlp = complete("mlp", written.models.mlp, Facts(57_000, "characters"))
    assert (mlp.hidden_sizes, mlp.learning_rate, mlp.label_smoothing) == ((512,), 0.003, 0.1)


@pytest.mark.parametrize(
    ("content", "changes", "expected"),
    [
        ("characters", {}, ("muon", 0.01, 0.1, (16, 32, 64))),
        ("objects", {}, ("adam", 0.005, 0.1, (16, 64, 128))),
        (None, {}, ("adam", 0.005, 0.1, (16, 64, 128))),
        ("characters", {"learning_rate": 0.01}, ("adam", 0.01, 0.1, (16, 64, 128))),
        ("characters", {"optimizer": "sgd", "channels": (8,)}, ("sgd", 0.1, 0.1, (8,))),
        ("characters", {"optimizer": "muon"}, ("muon", 0.01, 0.1, (16, 32, 64))),
        ("characters", {"optimizer": "muon", "learning_rate": 0.02}, ("muon", 0.02, 0.1, (16, 32, 64))),
    ],
)
def test_many_characters_take_a_smaller_cnn_and_muon(written, content, changes, expected):
    """Where neither its optimizer nor its learning rate is written: a rate by itself is Adam's, as in the tutorials."""
    cnn = complete("cnn", written.models.cnn.model_copy(update=changes), Facts(57_000, content))
    assert (cnn.optimizer, cnn.learning_rate, cnn.label_smoothing, cnn.channels) == expected


@pytest.mark.parametrize(("images", "optimizer", "epochs"), [(10_000, "muon", 9), (9_999, "adam", 12)])
def test_fewer_characters_take_the_larger_cnn_and_adam(written, images, optimizer, epochs):
    """Below 10,000 of them, as ever."""
    cnn = complete("cnn", written.models.cnn, Facts(images, "characters"))
    assert (cnn.optimizer, cnn.epochs) == (optimizer, epochs)
    assert (cnn.channels, cnn.learning_rate, cnn.label_smoothing) == (
        ((16, 32, 64), 0.01, 0.1) if optimizer == "muon" else ((16, 64, 128), 0.005, 0.1)
    )


@pytest.mark.parametrize(
    ("model", "content", "colour", "expected"),
    [
        ("cnn", "objects", True, (60, 0.0025, 0.13, 0.15)),
        ("cnn", "objects", False, (43, 0.005, 0.04, 0.15)),
        ("cnn", "characters", True, (13, 0.005, 0.04, 0.0)),
        ("cnn", None, True, (43, 0.005, 0.04, 0.0)),
        ("resnet", "objects", True, (60, 0.01, 0.07, 0.0)),
        ("resnet", "objects", False, (60, 0.01, 0.04, 0.25)),
        ("resnet", "characters", True, (19, 0.01, 0.07, 0.0)),
        ("resnet", None, True, (60, 0.01, 0.07, 0.0)),
    ],
)
def test_objects_in_colour_have_recipes_of_their_own(written, model, content, colour, expected):
    """The cnn at a lower rate and longer, the resnet without cutout, both shifted farther; what is written stays."""
    facts, recipe = Facts(8000, content, side=32, colour=colour), getattr(written.models, model)
    completed = complete(model, recipe, facts)
    augment = completed.augment
    assert (completed.epochs, completed.learning_rate, augment.shift, augment.cutout) == expected
    written_augment = recipe.augment.model_copy(update={"shift": 0.2, "cutout": 0.1})
    recipe = recipe.model_copy(update={"epochs": 9, "learning_rate": 0.03, "augment": written_augment})
    completed = complete(model, recipe, facts)
    assert (completed.epochs, completed.learning_rate) == (9, 0.03)
    assert (completed.augment.shift, completed.augment.cutout) == (0.2, 0.1)


@pytest.mark.parametrize("model", ["linear", "mlp", "pretrained"])
def test_colour_changes_no_other_recipe(written, model):
    """Of objects."""
    grey, colour = (Facts(8000, "objects", side=32, colour=colour) for colour in (False, True))
    recipe = getattr(written.models, model)
    assert complete(model, recipe, grey) == complete(model, recipe, colour)


@pytest.mark.parametrize("model", ["mlp", "cnn", "resnet"])
def test_few_characters_are_turned(written, model):
    """And images of unknown content, but not objects, nor 25,000 images and more."""
    facts = Facts(24_999, "characters"), Facts(1_000), Facts(9_999, "objects"), Facts(25_000, "characters")
    turned = [complete(model, getattr(written.models, model), each).augment.rotation for each in facts]
    assert turned == [10, 10, 0, 0]


def test_few_objects_are_shifted_for_the_mlp(written):
    """Many aren't."""
    few, many = (complete("mlp", written.models.mlp, Facts(images, "objects")) for images in (24_999, 25_000))
    assert (few.augment.shift, many.augment.shift) == (0.04, 0)


@pytest.mark.parametrize("trained", ["head", "all"])
def test_pretrained_takes_what_suits_trained(written, trained):
    """Of many images, fewer epochs of the whole network; the head before it is trained as the head alone."""
    recipe = written.models.pretrained.model_copy(update={"trained": trained})
    completed = complete("pretrained", recipe, Facts(500, "objects"))
    many = complete("pretrained", recipe, Facts(9_500, "objects"))
    assert (many.epochs, many.augment.shift, many.augment.cutout) == (4 if trained == "all" else 30, 0, 0)
    changed = (0.1, 0.3) if trained == "all" else (0, 0)
    assert (completed.augment.shift, completed.augment.cutout) == changed
    assert {name: getattr(completed, name) for name in BY_TRAINED[trained]} == BY_TRAINED[trained]
    assert completed.augment.flip
    head = recipe_of_head(completed)
    expected = BY_TRAINED["head"] | {"image_size": BY_TRAINED[trained]["image_size"]}
    assert {name: getattr(head, name) for name in expected} == expected
    assert f"image_size {completed.image_size} (auto)" in describe_recipe(completed, recipe)


@pytest.mark.parametrize(
    ("base", "images", "batch_size", "epochs"),
    [(5, 57_000, 128, 5), (5, 1368, 128, 70), (36, 9_500, 128, 60), (16, 9_500, 128, 39), (5, 14_250, 128, 10),
     (5, 100, 128, LEAST_STEPS), (1, 10, 5, LEAST_STEPS // 2), (5, 10**9, 128, 1)],
)  # fmt: skip
def test_fewer_images_take_more_epochs(base, images, batch_size, epochs):
    """Inverse to the square root of their number, and no fewer steps than every model needs."""
    assert epochs_for(base, images, batch_size) == epochs


@pytest.mark.parametrize(
    ("optimizer", "rate"), [("adam", 0.003), ("adamw", 0.003), ("sgd", 0.1), ("muon", 0.01), ("auto", 0.003)]
)
def test_a_written_optimizer_takes_a_rate_of_its_own(written, optimizer, rate):
    """Adam's would be far too low for SGD, but not in a pretrained network; a rate that is written stays."""
    recipe = written.models.mlp.model_copy(update={"optimizer": optimizer})
    assert complete("mlp", recipe, Facts(1000)).learning_rate == rate
    assert complete("mlp", recipe.model_copy(update={"learning_rate": 0.5}), Facts(1000)).learning_rate == 0.5
    whole = written.models.pretrained.model_copy(update={"optimizer": optimizer, "trained": "all"})
    assert complete("pretrained", whole, Facts(1000)).learning_rate == 0.001


def test_facts_are_the_datasets():
    """Its images' shorter side, whichever that is, its classes and its content."""
    for shape in ((3, 12, 9), (3, 9, 12)):
        info = replace(dataset_info("abc", shape), content="objects")
        assert Facts.of(info, 5) == Facts(5, "objects", side=9, classes=3, colour=True)
    assert not Facts.of(dataset_info("abc", (1, 12, 9)), 5).colour


def test_softmax_regression_takes_a_higher_rate_of_small_images(written):
    """Digits' 8 pixels a side against MNIST's 28."""
    rates = [
        complete("linear", written.models.linear, Facts(1000, side=side)).learning_rate for side in (8, 15, 16, 28)
    ]
    assert rates == [0.01, 0.01, 0.003, 0.003]


@pytest.mark.parametrize(
    ("side", "channels"), [(28, (16, 64, 128)), (8, (16, 64, 128)), (7, (16, 64)), (2, (16,)), (1, (16,))]
)
def test_the_cnn_has_as_many_blocks_as_the_shorter_side_can_be_halved(written, side, channels):
    """An image of one pixel can't be, which is an error when the cnn is built; what is written stays."""
    info = dataset_info(shape=(1, side, 40))
    recipe = complete("cnn", written.models.cnn, Facts.of(info, 1000))
    assert recipe.channels == channels
    if side > 1:
        build_model("cnn", recipe, info)
    own = written.models.cnn.model_copy(update={"channels": (1, 2, 3, 4, 5)})
    assert complete("cnn", own, Facts.of(info, 1000)).channels == (1, 2, 3, 4, 5)


def test_what_the_content_decides_is_known_by_name(written):
    """But what is written."""
    cnn = written.models.cnn
    named = ["flip_at_inference", "augment.cutout", "augment.flip", "augment.rotation"]
    assert decided_by_content("cnn", cnn, Facts(1000)) == named
    augment = cnn.augment.model_copy(update={"flip": True, "cutout": 0.3})
    assert decided_by_content("cnn", cnn.model_copy(update={"augment": augment}), Facts(1000)) == ["augment.rotation"]
    assert decided_by_content("linear", written.models.linear, Facts(1000)) == []


@pytest.mark.parametrize(
    ("classes", "images", "content", "shift"),
    [
        (10, 299, "characters", 0.07),
        (10, 300, "characters", 0.04),
        (300, 8_999, None, 0.07),
        (300, 9_000, None, 0.04),
        (10, 299, "objects", 0.04),
    ],
)
def test_the_cnn_shifts_few_images_per_class_farther(written, classes, images, content, shift):
    """But for objects, of which that wasn't tried."""
    recipe = complete("cnn", written.models.cnn, Facts(images, content, classes=classes))
    assert recipe.augment.shift == shift


@pytest.mark.parametrize(("model", "epochs"), [("cnn", 41), ("resnet", 41), ("mlp", 52), ("linear", 28)])
def test_many_classes_take_more_steps_of_networks_that_convolve(written, model, epochs):
    """Of 300 classes with 16 images each, 1,500 and not 700; others have no use for them."""
    facts = Facts(4_800, "characters", classes=300)
    assert complete(model, getattr(written.models, model), facts).epochs == epochs


def test_the_rules_evidence_is_in_the_log():
    """By the headings that the docstring below RULES quotes."""
    source, log = ((PROJECT / name).read_text("utf-8") for name in ("src/recipes.py", "docs/log.md"))
    quoted = re.findall(r'"([^"]+)"', source.partition("Evidence in docs/log.md:")[2].partition('"""')[0])
    headings = re.findall(r"^## [\d-]+ (.*): ", log, re.MULTILINE)
    assert len(quoted) > 10
    assert {" ".join(each.split()) for each in quoted} <= set(headings)


@pytest.mark.parametrize("content", ["characters", "objects"])
def test_mirror_images_are_averaged_over_where_they_are_trained_on(written, content):
    """Unless it is written otherwise."""
    facts, recipe = Facts(1000, content), written.models.cnn
    assert complete("cnn", recipe, facts).flip_at_inference == (content == "objects")
    mirrored = recipe.model_copy(update={"augment": recipe.augment.model_copy(update={"flip": True})})
    assert complete("cnn", mirrored, facts).flip_at_inference
    assert not complete("cnn", mirrored.model_copy(update={"flip_at_inference": False}), facts).flip_at_inference


@pytest.mark.parametrize("model", MODELS)
def test_what_is_written_wins(written, model):
    """Whatever the rules say."""
    recipe = getattr(written.models, model)
    augment = recipe.augment.model_copy(update={"shift": 0.3, "flip": False})
    own = {"epochs": 3, "learning_rate": 0.5, "label_smoothing": 0.4, "augment": augment}
    completed = complete(model, recipe.model_copy(update=own), Facts(1000, "objects"))
    assert (completed.epochs, completed.learning_rate, completed.label_smoothing) == (3, 0.5, 0.4)
    assert (completed.augment.shift, completed.augment.flip) == (0.3, False)


def test_only_the_chosen_model_is_completed(written):
    """The others may have values that no rule knows."""
    params = complete_params(written, Facts(57_000))
    assert params.recipe.epochs == 15
    assert params.models.cnn == written.models.cnn


@pytest.mark.parametrize("model", MODELS)
def test_auto_is_a_value_wherever_it_is_taken(written, model):
    """Else it would be refused as late as training. A pretrained network's head alone can only flip, which is said."""
    own = getattr(written.models, model)
    if isinstance(own, Pretrained):
        own = own.model_copy(update={"trained": "all"})
    augment = own.augment.model_dump() | dict.fromkeys(taking_auto(Augment), "auto")
    content = own.model_dump() | dict.fromkeys(taking_auto(type(own)), "auto") | {"augment": augment}
    recipe = complete(model, type(own).model_validate(content), Facts(57_000))
    assert make_recipe(model, recipe.model_dump()) == recipe


def taking_auto(section: type[Section]) -> list[str]:
    """The names of the values that may be written as auto."""
    return [
        name for name, field in section.model_fields.items() if any(isinstance(each, OrAuto) for each in field.metadata)
    ]


def test_auto_without_a_rule_is_an_error(written):
    """By name, for a model that was added."""
    with pytest.raises(
        MnistryError, match=r"^models.other.augment.shift: no rule says what auto is; expected a value$"
    ):
        complete("other", written.models.cnn, Facts(57_000))


def test_classifiers_have_no_auto(written):
    """A file that says so is damaged."""
    with pytest.raises(ValueError, match=r"^epochs is auto$"):
        make_recipe("cnn", written.models.cnn.model_dump())
    content = complete("cnn", written.models.cnn, Facts(57_000)).model_dump()
    assert make_recipe("cnn", content).epochs == 16
    with pytest.raises(ValueError, match=r"^flip is auto$"):
        make_recipe("cnn", content | {"augment": content["augment"] | {"flip": "auto"}})


def test_recipe_in_a_line(written):
    """Values as params.yaml spells them, with what was left to the dataset."""
    recipe = complete("mlp", written.models.mlp, Facts(57_000, "objects"))
    assert describe_recipe(recipe, written.models.mlp) == (
        "epochs 15 (auto), batch_size 128, optimizer adam, learning_rate 0.002 (auto), momentum 0, weight_decay 0, "
        "schedule one_cycle, label_smoothing 0.1 (auto), flip_at_inference false (auto), "
        "hidden_sizes [1024, 512] (auto), negative_slope 0.1, "
        "augment.shift 0 (auto), augment.cutout 0, augment.flip false, augment.rotation 0 (auto)"
    )


def test_benchmarks_change_a_recipe_by_dotted_names(written):
    """Values as params.yaml spells them; what is left to auto is then completed."""
    parser = ArgumentParser(prog="recipes")
    recipe = asked(parser, written.models.cnn, ["epochs=7", "augment.flip=true", "channels=[4, 8]", "optimizer=sgd"])
    assert (recipe.epochs, recipe.augment.flip, recipe.channels, recipe.optimizer) == (7, True, (4, 8), "sgd")
    assert complete("cnn", recipe, Facts(1000)).flip_at_inference


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("epoch=5", "--set: epoch is not a known key; did you mean epochs?"),
        ("augment.flop=1", "--set: augment.flop is not a known key; did you mean flip?"),
        ("epochs", "--set: 'epochs'; expected KNOB=VALUE"),
        ("=5", "--set: '=5'; expected KNOB=VALUE"),
        ("epochs=", "--set: epochs is null; expected an integer, or auto"),
        ("epochs=0", "--set: epochs is 0; expected a number of at least 1, or auto"),
        ("optimizer=foo", "--set: optimizer is 'foo'; expected one of adam"),
        ("channels=[4", "--set: 'channels=[4' is not a value in YAML"),
    ],
)
def test_benchmarks_refuse_what_no_recipe_has(written, capsys, word, message):
    """Else the recipe as it is would be measured under another's name."""
    with pytest.raises(SystemExit):
        asked(ArgumentParser(prog="recipes"), written.models.cnn, [word])
    assert message in capsys.readouterr().err
