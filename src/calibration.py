"""Probabilities that mean what they say: a temperature for the logits, fitted on images that were not trained on."""

import numpy as np
from torch import Tensor

PSEUDO_MISTAKES = 0.5
"""Is added to the mistakes: without any, the temperature would be 0 (docs/log.md)."""
LARGEST = 20
"""The temperature is within this factor of 1."""


def fit_temperature(logits: Tensor, labels: Tensor) -> float:
    """The temperature whose quotients of the logits have the lowest log loss, were there half a mistake more.

    logits: float32, shape (N, K), of images not trained on, 1 or more. labels: int64, shape (N,). No prediction changes
    with it. Guo and others, On calibration of modern neural networks, https://arxiv.org/abs/1706.04599; targets a bit
    below 1, as in Platt, Probabilistic outputs for support vector machines (1999), with Krichevsky and Trofimov's half.
    """
    # A quarter of a second to import.
    from scipy.optimize import brentq
    from scipy.special import softmax

    scores = logits.cpu().double().numpy()
    images, classes = scores.shape
    of_labels = scores[np.arange(images), labels.cpu().numpy()]
    of_others = (scores.sum(1) - of_labels) / (classes - 1)
    share = PSEUDO_MISTAKES / (images + 1)
    of_targets = (1 - share) * of_labels + share * of_others

    def slope(log_temperature: float) -> float:
        # Of the log loss as a function of 1 / temperature, which is convex: the slope is 0 at its only minimum.
        return float(((softmax(scores / np.exp(log_temperature), 1) * scores).sum(1) - of_targets).mean())

    low, high = -np.log(LARGEST), np.log(LARGEST)
    if slope(low) < 0 or slope(high) > 0:
        return float(np.exp(low if slope(low) < 0 else high))
    return float(np.exp(brentq(slope, low, high, xtol=1e-9)))


def without_temperature(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """What the probabilities would be without the temperature: float64, shape (N, K), each row adding up to 1."""
    powers = probabilities**temperature
    return np.asarray(powers / powers.sum(1, keepdims=True))
