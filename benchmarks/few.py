"""How well a model learns from few images: `python -m benchmarks.few data/normalized/photos --model pretrained`.

Trains by the recipe of params.yaml and on its device, once per seed, as the pipeline does it, a twentieth of the images
held out. Prints each accuracy on the test split, then their mean and standard deviation. Fewer images than there are
are drawn once, and the features of a pretrained network are computed once, for all seeds.
"""

import argparse
import time
from collections import deque
from dataclasses import replace
from pathlib import Path
from statistics import mean, stdev

import numpy as np
import torch
from torch import nn

from benchmarks.recipes import asked
from commands import count
from src.augmentation import make_augmentation
from src.batches import Subset, make_subset
from src.datasets import DatasetInfo, load_info, load_split
from src.devices import choose_device, choose_precision, place
from src.models import build_model
from src.params import MODELS, Pretrained, Recipe, read_params
from src.recipes import Facts, complete
from src.runtime import prepare_process
from src.splits import stratified_split
from src.training import evaluate, fit

DRAW = np.random.default_rng


def main() -> None:
    """Print each seed's accuracy as it is known, then what they have in common."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.few", description=__doc__)
    parser.add_argument("folder", type=Path, help="a normalized dataset")
    parser.add_argument("--model", choices=MODELS, default="pretrained")
    parser.add_argument("--images", type=count, help="of the training split (all)")
    parser.add_argument("--test-images", type=count, help="of the test split, the same for all seeds (all)")
    parser.add_argument("--seeds", type=count, default=5, help="trainings (%(default)s)")
    parser.add_argument("--set", nargs="*", default=[], metavar="KNOB=VALUE", help="of the recipe, such as trained=all")
    arguments = parser.parse_args()
    prepare_process()
    data = Data(arguments.folder, arguments.images, arguments.test_images, choose_device(read_params().device))
    written = asked(parser, getattr(read_params().models, arguments.model), arguments.set)
    accuracies = []
    for seed in range(arguments.seeds):
        start = time.process_time()
        accuracies.append(data.train(arguments.model, written, seed))
        print(f"seed {seed}: {accuracies[-1]:.2f} ({time.process_time() - start:.0f} s of the processor)", flush=True)
    spread = f" ± {stdev(accuracies):.2f}" if len(accuracies) > 1 else ""
    print(
        f"{arguments.model}, {len(data.train_images)} images: {mean(accuracies):.2f}{spread} %, {len(accuracies)} seeds"
    )


class Data:
    """A normalized dataset, of which some images are trained on, and the features of those looked at before."""

    def __init__(self, folder: Path, count: int | None, test_count: int | None, device: torch.device):
        self.device = device
        self.info: DatasetInfo = load_info(folder)
        images, labels = load_split(folder, "train", self.info)
        indices = np.arange(len(labels))
        if count and count < len(indices):
            _, indices = stratified_split(labels, count / len(indices), DRAW(0), self.info.class_names)
        self.train_images = make_subset(images, labels, device, indices)
        images, labels = load_split(folder, "test", self.info)
        self.test_images = make_subset(images, labels, device, np.sort(DRAW(0).permutation(len(labels))[:test_count]))
        self.features: dict[bool, Subset] = {}

    def train(self, name: str, written: Recipe, seed: int) -> float:
        """The accuracy on the test images, in percent, of the model `name`."""
        torch.manual_seed(seed)
        train = self.train_images
        labels = train.labels[train.indices].cpu().numpy()
        held_out = read_params().train.validation_fraction
        kept, _ = stratified_split(labels, held_out, DRAW(seed), self.info.class_names)
        recipe = complete(name, written, Facts.of(self.info, len(kept)))
        model = place(build_model(name, recipe, self.info), self.device)
        learner, learned, test = model, replace(train, indices=train.indices[kept]), self.test_images
        if isinstance(recipe, Pretrained):
            learner, learned, test = self.pretrained_learner(model, kept, learned, recipe, seed)
        augment = make_augmentation(recipe.augment, seed, self.device) if learner is model else None
        nothing, generator = replace(learned, indices=learned.indices[:0]), torch.Generator().manual_seed(seed)
        precision = choose_precision("auto", self.device, model)
        deque(fit(learner, learned, nothing, recipe, generator=generator, augment=augment, precision=precision), 0)
        return evaluate(learner, test).accuracy * 100

    def pretrained_learner(
        self, model: nn.Module, kept: np.ndarray, learned: Subset, recipe: Pretrained, seed: int
    ) -> tuple[nn.Module, Subset, Subset]:
        """What is fitted to what and judged by what; kept: which of the training images are in `learned`."""
        from src.transfer import compute_features, features_at_inference, standardize, start_from_weights, train_head

        start_from_weights(model, recipe)
        alone = recipe.trained == "head"
        if not self.features:
            mirrored = alone and recipe.augment.flip
            self.features[True] = compute_features(model, self.train_images, mirrored, torch.float32)
            if alone:
                self.features[False] = features_at_inference(model, self.test_images, torch.float32)
        views = len(self.features[True]) // len(self.train_images)
        rows = (torch.from_numpy(kept)[:, None] * views + torch.arange(views)).flatten()
        known = self.features[True]
        features = Subset(known.images[rows], known.labels[rows], torch.arange(len(rows)))
        head = model.get_submodule("network.head")
        standardize(head.get_submodule("0"), features.images)
        if alone:
            return head, features, self.features[False]
        train_head(model, features, recipe, seed)
        return model, learned, self.test_images


if __name__ == "__main__":
    main()
