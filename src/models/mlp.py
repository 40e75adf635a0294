"""Multi-layer perceptron (T3)."""

from itertools import pairwise
from math import prod

from torch import nn

from src.params import MLP


def build(recipe: MLP, shape: tuple[int, int, int], num_classes: int) -> nn.Module:
    """Linear layers of the recipe's hidden sizes with leaky rectifiers between them."""
    layers: list[nn.Module] = [nn.Flatten()]
    sizes = (prod(shape), *recipe.hidden_sizes)
    for fan_in, fan_out in pairwise(sizes):
        layers += [nn.Linear(fan_in, fan_out), nn.LeakyReLU(recipe.negative_slope)]
    return nn.Sequential(*layers, nn.Linear(sizes[-1], num_classes))
