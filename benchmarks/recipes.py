"""What a recipe's `auto` values are worth: `python -m benchmarks.recipes data/normalized/digits --model cnn`.

Trains, on the device of params.yaml, by the recipe as it is and by others whose knobs are drawn at random, all judged
on the same images, which are held out of the training split. Prints a table in Markdown, the best first; the test
split is not read.
"""

import argparse
import random
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import torch
import yaml
from pydantic import ValidationError

from commands import count
from src.augmentation import make_augmentation
from src.batches import make_subset
from src.datasets import DatasetInfo, load_info, load_split
from src.devices import choose_device, choose_precision, place
from src.explanations import explain
from src.models import build_model
from src.params import MODELS, Recipe, read_params
from src.recipes import Facts, RecipeT, complete
from src.runtime import prepare_process
from src.training import evaluate, fit

HELD_OUT = 10_000
"""Images that judge, at most; of a smaller training split, a fifth."""
FROM_SCRATCH = [model for model in MODELS if model != "pretrained"]
"""The models that benchmarks train here; `benchmarks.few` has the pretrained network."""
KNOBS: dict[str, tuple[Any, ...]] = {
    "epochs": (0.33, 0.5, 0.7, 1.0, 1.4, 2.0),
    "batch_size": (32, 64, 128),
    "learning_rate": (0.5, 1.0, 2.0),
    "label_smoothing": (0.0, 0.05, 0.1),
    "augment.shift": (0.0, 0.04, 0.07, 0.13),
    "augment.cutout": (0.0, 0.15, 0.25),
    "augment.flip": (False, True),
    "augment.rotation": (0.0, 5.0, 10.0),
}
"""What is drawn from: of epochs and learning rates, multiples of the recipe's; else values."""


def main() -> None:
    """Print each recipe's accuracy as it is known, then the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.recipes", description=__doc__)
    parser.add_argument("folder", type=Path, help="a normalized dataset")
    parser.add_argument("--model", choices=FROM_SCRATCH, default="cnn")
    parser.add_argument("--images", type=count, help="of the training split to train on (all but those held out)")
    parser.add_argument("--trials", type=count, default=20, help="recipes, the own one among them (%(default)s)")
    parser.add_argument("--seeds", type=count, default=3, help="trainings of each recipe (%(default)s)")
    parser.add_argument(
        "--set", nargs="*", default=[], metavar="KNOB=VALUE", help="try only params.yaml's recipe with this"
    )
    arguments = parser.parse_args()
    prepare_process()
    data = Data(arguments.folder, arguments.images, choose_device(read_params().device))
    written, facts = getattr(read_params().models, arguments.model), data.facts(0)
    if arguments.set:
        recipes = {", ".join(arguments.set): complete(arguments.model, asked(parser, written, arguments.set), facts)}
    else:
        own = complete(arguments.model, written, facts)
        changes = draw_changes(own, arguments.trials - 1)
        recipes = {"**as it is**": own} | {describe(change): changed(own, change) for change in changes}
    rows = []
    for name, recipe in recipes.items():
        start = time.process_time()
        accuracies = [data.train(arguments.model, recipe, seed) for seed in range(arguments.seeds)]
        seconds = (time.process_time() - start) / arguments.seeds
        rows.append((mean(accuracies), accuracies, seconds, name))
        print(f"{mean(accuracies):.2f} ({seconds:.0f} s): {name}", flush=True)
    print("\n| held out, % | lowest and highest | s of the processor | recipe |\n|---|---|---|---|")
    for average, accuracies, seconds, name in sorted(rows, key=lambda row: -row[0]):
        spread = f"{min(accuracies):.2f} to {max(accuracies):.2f}"
        print(f"| {average:.2f} | {spread} | {seconds:.0f} | {name} |")


class Data:
    """A normalized dataset's training images, and what is held out of them."""

    def __init__(self, folder: Path, count: int | None, device: torch.device):
        self.device = device
        self.info: DatasetInfo = load_info(folder)
        self.images, self.labels = load_split(folder, "train", self.info)
        self.held_out = min(HELD_OUT, len(self.labels) // 5)
        self.count = min(count or len(self.labels), len(self.labels) - self.held_out)

    def facts(self, seed: int) -> Facts:
        """What the rules go by."""
        return Facts.of(self.info, len(self.split(seed)[0]))

    def split(self, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Indices of the images to train on and of those to judge by, drawn from the seed."""
        order = np.random.default_rng(seed).permutation(len(self.labels))
        return order[self.held_out :][: self.count], order[: self.held_out]

    def train(self, model: str, recipe: Recipe, seed: int) -> float:
        """The accuracy on the held-out images after training, in percent."""
        torch.manual_seed(seed)
        device = self.device
        train, held_out = (make_subset(self.images, self.labels, device, each) for each in self.split(seed))
        network = place(build_model(model, recipe, self.info), device)
        epochs = fit(
            network,
            train,
            replace(held_out, indices=held_out.indices[:0]),
            recipe,
            generator=torch.Generator().manual_seed(seed),
            augment=make_augmentation(recipe.augment, seed, device),
            precision=choose_precision("auto", device, network),
        )
        # The last epoch's weights are judged alone: all epochs' would take longer than to train on few images.
        deque(epochs, maxlen=0)
        return evaluate(network, held_out).accuracy * 100


def draw_changes(own: Recipe, count: int) -> Iterator[dict[str, Any]]:
    """What differs from the recipe in each trial: always the same draws."""
    draw = random.Random(0)
    for _ in range(count):
        change = {name: draw.choice(values) for name, values in KNOBS.items()}
        change["epochs"] = max(round(own.epochs * change["epochs"]), 1)
        change["learning_rate"] *= own.learning_rate
        change["flip_at_inference"] = change["augment.flip"]
        yield change


def changed(recipe: RecipeT, change: dict[str, Any]) -> RecipeT:
    """The recipe with other values, by their dotted names; raises ValidationError for what it can't have."""
    return type(recipe).model_validate(_content(recipe, change))


def _content(recipe: Recipe, change: dict[str, Any]) -> dict[str, Any]:
    content = recipe.model_dump(mode="json")
    augment = content["augment"]
    for name, value in change.items():
        section = augment if name.startswith("augment.") else content
        section[name.removeprefix("augment.")] = value
    return content


def asked(parser: argparse.ArgumentParser, recipe: RecipeT, words: list[str]) -> RecipeT:
    """The recipe with what `words`, each KNOB=VALUE, change; ends the program with one line where it can't be."""
    change = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not name or not equals:
            parser.error(f"--set: {word!r}; expected KNOB=VALUE")
        try:
            change[name] = yaml.safe_load(value)
        except yaml.YAMLError:
            parser.error(f"--set: {word!r} is not a value in YAML")
    try:
        return changed(recipe, change)
    except ValidationError as error:
        root = yaml.compose(yaml.safe_dump(_content(recipe, change)))
        parser.error(f"--set: {explain(error.errors()[0], type(recipe), root)}")


def describe(change: dict[str, Any]) -> str:
    """The change in words."""
    return ", ".join(f"{name} {value:g}" for name, value in change.items())


if __name__ == "__main__":
    main()
