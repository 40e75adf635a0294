"""Splitting images into two sets, class by class."""

from collections.abc import Sequence

import numpy as np

from src.errors import MnistryError


def stratified_split(
    labels: np.ndarray, fraction: float, generator: np.random.Generator, class_names: Sequence[str]
) -> tuple[np.ndarray, np.ndarray]:
    """Indices kept and indices held out, both ascending, with `fraction` of each class held out.

    labels: int64, shape (N,), of `class_names`. At least one image of each class is kept and one held out;
    raises MnistryError where a class has fewer than two. A fraction of 0 holds nothing out.
    """
    held_out = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels) if fraction > 0 else ():
        members = np.flatnonzero(labels == label)
        if len(members) < 2:
            raise MnistryError(
                f"class {class_names[label]!r} has 1 training image: too few to hold one out; add images, "
                "leave the class out or set train.validation_fraction to 0"
            )
        count = min(max(round(len(members) * fraction), 1), len(members) - 1)
        held_out[generator.permutation(members)[:count]] = True
    return np.flatnonzero(~held_out), np.flatnonzero(held_out)


def stratified_fold(
    labels: np.ndarray, folds: int, fold: int, generator: np.random.Generator, class_names: Sequence[str]
) -> tuple[np.ndarray, np.ndarray]:
    """Indices kept and indices held out, both ascending, with fold number `fold` of `folds` held out.

    labels: int64, shape (N,), of `class_names`. With generators of the same seed, each image is in exactly one fold;
    the folds' sizes differ by one at most, and so do their images of each class. Raises MnistryError where a class has
    fewer images than there are folds.
    """
    for label, count in zip(*np.unique(labels, return_counts=True), strict=True):
        if count < folds:
            raise MnistryError(
                f"class {class_names[label]!r} has {count} training image{'s' if count > 1 else ''}: too few for "
                f"{folds} folds; add images, leave the class out or set train.folds to {count if count > 1 else 0}"
            )
    # Class by class, so that every folds-th image of this order has its share of each.
    order = np.concatenate([generator.permutation(np.flatnonzero(labels == label)) for label in np.unique(labels)])
    held_out = np.zeros(len(labels), dtype=bool)
    held_out[order[fold::folds]] = True
    return np.flatnonzero(~held_out), np.flatnonzero(held_out)
