"""fastai's own way with photographs: a `vision_learner` and its `fine_tune`, all by their defaults."""

import numpy as np
import torch
from fastai.vision.all import (
    CategoryBlock,
    DataBlock,
    ImageBlock,
    IndexSplitter,
    Learner,
    Resize,
    aug_transforms,
    set_seed,
    vision_learner,
)

from benchmarks.peers.protocol import Session, read_session
from benchmarks.peers.systems.pretrained_network import BACKBONE, IMAGE_SIZE, split, weights


def train(session: Session, frozen: bool) -> None:
    """Train and evaluate. frozen: the head alone, in one cycle; else the head for an epoch, then all."""
    set_seed(session.seed)
    learner, test = make_learner(session)
    session.start()
    with learner.no_bar(), learner.no_logging():
        if frozen:
            learner.fit_one_cycle(session.epochs)
        else:
            learner.fine_tune(session.epochs)
        session.evaluate(lambda: learner.get_preds(dl=test)[0].argmax(1))


def make_learner(session: Session) -> tuple[Learner, torch.utils.data.DataLoader]:
    """With the body frozen; and what gives the test images."""
    images, labels = (
        np.concatenate(each) for each in ((session.images, session.test_images), (session.labels, session.test_labels))
    )
    block = DataBlock(
        blocks=(ImageBlock, CategoryBlock), get_x=images.__getitem__, get_y=labels.__getitem__,
        splitter=IndexSplitter(split(session)[1].tolist()), item_tfms=Resize(IMAGE_SIZE), batch_tfms=aug_transforms(),
    )  # fmt: skip
    count = len(session.images)
    loaders = block.dataloaders(range(count), num_workers=0)
    return vision_learner(loaders, BACKBONE, **weights()), loaders.test_dl(range(count, len(images)))


if __name__ == "__main__":
    train(read_session(), frozen=False)
