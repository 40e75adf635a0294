"""Drawn characters are prepared as MNIST's makers did."""

import numpy as np
import pytest

from commands.demo.strokes import centre_strokes


def test_a_bar_is_scaled_into_the_box_and_centred():
    """A bar of 10x100 pixels anywhere becomes 2x20 in the middle of 28x28."""
    ink = np.zeros((280, 280), np.uint8)
    ink[150:250, 20:30] = 255
    expected = np.zeros((28, 28), np.uint8)
    expected[4:24, 13:15] = 255
    assert (centre_strokes(ink, 28, 28) == expected).all()


def test_the_centre_of_mass_is_in_the_middle_not_the_box():
    """An L, heavier below and at the left, ends up to the right and above of where its box's middle would be."""
    ink = np.zeros((280, 280), np.uint8)
    ink[40:240, 40:70] = 255
    ink[210:240, 40:240] = 255
    image = centre_strokes(ink, 28, 28).astype(float)
    rows, columns = np.flatnonzero(image.any(1)), np.flatnonzero(image.any(0))
    assert len(rows) == len(columns) == 20
    assert rows[0] < 4 < columns[0]
    places = (np.arange(28) + 0.5) * 1.0
    assert abs(places @ image.sum(1) / image.sum() - 14) <= 0.5
    assert abs(places @ image.sum(0) / image.sum() - 14) <= 0.5


@pytest.mark.parametrize(("side", "rows"), [(56, 40), (32, 23), (16, 11), (8, 8)])
def test_the_box_follows_the_size(side, rows):
    """20/28 of the side, rounded; all of it where the images are as small as scikit-learn's digits."""
    ink = np.zeros((280, 280), np.uint8)
    ink[10:270, 100:140] = 255
    image = centre_strokes(ink, side, side)
    assert len(np.flatnonzero(image.any(1))) == rows


def test_nothing_and_a_faint_dot_are_no_trouble():
    """Neither divides by nothing."""
    ink = np.zeros((280, 280), np.uint8)
    assert not centre_strokes(ink, 28, 28).any()
    ink[0, 0] = 1
    assert centre_strokes(ink, 28, 28).shape == (28, 28)


def test_what_reaches_over_the_edge_is_lost():
    """A heavy blob under a long thin line: centred, the line sticks out at the top."""
    ink = np.zeros((280, 280), np.uint8)
    ink[0:280, 140] = 40
    ink[240:280, 100:180] = 255
    image = centre_strokes(ink, 28, 28)
    assert image[0].any()
    assert image.shape == (28, 28)
