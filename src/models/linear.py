"""Softmax regression (T2): one linear layer."""

from math import prod

from torch import nn

from src.params import Linear


def build(_: Linear, shape: tuple[int, int, int], num_classes: int) -> nn.Module:
    """One linear layer over the pixels."""
    return nn.Sequential(nn.Flatten(), nn.Linear(prod(shape), num_classes))
