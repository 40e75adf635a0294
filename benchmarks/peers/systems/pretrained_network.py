"""What fastai and timm start from on photographs: the network and the weights that ours starts from."""

from typing import Any

import numpy as np
import timm

from benchmarks.peers.protocol import Session
from src.splits import stratified_split
from src.weights import PACKAGED, load_weights

BACKBONE = PACKAGED
IMAGE_SIZE = 160
"""Pixels of a side, to which images are enlarged: as in the recipe of ours."""
HELD_OUT = 0.05
"""Of the training images of each class: as in params.yaml."""


def weights() -> dict[str, Any]:
    """The arguments by which `timm.create_model` gives BACKBONE the package's weights, as if its hub had been asked."""
    names, (_, tensors) = timm.create_model(BACKBONE).state_dict(), load_weights(BACKBONE, None, "any")
    state = dict(zip(names, tensors.values(), strict=True))
    return {"pretrained": True, "pretrained_cfg_overlay": {"state_dict": state}}


def split(session: Session) -> tuple[np.ndarray, np.ndarray]:
    """Indices of the images to train on and of those held out, the same as ours draws from the seed."""
    names = list(map(str, np.unique(session.labels)))
    return stratified_split(session.labels, HELD_OUT, np.random.default_rng(session.seed), names)
