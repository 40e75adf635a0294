"""timm's own way with photographs: what its training script does, from its parts.

By the script's defaults, but for batches of 32 instead of 128, of which there would be seven per epoch, and a schedule
by steps whose first tenth is the warm-up, instead of five epochs of it: they are meant for 300 epochs.
"""

from typing import Any

import numpy as np
import timm
import torch
from PIL import Image
from timm.data import create_loader, resolve_data_config
from timm.loss import LabelSmoothingCrossEntropy
from timm.optim import create_optimizer_v2
from timm.scheduler import create_scheduler_v2

from benchmarks.peers.protocol import Session, read_session
from benchmarks.peers.systems.pretrained_network import BACKBONE, IMAGE_SIZE, split, weights

BATCH_SIZE = 32
LEARNING_RATE = 0.1 * BATCH_SIZE / 256
"""The script's rate for 256 images, scaled as it does."""
WARM_UP = 0.1


class Photographs(torch.utils.data.Dataset):
    """Images with their labels; timm's loaders set the transform."""

    transform: Any = None

    def __init__(self, images: np.ndarray, labels: np.ndarray):
        self.images, self.labels = images, labels

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        return self.transform(Image.fromarray(self.images[index])), int(self.labels[index])


def main() -> None:
    """Train and evaluate."""
    session = read_session()
    timm.utils.random_seed(session.seed)
    model = timm.create_model(BACKBONE, num_classes=int(session.labels.max()) + 1, **weights())
    train, test = make_loaders(session, model)
    optimizer = create_optimizer_v2(model, "sgd", LEARNING_RATE, weight_decay=2e-5, momentum=0.9)
    schedule, _ = create_scheduler_v2(
        optimizer, num_epochs=session.epochs, warmup_epochs=WARM_UP * session.epochs, step_on_epochs=False,
        updates_per_epoch=len(train),
    )  # fmt: skip
    loss_of = LabelSmoothingCrossEntropy(0.1)
    session.start()
    model.train()
    for step, (images, labels) in enumerate((batch for _ in range(session.epochs) for batch in train), 1):
        optimizer.zero_grad()
        loss_of(model(images), labels).backward()
        optimizer.step()
        schedule.step_update(step)
    session.evaluate(lambda: classes(model, test))


def make_loaders(session: Session, model: torch.nn.Module) -> tuple[Any, Any]:
    """Batches of augmented training images, and of test images."""
    config = resolve_data_config({"img_size": IMAGE_SIZE}, model=model)
    common = {name: config[name] for name in ("input_size", "mean", "std")}
    common |= {"num_workers": 0, "persistent_workers": False, "device": torch.device("cpu")}
    kept = split(session)[0]
    train, test = (
        Photographs(session.images[kept], session.labels[kept]),
        Photographs(session.test_images, session.test_labels),
    )
    return (
        create_loader(train, batch_size=BATCH_SIZE, is_training=True, interpolation="random", **common),
        create_loader(
            test, batch_size=BATCH_SIZE, interpolation=config["interpolation"], crop_pct=config["crop_pct"], **common
        ),
    )


@torch.inference_mode()
def classes(model: torch.nn.Module, loader: Any) -> torch.Tensor:
    """The most probable class of each image."""
    model.eval()
    return torch.cat([model(images).argmax(1) for images, _ in loader])


if __name__ == "__main__":
    main()
