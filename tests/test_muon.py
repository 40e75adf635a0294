"""Muon, by what is known of its steps."""

import pytest
import torch

from src.muon import ROOT_MEAN_SQUARE, Muon, orthogonal


@pytest.mark.parametrize("shape", [(5, 12), (12, 5), (8, 8)])
def test_singular_values_come_near_1(shape):
    """However different they were, and in the directions of the nearest orthogonal matrix."""
    left, _, right = torch.linalg.svd(torch.randn(shape, generator=torch.Generator().manual_seed(0)), False)
    nearest = left @ right
    found = orthogonal(left * torch.logspace(0, -1.5, min(shape)) @ right)
    values = torch.linalg.svdvals(found)
    assert values.min() > 0.6
    assert values.max() < 1.3
    assert torch.nn.functional.cosine_similarity(found.flatten(), nearest.flatten(), 0) > 0.98


def test_vectors_keep_their_direction_and_zeros_stay():
    """A matrix of one row comes to a length of 1; one without a direction is not divided by 0."""
    torch.testing.assert_close(orthogonal(torch.tensor([[3.0, 4.0]])), torch.tensor([[0.6, 0.8]]))
    assert torch.equal(orthogonal(torch.zeros(3, 4)), torch.zeros(3, 4))


@pytest.mark.parametrize("shape", [(64, 32, 3, 3), (10, 400), (50,)])
def test_steps_have_the_same_size_whatever_the_gradients(shape):
    """Their root mean square is about a fifth of the learning rate, also for convolutions as they are in memory."""
    for scale in (1e-3, 1e3):
        weights = torch.zeros(shape)
        if weights.dim() == 4:
            weights = weights.to(memory_format=torch.channels_last)
        weights.requires_grad_()
        weights.grad = scale * torch.randn(shape, generator=torch.Generator().manual_seed(0))
        Muon([weights], lr=0.5).step()
        assert weights.square().mean().sqrt().item() == pytest.approx(0.5 * ROOT_MEAN_SQUARE, rel=0.25)
        assert (weights * weights.grad).sum() < 0


def test_momentum_and_weight_decay_worked_by_hand():
    """Of a vector, whose steps have the length learning rate * 0.2 * sqrt(2): Nesterov's momentum, decoupled decay."""
    weights = torch.tensor([1.0, 1.0], requires_grad=True)
    optimizer, expected = Muon([weights], lr=0.1, momentum=0.5, weight_decay=2.0), torch.tensor([1.0, 1.0])
    # Averages are 3, 0 and 1.5, 4; ahead of them 4.5, 0 and 0.75, 6.
    for gradient, ahead in (([3.0, 0.0], [4.5, 0.0]), ([0.0, 4.0], [0.75, 6.0])):
        weights.grad = torch.tensor(gradient)
        optimizer.step()
        direction = torch.tensor(ahead) / torch.tensor(ahead).norm()
        expected = expected * 0.8 - 0.1 * ROOT_MEAN_SQUARE * 2**0.5 * direction
        torch.testing.assert_close(weights.detach(), expected)


def test_parameters_without_gradients_stay():
    """Frozen ones, say."""
    weights = torch.ones(2, 2, requires_grad=True)
    Muon([weights]).step()
    assert torch.equal(weights, torch.ones(2, 2))
