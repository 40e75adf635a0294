"""The network in torch: what fastai and Lightning train."""

from itertools import pairwise

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.peers.protocol import BATCH_SIZE, CHANNELS, Session, standardize


def make_network() -> nn.Module:
    """Logits from images, float32 of shape (N, 1, 28, 28)."""
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise((1, *CHANNELS)):
        layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.MaxPool2d(2), nn.ReLU()]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(9 * CHANNELS[-1], 10))


def tensors(session: Session) -> tuple[TensorDataset, torch.Tensor]:
    """The training images with their labels, and the test images, normalized once and for all."""
    train, test = (torch.from_numpy(images)[:, None] for images in standardize(session))
    return TensorDataset(train, torch.from_numpy(session.labels)), test


def classes(network: nn.Module, images: torch.Tensor) -> torch.Tensor:
    """The most probable class of each image; the network is in training before and after."""
    network.eval()
    with torch.inference_mode():
        found = torch.cat([network(batch).argmax(1) for batch in images.split(200)])
    network.train()
    return found


def make_loader(images: TensorDataset) -> DataLoader:
    """Shuffled batches."""
    return DataLoader(images, BATCH_SIZE, shuffle=True, drop_last=True)
