"""Convolutional network (T5)."""

from itertools import pairwise

from torch import nn

from src.errors import MnistryError
from src.params import CNN


def build(recipe: CNN, shape: tuple[int, int, int], num_classes: int) -> nn.Module:
    """Blocks of convolution, 2x2 max-pooling and rectifier, one per number of channels, then a linear layer.

    Pooling before the rectifier gives what the tutorial's other order gives, from a quarter of the rectifier's work.
    """
    channels, height, width = shape
    halvings = len(recipe.channels)
    if min(height, width) >> halvings == 0:
        raise MnistryError(
            f"models.cnn.channels: {halvings} blocks halve {height}x{width} images to nothing; "
            f"expected at most {min(height, width).bit_length() - 1}"
        )
    widest = 2 * max(height, width) - 1
    if recipe.kernel_size > widest:
        raise MnistryError(
            f"models.cnn.kernel_size: {recipe.kernel_size}; expected at most {widest}, beyond which a window's outer "
            f"weights never meet a pixel of {height}x{width} images"
        )
    layers: list[nn.Module] = []
    for c_in, c_out in pairwise((channels, *recipe.channels)):
        layers += [nn.Conv2d(c_in, c_out, recipe.kernel_size, padding="same"), nn.MaxPool2d(2), nn.ReLU()]
    head = nn.Linear(recipe.channels[-1] * (height >> halvings) * (width >> halvings), num_classes)
    nn.init.xavier_uniform_(head.weight)
    return nn.Sequential(*layers, nn.Flatten(), head)
