"""Running a trained classifier over images."""

from collections.abc import Iterable, Iterator

import numpy as np
import torch
from torch import Tensor, nn

from src.errors import MnistryError

BATCH_SIZE = 200
"""Images per batch where nothing else is said: above it, feature maps leave the processor's caches (docs/log.md)."""
MOST_LOGITS = 1 << 20
"""Numbers that are computed before something is made of them: of 10 classes, those of 104,857 images."""


def predict_logits(model: nn.Module, batches: Iterable[Tensor], count: int) -> Tensor:
    """Logits, float32 of shape (count, K), on the model's device.

    batches: `count` images in order, uint8 codes, each batch of shape (n, C, H, W).
    """
    device = next(model.parameters()).device
    return next(logits_in_pieces(model, batches, count, None), torch.empty(0, 0, device=device))


@torch.inference_mode()
def logits_in_pieces(
    model: nn.Module, batches: Iterable[Tensor], count: int, most: int | None = MOST_LOGITS
) -> Iterator[Tensor]:
    """Logits, float32 of shape (n, K), on the model's device, of so many images at a time; together of `count`.

    batches: as for `predict_logits`. most: numbers in a piece, unless one batch has more; without it, all are one.
    """
    model.eval()
    device = next(model.parameters()).device
    piece, filled, left = torch.empty(0, 0, device=device), 0, count
    for codes in filter(len, batches):
        found = model(codes.to(device))
        if filled + len(found) > len(piece):
            if filled:
                yield piece[:filled]
            # One block for all: a small one kept after each batch would leave holes between them that the next batch's
            # feature maps just don't fit into. On 6,000 images of 64x64x3, those took 270 MB.
            size = left if most is None else max(min(left, most // found.shape[1]), len(found))
            piece, filled = torch.empty(size, found.shape[1], device=device), 0
        piece[filled : filled + len(found)] = found
        filled += len(found)
        left -= len(found)
    if filled:
        yield piece[:filled]


def class_probabilities(model: nn.Module, batches: Iterable[Tensor], count: int) -> np.ndarray:
    """Each class's probability: float64, shape (count, K), each row adding up to 1; see `predict_logits`.

    Raises MnistryError as `probabilities_of` does.
    """
    return probabilities_of(predict_logits(model, batches, count))


def probabilities_of(logits: Tensor) -> np.ndarray:
    """Each class's probability: float64, of the logits' shape (N, K), each row adding up to 1.

    Raises MnistryError where one is not a finite number: finite weights may still be so large that their sums aren't.
    """
    probabilities = logits.double().softmax(1).cpu().numpy()
    if not np.isfinite(probabilities).all():
        raise MnistryError(
            "the classifier's weights are too large to add up; train it again with a lower learning rate"
        )
    return np.asarray(probabilities)
