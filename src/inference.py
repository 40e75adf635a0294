"""Running a trained classifier over images."""

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor, nn

BATCH_SIZE = 200
"""Images per batch where nothing else is said: above it, feature maps leave the processor's caches (docs/log.md)."""


@torch.inference_mode()
def predict_logits(model: nn.Module, batches: Iterable[Tensor]) -> Tensor:
    """Logits, float32 of shape (N, K), on the model's device.

    batches: the images in order, uint8 codes, each of shape (n, C, H, W).
    """
    model.eval()
    device = next(model.parameters()).device
    return torch.cat([model(codes.to(device)).float() for codes in batches])


def class_probabilities(model: nn.Module, batches: Iterable[Tensor]) -> np.ndarray:
    """Each class's probability: float64, shape (N, K), each row adding up to 1. batches: as for `predict_logits`."""
    return predict_logits(model, batches).double().softmax(1).cpu().numpy()
