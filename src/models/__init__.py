"""The classifiers: one module per model, each with a function `build`."""

from importlib import import_module

import torch
from torch import Tensor, nn

from src.datasets import DatasetInfo
from src.normalization import Normalization
from src.params import Recipe, is_auto


class NormalizeCodes(nn.Module):
    """A classifier's first layer: 8-bit codes to code * scale + offset, channel by channel, saved with the weights."""

    scale: Tensor
    offset: Tensor

    def __init__(self, normalization: Normalization):
        super().__init__()
        for name in ("scale", "offset"):
            numbers = torch.tensor(getattr(normalization, name), dtype=torch.float32)
            self.register_buffer(name, numbers[:, None, None])

    def forward(self, codes: Tensor) -> Tensor:
        """Codes, uint8 of shape (N, C, H, W), to float32 of the same shape."""
        return codes.float().mul_(self.scale).add_(self.offset)


class Calibrate(nn.Module):
    """A classifier's last layer: logits divided by a temperature that is fitted after training, saved with the weights.

    In training, the logits stay as they are.
    """

    temperature: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("temperature", torch.ones(()))

    def forward(self, logits: Tensor) -> Tensor:
        """Logits, shape (N, K), to logits of the same classes."""
        return logits if self.training else logits / self.temperature


class ImageClassifier(nn.Sequential):
    """From 8-bit codes, uint8 of shape (N, C, H, W), to logits (N, K): normalization, a network, and calibration.

    flips: whether it averages the network's logits over each image and its mirror image, but for training.
    """

    normalize: NormalizeCodes
    network: nn.Module
    calibrate: Calibrate

    def __init__(self, normalization: Normalization, network: nn.Module, flips: bool = False):
        super().__init__()
        self.flips = flips
        self.normalize = NormalizeCodes(normalization)
        self.network = network
        self.calibrate = Calibrate()

    def forward(self, codes: Tensor) -> Tensor:
        """The logits, float32."""
        images = self.normalize(codes)
        logits = self.network(images)
        if self.flips and not self.training:
            logits = (logits + self.network(images.flip(3))) / 2
        calibrated: Tensor = self.calibrate(logits)
        return calibrated


def build_model(name: str, recipe: Recipe, dataset: DatasetInfo) -> ImageClassifier:
    """The classifier `name`, freshly initialized from torch's global random state.

    recipe: completed; ValueError where flip_at_inference is still auto. Raises MnistryError where the model can't take
    images of the dataset's shape.
    """
    if is_auto(recipe.flip_at_inference):
        raise ValueError("flip_at_inference is still auto, which is true to Python; complete the recipe first")
    network = build_network(name, recipe, dataset.shape, len(dataset.class_names))
    if undo := getattr(network, "undo", None):
        # It was trained elsewhere, with a normalization of its own.
        undo(dataset.normalization)
    return ImageClassifier(dataset.normalization, network, recipe.flip_at_inference)


def build_network(name: str, recipe: Recipe, shape: tuple[int, int, int], num_classes: int) -> nn.Module:
    """What is between the two: from normalized images, float32 of shape (N, C, H, W), to logits (N, K)."""
    network: nn.Module = import_module(f"src.models.{name}").build(recipe, shape, num_classes)
    return network


def temperature_of(model: nn.Module) -> Tensor:
    """The temperature of the model's last layer, float32 of shape (); to fill it sets it."""
    return model.get_submodule("calibrate").get_buffer("temperature")


def count_parameters(model: nn.Module) -> int:
    """The number of parameters of the model."""
    return sum(parameter.numel() for parameter in model.parameters())


def is_finite(model: nn.Module) -> bool:
    """Whether all of the model's weights and buffers are finite numbers."""
    return bool(torch.stack([tensor.isfinite().all() for tensor in model.state_dict().values()]).all())
