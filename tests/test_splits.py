import numpy as np
import pytest

from src.errors import MnistryError
from src.splits import stratified_fold, stratified_split


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


def held_out(labels, folds, fold, seed=0):
    """Indices of one fold, of cats and dogs; all others are kept."""
    kept, out = stratified_fold(np.array(labels), folds, fold, np.random.default_rng(seed), ("cat", "dog"))
    assert sorted([*kept, *out]) == list(range(len(labels)))
    return out.tolist()


def test_every_image_is_in_exactly_one_fold():
    """Of equal sizes and with equal shares of each class, but for one image."""
    labels = np.random.default_rng(1).permutation([0] * 11 + [1] * 33)
    folds = [held_out(labels, 5, fold) for fold in range(5)]
    assert sorted(i for fold in folds for i in fold) == list(range(44))
    assert sorted(map(len, folds)) == [8, 9, 9, 9, 9]
    for label, counts in ((0, {2, 3}), (1, {6, 7})):
        assert {int((labels[fold] == label).sum()) for fold in folds} == counts


def test_folds_depend_on_the_seed_alone():
    """Another seed gives other folds."""
    labels = [0, 1] * 50
    assert held_out(labels, 5, 2) == held_out(labels, 5, 2)
    assert held_out(labels, 5, 2) != held_out(labels, 5, 2, seed=1)


def test_class_with_fewer_images_than_folds_is_an_error():
    """Some fold would be without it; as many are enough."""
    assert len(held_out([0, 0, 0, 1, 1, 1], 3, 0)) == 2
    with pytest.raises(
        MnistryError, match=r"class 'dog' has 2 training images: too few for 3 folds; .* set train\.folds to 2$"
    ):
        held_out([0, 0, 0, 1, 1], 3, 0)
    with pytest.raises(MnistryError, match=r"class 'dog' has 1 training image: .* set train\.folds to 0$"):
        held_out([0, 0, 1], 2, 0)
