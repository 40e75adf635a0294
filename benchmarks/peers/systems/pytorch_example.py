"""PyTorch's own example: its network, its loop and its settings, https://github.com/pytorch/examples/tree/main/mnist."""

from functools import partial

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from benchmarks.peers.protocol import read_session
from benchmarks.peers.systems.torch_network import classes

BATCH_SIZE = 64


class Images(Dataset):
    """What torchvision's MNIST gives: an image at a time, through PIL and the example's transforms."""

    def __init__(self, images: np.ndarray, labels: np.ndarray):
        self.images, self.labels = images, labels.tolist()
        self.transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.1307,), (0.3081,))])

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.transform(Image.fromarray(self.images[index])), self.labels[index]


def make_network() -> nn.Module:
    """Two convolutions, two linear layers, dropout."""
    return nn.Sequential(
        nn.Conv2d(1, 32, 3), nn.ReLU(), nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout(0.25),
        nn.Flatten(), nn.Linear(9216, 128), nn.ReLU(), nn.Dropout(0.5), nn.Linear(128, 10), nn.LogSoftmax(1),
    )  # fmt: skip


def main() -> None:
    """Train and evaluate."""
    session = read_session()
    torch.manual_seed(session.seed)
    network = make_network()
    loader = DataLoader(Images(session.images, session.labels), BATCH_SIZE, shuffle=True)
    test = torch.stack([image for image, _ in DataLoader(Images(session.test_images, session.test_labels), None)])
    optimizer = torch.optim.Adadelta(network.parameters(), lr=1.0)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, step_size=1, gamma=0.7)
    session.start()
    for _ in range(session.epochs):
        for index, (images, labels) in enumerate(loader):
            optimizer.zero_grad()
            F.nll_loss(network(images), labels).backward()
            optimizer.step()
            if session.is_due(index + 1, len(loader)):
                session.evaluate(partial(classes, network, test))
        schedule.step()


if __name__ == "__main__":
    main()
