"""Residual network, small and downsampling early.

K. He and others, Deep residual learning for image recognition, https://arxiv.org/abs/1512.03385.
"""

from itertools import pairwise

from torch import Tensor, nn

from src.errors import MnistryError
from src.params import ResNet


def convolution(c_in: int, c_out: int, size: int = 3, stride: int = 1) -> nn.Sequential:
    """A convolution and its batch normalization."""
    return nn.Sequential(
        nn.Conv2d(c_in, c_out, size, stride=stride, padding=size // 2, bias=False), nn.BatchNorm2d(c_out)
    )


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut around them, which a 1x1 convolution fits where the shape changes."""

    def __init__(self, c_in: int, c_out: int, stride: int):
        super().__init__()
        last = convolution(c_out, c_out)
        self.residual = nn.Sequential(convolution(c_in, c_out, stride=stride), nn.ReLU(), last)
        same = c_in == c_out and stride == 1
        self.shortcut = nn.Identity() if same else convolution(c_in, c_out, size=1, stride=stride)
        self.activation = nn.ReLU()
        # Each block starts as its shortcut alone (Goyal and others, https://arxiv.org/abs/1706.02677).
        nn.init.zeros_(last.get_parameter("1.weight"))

    def forward(self, images: Tensor) -> Tensor:
        """Feature maps of shape (N, C_in, H, W) to (N, C_out, H / stride, W / stride)."""
        activated: Tensor = self.activation(self.residual(images) + self.shortcut(images))
        return activated


def build(recipe: ResNet, shape: tuple[int, int, int], num_classes: int) -> nn.Module:
    """A convolution with 2x2 max-pooling, groups of residual blocks that halve the sides, a linear layer on top."""
    channels, height, width = shape
    if min(height, width) < 2:
        raise MnistryError(f"models.resnet: images of {height}x{width} pixels are too small; expected at least 2x2")
    # Pooling right after the convolution leaves a quarter of the pixels to normalize.
    convolve, normalize = convolution(channels, recipe.channels[0])
    stem = [convolve, nn.MaxPool2d(2), normalize, nn.ReLU()]
    blocks = [ResidualBlock(recipe.channels[0], recipe.channels[0], 1) for _ in range(recipe.blocks)]
    for c_in, c_out in pairwise(recipe.channels):
        blocks += [ResidualBlock(c_in, c_out, 2), *(ResidualBlock(c_out, c_out, 1) for _ in range(recipe.blocks - 1))]
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(recipe.channels[-1], num_classes)]
    return nn.Sequential(*stem, *blocks, *head)
