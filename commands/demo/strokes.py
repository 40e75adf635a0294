"""Drawn characters, prepared as MNIST's makers prepared theirs."""

import numpy as np
from PIL import Image

BOX = 20 / 28
"""Side of the box that a character is scaled into, of the image's side (Y. LeCun, http://yann.lecun.com/exdb/mnist)."""


SMALL = 16
"""Images of smaller sides have no margin: scikit-learn's digits fill all of their 8 rows."""


def centre_strokes(ink: np.ndarray, height: int, width: int) -> np.ndarray:
    """The strokes, cropped, scaled into the box, with their centre of mass in the image's middle.

    ink: uint8, shape (H, W), light strokes on black. Returns uint8 of shape (height, width), black where nothing is
    drawn. Parts that reach over the edge once centred are lost, as in MNIST.
    """
    image = np.zeros((height, width), np.uint8)
    if not ink.any():
        return image
    rows, columns = np.flatnonzero(ink.any(1)), np.flatnonzero(ink.any(0))
    crop = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    box = BOX if min(height, width) >= SMALL else 1.0
    scale = box * min(height / crop.shape[0], width / crop.shape[1])
    size = [max(round(side * scale), 1) for side in crop.shape]
    small = np.asarray(Image.fromarray(crop).resize((size[1], size[0]), Image.Resampling.BOX))
    # A dot may be scaled to nothing.
    mass = max(float(small.sum()), 1.0)
    centre = [(np.arange(n) + 0.5) @ small.sum(axis) / mass for axis, n in ((1, size[0]), (0, size[1]))]
    top, left = (round(side / 2 - c) for side, c in zip((height, width), centre, strict=True))
    y, x = max(top, 0), max(left, 0)
    part = small[y - top : y - top + height - y, x - left : x - left + width - x]
    image[y : y + part.shape[0], x : x + part.shape[1]] = part
    return image
