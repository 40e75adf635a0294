"""The classifiers: one module a model, each with a function `build`."""

from importlib import import_module

from torch import nn

from src.params import Recipe


def build_model(name: str, recipe: Recipe, shape: tuple[int, int, int], num_classes: int) -> nn.Module:
    """The model `name`, freshly initialized from torch's global random state.

    shape: (C, H, W) of an image. The model maps float32 (N, C, H, W) to logits (N, num_classes).
    Raises MnistryError where it can't take images of that shape.
    """
    model: nn.Module = import_module(f"src.models.{name}").build(recipe, shape, num_classes)
    return model


def count_parameters(model: nn.Module) -> int:
    """The number of trained numbers in the model."""
    return sum(parameter.numel() for parameter in model.parameters())
