"""Training on what a pretrained backbone makes of each image: features, computed once."""

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from src.batches import Subset
from src.errors import MnistryError, reason
from src.memory import require_room_for_features
from src.models import is_finite
from src.outputs import is_unwritable, require_room
from src.params import Pretrained
from src.recipes import recipe_of_head
from src.resources import in_words
from src.training import fit
from src.weights import PACKAGED, Weights, load_weights

BATCH_SIZE = 64
"""Images that features are computed of between two looks at the progress bar."""
SMALLEST_STD = 1e-3
"""Of a feature; one that varies less over the training images is left as it is."""


def start_from_weights(model: nn.Module, recipe: Pretrained) -> Weights:
    """Give a pretrained classifier's backbone its weights; which they were. Raises MnistryError."""
    network: Any = model.get_submodule("network")
    weights, tensors = load_weights(recipe.backbone, network.hub_id, recipe.weights)
    network.load(tensors, in_order=recipe.backbone == PACKAGED, source=weights.source)
    if not is_finite(network.backbone):
        raise MnistryError(f"models.pretrained.backbone: {weights.source} has weights that are not finite numbers")
    return weights


def feature_subsets(
    model: nn.Module, train: Subset, validation: Subset, mirrored: bool, precision: torch.dtype,
    log: Callable[[str], None],
) -> tuple[Subset, Subset]:  # fmt: skip
    """The subsets with features in place of images; the head's first layer standardizes those of the training images.

    mirrored: each training image is followed by its mirror image, under the same label. The validation images'
    features are `features_at_inference`.
    """
    network: Any = model.get_submodule("network")
    what = f"{len(train)} training images{' and their mirror images' if mirrored else ''}"
    others = f", and of {len(validation)} validation images" if len(validation) else ""
    height, width = network.size
    log(f"computing the features of {what}, at {height}x{width}{others}")
    start = time.perf_counter()
    of_train = compute_features(model, train, mirrored, precision)
    of_validation = features_at_inference(model, validation, precision)
    log(f"{in_words(of_train.images.nbytes)} of features in {time.perf_counter() - start:.1f} s")
    standardize(network.head[0], of_train.images)
    return of_train, of_validation


def compute_features(model: nn.Module, subset: Subset, mirrored: bool, precision: torch.dtype) -> Subset:
    """The backbone's features of the subset's images, float32 of shape (n, F), in place of them.

    mirrored: each image's features are followed by those of its mirror image. They are in a temporary file, mapped
    into memory, that is gone when the process ends.
    """
    network: Any = model.get_submodule("network")
    labels, shape = subset.labels[subset.indices.to(subset.labels.device)], (len(subset), len(network.head[0].mean))
    if mirrored:
        labels, shape = labels.repeat_interleave(2), (2 * shape[0], shape[1])
    size = 4 * shape[0] * shape[1]
    require_room_for_features(size, labels.device)
    with _features_file(size) as file:
        for features in _features(model, subset, mirrored, precision):
            file.write(features.float().cpu().numpy().data)
        file.flush()
        # The map keeps the file, which has no name any more.
        mapped = np.memmap(file, np.float32, "c", shape=shape) if len(subset) else np.empty(shape, np.float32)
    return Subset(torch.from_numpy(mapped).to(labels.device), labels, torch.arange(shape[0]))


@contextmanager
def _features_file(size: int) -> Iterator[IO[bytes]]:
    """A temporary file without a name, for that many bytes; raises MnistryError where they don't fit."""
    folder, elsewhere = Path(tempfile.gettempdir()), "TMPDIR may name another folder for the features"
    try:
        require_room(folder / "features", size)
    except MnistryError as error:
        raise MnistryError(*error.args, elsewhere) from None
    with tempfile.TemporaryFile() as file:
        try:
            yield file
        except OSError as error:
            if not is_unwritable(error):
                raise
            raise MnistryError(
                f"{folder}: {reason(error)} after {in_words(file.tell())} of {in_words(size)} of features were "
                "written; make room there and run again",
                elsewhere,
            ) from None


def features_at_inference(model: nn.Module, subset: Subset, precision: torch.dtype) -> Subset:
    """The features of which the head makes the model's logits, float32 of shape (n, F), in place of the images.

    Of a model that averages its logits over mirror images, they are averages, too: the head is affine.
    """
    flips = bool(model.flips)
    features = compute_features(model, subset, flips, precision)
    if not flips:
        return features
    averages = features.images.unflatten(0, (len(subset), 2)).mean(1)
    return Subset(averages, features.labels[::2], torch.arange(len(subset)))


@torch.inference_mode()
def _features(model: nn.Module, subset: Subset, mirrored: bool, precision: torch.dtype) -> Iterator[Tensor]:
    model.eval()
    network: Any = model.get_submodule("network")
    bar = tqdm(total=len(subset), desc="features", unit="image", disable=None, dynamic_ncols=True, leave=False)
    with bar, torch.autocast(subset.images.device.type, precision, enabled=precision is not torch.float32):
        for images, _ in subset.in_order(BATCH_SIZE):
            both = torch.stack([images, images.flip(3)], 1).flatten(0, 1) if mirrored else images
            yield network.features(model.get_submodule("normalize")(both))
            bar.update(len(images))


def standardize(layer: nn.Module, features: Tensor) -> None:
    """Fit the layer to the features, shape (n, F): mean 0 and standard deviation 1."""
    total, squares = torch.zeros(2, features.shape[1], dtype=torch.float64)
    for chunk in features.split(4096):
        wide = chunk.cpu().double()
        total += wide.sum(0)
        squares += wide.square().sum(0)
    mean = total / len(features)
    std = (squares / len(features) - mean.square()).clamp(min=0).sqrt()
    layer.get_buffer("mean").copy_(mean)
    layer.get_buffer("scale").copy_(torch.where(std > SMALLEST_STD, 1 / std, 1.0))


def train_head(
    model: nn.Module, features: Subset, recipe: Pretrained, seed: int, class_weights: Tensor | None = None
) -> float:
    """Train the head alone, as before the whole network is trained; the last epoch's loss.

    class_weights: as `fit` takes them.
    """
    network: Any = model.get_submodule("network")
    none = Subset(features.images, features.labels, features.indices[:0])
    generator = torch.Generator().manual_seed(seed)
    epochs = fit(network.head, features, none, recipe_of_head(recipe), generator=generator, class_weights=class_weights)
    return [epoch.train.loss for epoch in epochs][-1]
