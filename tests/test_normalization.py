import gzip
from pathlib import Path

import numpy as np
import pytest

from src.normalization import channel_mean_std, fit_normalization, normalization_of


def random_images(*shape):
    """Images of random codes."""
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def test_mean_and_std_worked_by_hand():
    """Half of the pixels 0 and half 255: mean 0.5, standard deviation 0.5."""
    images = np.array([[[[0, 255]]], [[[255, 0]]]], dtype=np.uint8)
    assert channel_mean_std([images]) == ((0.5,), (0.5,))


def test_mean_and_std_equal_numpys():
    """Channel by channel, as numpy computes them in float64."""
    images = random_images(50, 3, 5, 4)
    mean, std = channel_mean_std([images])
    np.testing.assert_allclose(mean, (images / 255).mean((0, 2, 3)), rtol=1e-12)
    np.testing.assert_allclose(std, (images / 255).std((0, 2, 3)), rtol=1e-12)


def test_neither_order_nor_chunks_change_a_bit():
    """The sums are over integers."""
    images = random_images(101, 2, 7, 3)
    whole = channel_mean_std([images])
    assert channel_mean_std(np.array_split(images[::-1], 7)) == whole


def test_constant_channel_is_not_divided_by_zero():
    """Its standard deviation is given as 1, so it normalizes to 0, but for rounding."""
    images = np.full((3, 1, 2, 2), 7, dtype=np.uint8)
    normalization = fit_normalization("standard", [images], 1)
    assert normalization.std == (1.0,)
    assert np.abs(normalization(images)).max() < 1e-8


def test_standard_gives_mean_0_and_std_1():
    """That is what `standard` is for."""
    images = random_images(200, 2, 6, 6)
    normalized = fit_normalization("standard", [images], 2)(images)
    assert normalized.dtype == np.float32
    np.testing.assert_allclose(normalized.mean((0, 2, 3)), 0, atol=1e-5)
    np.testing.assert_allclose(normalized.std((0, 2, 3)), 1, atol=1e-5)


def test_unit_divides_by_255():
    """What torchvision's ToTensor gives, x / 255, to the last bit of float32 but one."""
    images = random_images(4, 1, 8, 8)
    expected = images.astype(np.float32) / 255
    np.testing.assert_array_max_ulp(fit_normalization("unit", [], 1)(images), expected, maxulp=1)


def test_half_gives_the_tutorials_row():
    """The seventh row of its first image: 0.1176, 0.1412, 0.3686 become -0.7647, -0.7176, -0.2627."""
    images = np.array([30, 36, 94], dtype=np.uint8).reshape(1, 1, 1, 3)
    np.testing.assert_allclose(fit_normalization("unit", [], 1)(images).ravel(), [0.1176, 0.1412, 0.3686], atol=5e-5)
    np.testing.assert_allclose(fit_normalization("half", [], 1)(images).ravel(), [-0.7647, -0.7176, -0.2627], atol=5e-5)


@pytest.mark.parametrize("method", ["standard", "half", "unit"])
def test_scale_and_offset_are_the_formula_of_mean_and_std(method):
    """(x / 255 - mean) / std of all 256 codes, within float32's rounding."""
    codes = np.arange(256, dtype=np.uint8).reshape(1, 1, 16, 16)
    normalization = fit_normalization(method, [codes], 1)
    expected = (codes / 255 - normalization.mean[0]) / normalization.std[0]
    np.testing.assert_allclose(normalization(codes), expected, atol=3e-7)


def test_channels_have_their_own_mean_and_std():
    """(x / 255 - mean) / std with each channel's."""
    images = np.full((1, 2, 1, 1), 255, dtype=np.uint8)
    normalized = normalization_of("standard", (0.5, 0.0), (0.25, 2.0))(images)
    np.testing.assert_allclose(normalized.ravel(), [2.0, 0.5], rtol=1e-6)


def test_mnists_known_mean_and_std(mnist_mirror):
    """Mean 0.1307 and standard deviation 0.3081, and T3's row, out of the original archive."""
    content = gzip.decompress(Path(mnist_mirror, "mnist", "train-images-idx3-ubyte.gz").read_bytes())
    images = np.frombuffer(content, np.uint8, offset=16).reshape(-1, 1, 28, 28)
    mean, std = channel_mean_std(np.array_split(images, 10))
    assert (round(mean[0], 4), round(std[0], 4)) == (0.1307, 0.3081)
    row = fit_normalization("half", [], 1)(images[:1])[0, 0, 6]
    assert {-0.7647, -0.7176, -0.2627} <= {round(float(pixel), 4) for pixel in row}


@pytest.mark.parametrize("method", ["half", "unit"])
def test_only_standard_looks_at_images(method):
    """The others don't go through the chunks."""
    fit_normalization(method, iter(lambda: pytest.fail("read images"), None), 3)
