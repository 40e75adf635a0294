"""Where in an image a classifier looked: Grad-CAM, R. Selvaraju and others, https://arxiv.org/abs/1610.02391.

Gradients are multiplied with the maps pixel by pixel, R. Draelos and L. Carin, https://arxiv.org/abs/2011.08891: their
means, Grad-CAM's own, are the same where the network averages its maps, and wrong where it weights each pixel by
itself, as the cnn does; most of its maps were empty.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

FEWEST = 3
"""Pixels along each side of a map, where no layer is named: with fewer, it would show next to nothing."""


def heatmaps(model: nn.Module, codes: np.ndarray, classes: np.ndarray) -> np.ndarray | None:
    """What in each image speaks for its class: float32 in [0, 1], shape (N, H, W), the largest of each image 1.

    0 where nothing in the maps does. codes: uint8, shape (N, C, H, W). classes: int64, shape (N,). None for models
    that don't convolve, or whose maps are too small.
    """
    device = next(model.parameters()).device
    images = torch.from_numpy(np.ascontiguousarray(codes)).to(device)
    layer = maps_layer(model.eval(), images[:1])
    if layer is None:
        return None
    with _frozen(model):
        maps, logits = _maps_and_logits(layer, model, images)
        chosen = logits.gather(1, torch.from_numpy(classes).to(device)[:, None]).sum()
        (gradients,) = torch.autograd.grad(chosen, maps)
    products = (gradients * maps).detach()
    channels = getattr(model.get_submodule("network"), "maps_channels", products.shape[1])
    if products.shape[1] != channels:
        products = products.movedim(3, 1)
    found = products.sum(1, keepdim=True).relu()
    found = F.interpolate(found.float(), codes.shape[2:], mode="bilinear").squeeze(1)
    highest = found.amax((1, 2), keepdim=True)
    scaled: np.ndarray = torch.where(highest > 0, found / highest, 0.0).cpu().numpy()
    return scaled


def maps_layer(model: nn.Module, images: Tensor) -> nn.Module | None:
    """The layer whose maps are looked at: what the network names, else the last one with large enough maps.

    images: uint8 codes, shape (1, C, H, W). None where there is no such layer.
    """
    network: Any = model.get_submodule("network")
    layers, fewest = [each for each in network.modules() if not list(each.children())], FEWEST
    if hasattr(network, "maps_layer"):
        named = network.maps_layer
        layers, fewest = [network.get_submodule(named)] if named else [], 1
    found: list[nn.Module] = []

    def look(layer: nn.Module, _: Any, output: Any) -> None:
        if isinstance(output, Tensor) and output.dim() == 4 and min(output.shape[2:]) >= fewest:
            found.append(layer)

    hooks = [layer.register_forward_hook(look) for layer in layers]
    with torch.inference_mode():
        model(images)
    for hook in hooks:
        hook.remove()
    return found[-1] if found else None


@contextmanager
def _frozen(model: nn.Module) -> Iterator[None]:
    """No gradients of weights are wanted: what is computed before the maps is not kept."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    for parameter in trained:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in trained:
            parameter.requires_grad_(True)


def _maps_and_logits(layer: nn.Module, model: nn.Module, images: Tensor) -> tuple[Tensor, Tensor]:
    """The layer's maps and the model's logits, both of which gradients can be had of."""
    kept: list[Tensor] = []

    def keep(_: nn.Module, __: Any, output: Tensor) -> Tensor:
        # What comes before the layer needs no gradients, and may be frozen.
        kept.append(output.detach().requires_grad_())
        return kept[-1]

    hook = layer.register_forward_hook(keep)
    with torch.enable_grad():
        logits = model(images)
    hook.remove()
    # A model that averages over mirror images makes maps of those, too, afterwards.
    return kept[0], logits
