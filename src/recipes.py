"""What `auto` in a recipe becomes: what suits the dataset, by facts that are known before training."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypeVar, get_args

from src.batches import steps_per_epoch
from src.datasets import DatasetInfo
from src.decoding import Content
from src.errors import MnistryError
from src.params import Params, Pretrained, Recipe, is_auto

MNIST_IMAGES = 57_000
"""Training images, without those held out, for which the numbers of epochs below are meant."""
MOST_EPOCHS = 60
"""Of fewer images: on 900 photographs, 40, 80 and 124 epochs of the cnn are equally good."""
LEAST_STEPS = 700
"""In all: with fewer, linear and cnn underfit on digits."""
STEPS_PER_CLASS = 5
"""Of the cnn and the resnet, at least: 300 classes of 16 images each take more steps than 10 classes do."""
FEW_PER_CLASS = 30
"""Images: with fewer, the cnn shifts characters farther, which helps 47 and 300 classes of 16 images each."""
SMALL_SIDE = 16
"""Pixels: softmax regression takes larger weights of images whose shorter side has fewer, as digits' 8 against 28."""
MANY_IMAGES = 25_000
"""From here on, no image is turned, and the mlp doesn't shift objects. Rotation helps the cnn at 20,000 and shifts the
mlp at 10,000; at 48,000, neither does."""
MUON_IMAGES = 10_000
"""From here on, the cnn learns characters by MANY_CHARACTERS."""
MANY_CHARACTERS = {"epochs": 3, "optimizer": "muon", "learning_rate": 0.01, "channels": (16, 32, 64)}
"""As accurate as Adam in five epochs of 16, 64, 128 channels, in a third of the time; of MNIST, the one set tried."""
PHOTOGRAPHS = {"epochs": 23, "learning_rate": 0.0025, "augment.shift": 0.13}
"""Of the cnn on objects in colour, of which 800 and 8,000 photographs were tried. Objects in grey, FashionMNIST's, are
worse off at that rate."""


@dataclass(frozen=True)
class Facts:
    """What the rules go by: how many images to train on and what they show, if that is known.

    side: the shorter one, in pixels. classes: how many. colour: whether images have more than one channel.
    """

    images: int
    content: Content | None = None
    side: int = 28
    classes: int = 10
    colour: bool = False

    @classmethod
    def of(cls, dataset: DatasetInfo, images: int) -> "Facts":
        """Those of a dataset of which so many images are trained on."""
        channels, *sides = dataset.shape
        return cls(images, dataset.content, min(sides), len(dataset.class_names), channels > 1)


def epochs_for(base: int, images: int, batch_size: int, least_steps: int = LEAST_STEPS) -> int:
    """The number of epochs for a model that takes `base` of them for 57,000 images.

    It is inverse to the square root of the number of images, up to MOST_EPOCHS; but `least_steps` are taken at least.
    """
    epochs = min(round(base * math.sqrt(MNIST_IMAGES / images)), max(base, MOST_EPOCHS))
    return max(epochs, math.ceil(least_steps / steps_per_epoch(images, batch_size)), 1)


def _linear(facts: Facts, _: Recipe) -> dict[str, Any]:
    return {"epochs": 8, "learning_rate": 0.01 if facts.side < SMALL_SIDE else 0.003}


def _mlp(facts: Facts, _: Recipe) -> dict[str, Any]:
    objects = facts.content == "objects"
    return {
        "epochs": 15,
        "learning_rate": 0.002 if objects else 0.003,
        "label_smoothing": 0.1,
        "augment.shift": 0.0 if objects and facts.images >= MANY_IMAGES else 0.04,
        "augment.rotation": _rotation(facts),
        "hidden_sizes": (1024, 512) if objects else (512,),
    }


def _cnn(facts: Facts, written: Recipe) -> dict[str, Any]:
    objects, characters = facts.content == "objects", facts.content == "characters"
    values: dict[str, Any] = {
        "epochs": 5 if characters else 16,
        "learning_rate": 0.005,
        "steps_per_class": STEPS_PER_CLASS,
        "channels": (16, 64, 128),
        "label_smoothing": 0.1,
        "augment.shift": 0.07 if not objects and facts.images < FEW_PER_CLASS * facts.classes else 0.04,
        "augment.cutout": 0.15 if objects else 0.0,
        "augment.flip": objects,
        "augment.rotation": _rotation(facts),
    }
    if characters and facts.images >= MUON_IMAGES and _goes_with_muon(written):
        values |= MANY_CHARACTERS
    if objects and facts.colour:
        values |= PHOTOGRAPHS
    # Each block halves the image, so that small ones take fewer.
    return values | {"channels": values["channels"][: max(facts.side.bit_length() - 1, 1)]}


def _goes_with_muon(written: Recipe) -> bool:
    """Whether neither another optimizer is written nor a learning rate by itself, which is Adam's, as in tutorials."""
    return written.optimizer == "muon" or (is_auto(written.optimizer) and is_auto(written.learning_rate))


def _resnet(facts: Facts, _: Recipe) -> dict[str, Any]:
    objects = facts.content == "objects"
    # Those in colour, photographs, are shifted as characters are, and nothing is cut out of them.
    grey_objects = objects and not facts.colour
    return {
        "epochs": 7 if facts.content == "characters" else 36,
        "steps_per_class": STEPS_PER_CLASS,
        "optimizer": "adamw",
        "learning_rate": 0.01,
        "label_smoothing": 0.1,
        "augment.shift": 0.04 if grey_objects else 0.07,
        "augment.cutout": 0.25 if grey_objects else 0.0,
        "augment.flip": objects,
        "augment.rotation": _rotation(facts),
    }


def _rotation(facts: Facts) -> float:
    return 0.0 if facts.content == "objects" or facts.images >= MANY_IMAGES else 10.0


def _pretrained(facts: Facts, recipe: Recipe) -> dict[str, Any]:
    assert isinstance(recipe, Pretrained)
    objects = facts.content == "objects"
    values = BY_TRAINED[recipe.trained] | {"augment.flip": objects}
    if recipe.trained == "head":
        return values
    if facts.images >= MANY_FOR_ALL:
        return values | {"epochs": EPOCHS_OF_MANY}
    return values | {"augment.shift": 0.1, "augment.cutout": 0.3 if objects else 0.0}


MANY_FOR_ALL = 5_000
EPOCHS_OF_MANY = 4
"""Of `trained: all`, with so many training images and more."""
BY_TRAINED: dict[str, dict[str, Any]] = {
    "head": {
        "epochs": 30,
        "batch_size": 128,
        "optimizer": "adam",
        "learning_rate": 0.003,
        "weight_decay": 0.1,
        "image_size": 160,
    },
    "all": {
        "epochs": 10,
        "batch_size": 32,
        "optimizer": "adamw",
        "learning_rate": 0.001,
        "weight_decay": 0.05,
        "image_size": 160,
    },
}
"""What suits the pretrained model for each choice of `trained`, with fewer than MANY_FOR_ALL images."""

RATES = {"sgd": 0.1, "muon": 0.01}
"""What an automatic learning rate becomes where one of these optimizers is written; those of the rules are Adam's.

A pretrained network keeps the rule's: all of it diverges by SGD at 0.1.
"""
PLAIN: dict[str, Any] = {
    "optimizer": "adam",
    "label_smoothing": 0.0,
    "augment.shift": 0.0,
    "augment.cutout": 0.0,
    "augment.flip": False,
    "augment.rotation": 0.0,
}
"""What `auto` becomes where a model's rule doesn't say."""
RULES: dict[str, Callable[[Facts, Recipe], dict[str, Any]]] = {
    "linear": _linear,
    "mlp": _mlp,
    "cnn": _cnn,
    "resnet": _resnet,
    "pretrained": _pretrained,
}
"""For each model, what `auto` in its recipe becomes, by the dotted names of the values; epochs as for 57,000 images.

On characters, they are the recipes that were tuned on MNIST; on objects, those on FashionMNIST, and in colour the cnn's
and the resnet's on photographs. Where it isn't known what the images show, they are changed as characters may be, for
as many epochs as objects take.

Evidence in docs/log.md:

- epochs: "How many epochs fewer images take", "Many classes, and 10,000 images"
- linear: "Softmax regression at lower rates"
- mlp: "mlp on FashionMNIST, two layers of 1024 and 512", "Few characters are turned, and labels smoothed"
- cnn: "cnn on MNIST by Muon, fewer channels and epochs", "cnn on FashionMNIST, cutout", "Few characters are turned, and
  labels smoothed", "Many classes, and 10,000 images", "cnn on photographs, longer, slower and shifted farther"
- resnet: "resnet with AdamW, 7 epochs", "resnet on MNIST, smoothed labels", "resnet on FashionMNIST, more epochs and
  more augmentation", "Twenty recipes for the resnet"
- pretrained: "What the pretrained network's head sees", "All of the network on 10,000 photographs", "All of the network
  on few photographs, shifted and cut"
- a written optimizer's rate: "What SGD and Muon take where they are written"
- all: "Twenty recipes for few images and many classes, cnn", "Averages over mirror images at inference"
"""

RecipeT = TypeVar("RecipeT", bound=Recipe)


def complete(model: str, recipe: RecipeT, facts: Facts) -> RecipeT:
    """The model's recipe with a value for each `auto`; what is written stays.

    Raises MnistryError for a model that has no rule.
    """
    values = PLAIN | RULES[model](facts, recipe) if model in RULES else {}
    if is_auto(recipe.epochs) and "epochs" in values and not isinstance(recipe, Pretrained):
        least_steps = max(LEAST_STEPS, values.get("steps_per_class", 0) * facts.classes)
        values["epochs"] = epochs_for(values["epochs"], facts.images, recipe.batch_size, least_steps)
    if recipe.optimizer in RATES and not isinstance(recipe, Pretrained):
        values["learning_rate"] = RATES[recipe.optimizer]

    def value_of(name: str, written: Any) -> Any:
        if not is_auto(written):
            return written
        if name not in values:
            raise MnistryError(f"models.{model}.{name}: no rule says what auto is; expected a value")
        return values[name]

    augment = {name: value_of(f"augment.{name}", written) for name, written in recipe.augment}
    values["flip_at_inference"] = augment["flip"]
    plain = {name: value_of(name, written) for name, written in recipe if name != "augment"}
    return recipe.model_copy(update=plain | {"augment": recipe.augment.model_copy(update=augment)})


def recipe_of_head(recipe: Pretrained) -> Pretrained:
    """That by which the head alone is trained, on features, before the rest is."""
    return recipe.model_copy(update={name: value for name, value in BY_TRAINED["head"].items() if name != "image_size"})


def complete_params(params: Params, facts: Facts) -> Params:
    """The params with the chosen model's recipe completed; raises MnistryError."""
    recipe = complete(params.model, params.recipe, facts)
    return params.model_copy(update={"models": params.models.model_copy(update={params.model: recipe})})


def describe_recipe(recipe: Recipe, written: Recipe) -> str:
    """A completed recipe in one line, and which of its values were written as auto."""
    asked = _by_dotted_names(written)
    return ", ".join(
        f"{name} {_spelt(value)}{' (auto)' if is_auto(asked[name]) else ''}"
        for name, value in _by_dotted_names(recipe).items()
    )


def decided_by_content(model: str, recipe: Recipe, facts: Facts) -> list[str]:
    """The dotted names of the values that depend on what the images show."""
    first, *others = (
        _by_dotted_names(complete(model, recipe, replace(facts, content=content)))
        for content in (None, *get_args(Content))
    )
    return [name for name, value in first.items() if any(other[name] != value for other in others)]


def _by_dotted_names(recipe: Recipe) -> dict[str, Any]:
    augment = {f"augment.{name}": value for name, value in recipe.augment}
    return {name: value for name, value in recipe if name != "augment"} | augment


def _spelt(value: Any) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(map(str, value))}]"
    return str(value).lower() if isinstance(value, bool) else f"{value:g}" if isinstance(value, float) else str(value)
