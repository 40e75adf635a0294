"""Ours, in the precision that `auto` chooses: the parts of `src.training.fit`, with evaluations within the epoch."""

from itertools import islice
from pathlib import Path

import torch
from torch import nn

from benchmarks.peers.protocol import BATCH_SIZE, CHANNELS, LEARNING_RATE, Session, read_session
from src.batches import make_subset, shuffled_batches
from src.datasets import load_info, load_split
from src.devices import choose_precision, place
from src.inference import BATCH_SIZE as INFERENCE_BATCH_SIZE
from src.inference import predict_logits
from src.models import build_model
from src.params import read_params
from src.runtime import prepare_process
from src.start import all_imported
from src.training import make_optimizer, make_schedule, train_epoch


def train(session: Session, precision_name: str) -> None:
    """Train and evaluate on the CPU."""
    all_imported()
    prepare_process()
    torch.manual_seed(session.seed)
    folder, device = session.folder, torch.device("cpu")
    changes = {"epochs": session.epochs, "batch_size": BATCH_SIZE, "channels": CHANNELS}
    changes |= {"optimizer": "adam", "learning_rate": LEARNING_RATE, "flip_at_inference": False}
    recipe = read_params(Path("params.yaml")).models.cnn.model_copy(update=changes)
    info = load_info(folder)
    images = make_subset(*load_split(folder, "train", info), device)
    tests = torch.from_numpy(load_split(folder, "test", info)[0]).split(INFERENCE_BATCH_SIZE)
    model = place(build_model("cnn", recipe, info), device)
    precision = choose_precision(precision_name, device, model)
    optimizer = make_optimizer(model, recipe)
    schedule = make_schedule(optimizer, recipe, session.steps * session.epochs)
    generator = torch.Generator().manual_seed(session.seed)
    session.start()
    for _ in range(session.epochs):
        batches = shuffled_batches(images, BATCH_SIZE, generator)
        for steps in session.part_steps:
            train_epoch(model, islice(batches, steps), steps, optimizer, schedule, nn.CrossEntropyLoss(), precision)
            session.evaluate(lambda: predict_logits(model, tests, len(session.test_labels)).argmax(1))


if __name__ == "__main__":
    train(read_session(), "auto")
