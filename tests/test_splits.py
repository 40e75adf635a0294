import numpy as np
import pytest

from src.errors import MnistryError
from src.splits import stratified_split


def split(labels, fraction, seed=0):
    """Indices kept and held out, of cats and dogs."""
    return stratified_split(np.array(labels), fraction, np.random.default_rng(seed), ("cat", "dog"))


def test_each_class_gives_its_fraction():
    """A fifth of each: 2 of 10 and 10 of 50."""
    labels = [0] * 10 + [1] * 50
    kept, held_out = split(labels, 0.2)
    assert np.bincount(np.array(labels)[held_out]).tolist() == [2, 10]
    assert sorted([*kept, *held_out]) == list(range(60))


def test_same_seed_same_split_other_seed_other_split():
    """The split depends on the seed alone."""
    labels = [0, 1] * 50
    assert split(labels, 0.3)[1].tolist() == split(labels, 0.3)[1].tolist()
    assert split(labels, 0.3)[1].tolist() != split(labels, 0.3, seed=1)[1].tolist()


def test_small_classes_are_on_both_sides():
    """However small or large the fraction is."""
    for fraction in (0.01, 0.99):
        kept, held_out = split([0, 0, 0, 1, 1], fraction)
        assert {0, 1} == {[0, 0, 0, 1, 1][i] for i in kept} == {[0, 0, 0, 1, 1][i] for i in held_out}


def test_fraction_0_holds_nothing_out():
    """Training on all images, even where a class has only one."""
    kept, held_out = split([0, 1, 1], 0)
    assert kept.tolist() == [0, 1, 2]
    assert len(held_out) == 0


def test_class_of_one_image_is_an_error():
    """It can't be on both sides."""
    with pytest.raises(MnistryError, match="class 'dog' has 1 training image: too few to hold one out"):
        split([0, 0, 1], 0.5)
