"""Muon, an optimizer whose steps change all directions of a weight matrix equally."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

COEFFICIENTS = 3.4445, -4.7750, 2.0315
"""Of the polynomial that brings singular values near 1, the soonest for small ones."""
ITERATIONS = 5
ROOT_MEAN_SQUARE = 0.2
"""Of a step at a learning rate of 1: about that of Adam's."""


class Muon(Optimizer):
    """Steps along the momentum, made orthogonal: K. Jordan and others, https://kellerjordan.github.io/posts/muon/.

    A convolution's weights are a matrix with a row per output; a vector, such as biases, is one row. Torch's own Muon
    takes matrices alone. The size of steps and the weight decay are as in J. Liu and others,
    https://arxiv.org/abs/2502.16982, so that learning rates are about Adam's.
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: float = 0.01,
        momentum: float = 0.95,
        weight_decay: float = 0.0,
    ):
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]  # nobody gives one here
        """Change the parameters that have gradients."""
        assert closure is None
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._change(parameter, parameter.grad, group)

    def _change(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        state = self.state[parameter]
        if not state:
            state["momentum_buffer"] = torch.zeros_like(parameter)
        average = state["momentum_buffer"].mul_(group["momentum"]).add_(gradient)
        # Nesterov's: where the momentum is going to be.
        ahead = gradient.add(average, alpha=group["momentum"])
        matrix = ahead.flatten(1) if ahead.dim() > 1 else ahead.view(1, -1)
        size = group["lr"] * ROOT_MEAN_SQUARE * max(matrix.shape) ** 0.5
        parameter.mul_(1 - group["lr"] * group["weight_decay"])
        parameter.add_(orthogonal(matrix).view(parameter.shape), alpha=-size)


def orthogonal(matrix: Tensor) -> Tensor:
    """The nearest matrix, about, whose singular values are all 1: float32, shape (M, N), as it came.

    By a Newton-Schulz iteration, which brings most of them to between 0.7 and 1.2, and leaves tiny ones small. Of a
    matrix of zeros, zeros.
    """
    wide = matrix.T if len(matrix) > matrix.shape[1] else matrix
    # Its singular values are at most 1 then.
    wide = wide / (wide.norm() + 1e-7)
    if len(wide) > 1:
        linear, cubic, quintic = COEFFICIENTS
        for _ in range(ITERATIONS):
            squares = wide @ wide.T
            polynomial = torch.addmm(squares, squares, squares, beta=cubic, alpha=quintic)
            wide = torch.addmm(wide, polynomial, wide, beta=linear)
    return wide.T if len(matrix) > matrix.shape[1] else wide
