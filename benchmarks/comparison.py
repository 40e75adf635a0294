"""How often `compare` sees a difference that isn't there, and one that is: `python -m benchmarks.comparison`."""

import argparse

import numpy as np
from tqdm import tqdm

from src.comparison import SIGNIFICANCE, Predictions, compare_predictions, mcnemar_test

CLASSES = 10
DISCORDANT = (0.01, 0.03)
"""Shares of images that are right in one alone where both are equally good."""
IMAGES = (359, 2000, 10000)
POINTS = (0.25, 0.5, 1, 2)


def main() -> None:
    """Print both tables in Markdown."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.comparison", description=__doc__)
    parser.add_argument("--pairs", type=int, default=1000, help="simulated per figure (%(default)s)")
    pairs = parser.parse_args().pairs
    alarms = false_alarms(np.random.default_rng(0), IMAGES[0], pairs)
    print(f"| false alarms, {IMAGES[0]} images | {' | '.join(alarms)} |\n|---|---|---|---|---|")
    print(f"| of {pairs:,} pairs | {' | '.join(f'{share:.1%}' for share in alarms.values())} |")
    generator = np.random.default_rng(0)
    print("\n| right in one alone | images | " + " | ".join(f"{points} points" for points in POINTS) + " |")
    print("|---|---|" + "---|" * len(POINTS))
    for discordant in DISCORDANT:
        for images in IMAGES:
            found = [power(generator, images, discordant, points / 100, pairs) for points in POINTS]
            print(f"| {discordant:.0%} | {images:,} | " + " | ".join(f"{share:.0%}" for share in found) + " |")


def false_alarms(generator: np.random.Generator, images: int, pairs: int) -> dict[str, float]:
    """The shares of pairs of equally good classifiers, right on about 95 %, that each method says differ."""
    alarms = {"McNemar's p < 0.05": 0, "accuracy's interval": 0, "log loss's interval": 0, "macro F1's interval": 0}
    for seed in tqdm(range(pairs), desc=f"{images} images", disable=None):
        # How hard an image is concerns both; the rest is each one's own.
        easiness = generator.normal(4, 2, images)
        actual = generator.integers(CLASSES, size=images)
        first, second = (simulate(generator, actual, easiness) for _ in range(2))
        comparison = compare_predictions(first, second, seed)
        differences = (comparison.accuracy, comparison.log_loss, comparison.macro_f1)
        alarming = [not comparison.could_be_chance, *(each.low > 0 or each.high < 0 for each in differences)]
        for name, alarm in zip(alarms, alarming, strict=True):
            alarms[name] += alarm
    return {name: count / pairs for name, count in alarms.items()}


def simulate(generator: np.random.Generator, actual: np.ndarray, easiness: np.ndarray) -> Predictions:
    """Predictions of one classifier. actual: int64, shape (N,). easiness: the label's logit is around it."""
    probability = 1 / (1 + np.exp(-easiness - generator.normal(0, 1.5, len(actual))))
    predicted = np.where(probability > 0.5, actual, (actual + 1) % CLASSES)
    return Predictions(
        actual, actual, predicted, np.maximum(probability, 1 - probability), probability, np.arange(len(actual))
    )


def power(generator: np.random.Generator, images: int, discordant: float, difference: float, pairs: int) -> float:
    """The share of pairs with that true difference in accuracy for which McNemar's p is below SIGNIFICANCE.

    discordant: the share of images that are right in one alone, besides those that make the difference.
    """
    shares = [discordant / 2, discordant / 2 + difference, 1 - discordant - difference]
    counts = generator.multinomial(images, shares, size=pairs)
    return float(np.mean([mcnemar_test(int(first), int(second)) < SIGNIFICANCE for first, second, _ in counts]))


if __name__ == "__main__":
    main()
