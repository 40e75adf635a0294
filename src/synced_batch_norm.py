"""Batch normalization over the images of all processes. torch's own SyncBatchNorm does it on accelerators alone."""

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx
from torch.nn.modules.batchnorm import _BatchNorm


class _Sum(torch.autograd.Function):
    """The sum over all processes, which each of them depends on: their gradients add up as well."""

    @staticmethod
    def forward(_: FunctionCtx, tensor: Tensor) -> Tensor:
        total = tensor.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(_: FunctionCtx, gradient: Tensor) -> Tensor:
        total = gradient.clone()
        dist.all_reduce(total)
        return total


class SyncedBatchNorm(nn.Module):
    """A batch normalization whose mean and variance, in training, are those of the images of all processes.

    It takes the weights and running statistics of the one that it replaces.
    """

    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor

    def __init__(self, replaced: _BatchNorm):
        super().__init__()
        self.weight, self.bias = replaced.weight, replaced.bias
        for name, buffer in replaced.named_buffers():
            self.register_buffer(name, buffer)
        self.eps, self.momentum = replaced.eps, replaced.momentum

    def forward(self, images: Tensor) -> Tensor:
        """Feature maps, float of shape (N, C, ...), normalized."""
        if not self.training:
            return nn.functional.batch_norm(
                images, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps
            )
        count, mean, variance = self._statistics(images)
        self._track(count, mean.detach(), variance.detach())
        scale = self.weight * (variance + self.eps).rsqrt()
        shape = (1, -1, *(1,) * (images.dim() - 2))
        return images * scale.view(shape) + (self.bias - mean * scale).view(shape)

    def _statistics(self, images: Tensor) -> tuple[float, Tensor, Tensor]:
        """How many values each channel has in all processes, and their mean and variance, float32 of shape (C,)."""
        axes = [axis for axis in range(images.dim()) if axis != 1]
        count = images.numel() // images.shape[1]
        variance, mean = torch.var_mean(images.float(), axes, correction=0)
        # Sums of squares lose what they are made of in float32.
        variance, mean = variance.double(), mean.double()
        sums = torch.stack([mean, variance + mean**2, torch.ones_like(mean)]) * count
        total: Tensor = _Sum.apply(sums)
        values = total[2, 0].item()
        mean, square = total[0] / values, total[1] / values
        return values, mean.float(), (square - mean**2).clamp(min=0).float()

    def _track(self, count: float, mean: Tensor, variance: Tensor) -> None:
        self.num_batches_tracked += 1
        momentum = 1 / self.num_batches_tracked.item() if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean, momentum)
        self.running_var.lerp_(variance * (count / (count - 1)), momentum)


def synchronize_batch_norm(model: nn.Module) -> None:
    """Replace all batch normalization inside of the model by such that is over the images of all processes."""
    if next(model.parameters()).device.type == "cuda":
        nn.SyncBatchNorm.convert_sync_batchnorm(model)
        return
    for parent in list(model.modules()):
        for name, child in parent.named_children():
            if isinstance(child, _BatchNorm):
                setattr(parent, name, SyncedBatchNorm(child).train(child.training))
