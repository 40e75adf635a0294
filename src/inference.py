"""Running a trained classifier over images."""

import torch
from torch import Tensor, nn


@torch.inference_mode()
def predict_logits(model: nn.Module, images: Tensor, batch_size: int) -> Tensor:
    """Logits, float32 of shape (N, K), on the images' device.

    images: float32, shape (N, C, H, W).
    """
    model.eval()
    return torch.cat([model(batch).float() for batch in images.split(batch_size)])
