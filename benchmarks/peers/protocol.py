"""What a system and the driver say to each other: a folder of arrays in, a line of JSON per evaluation out.

It runs in every system's environment, so it imports nothing but numpy.
"""

import argparse
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

BATCH_SIZE = 128
LEARNING_RATE = 0.01
CHANNELS = (16, 64, 128)
"""Of the network that all deep-learning systems train but PyTorch's example: 3x3 convolutions, each followed by 2x2
max-pooling and a rectifier, then a linear layer; by Adam, the rate in one cycle. It is params.yaml's cnn for
FashionMNIST."""
EVALUATIONS = 4
"""Per epoch."""


@dataclass(frozen=True)
class Evaluation:
    """What a system prints after each of its evaluations.

    seconds: of training so far, without compiling and evaluating. compile_seconds: so far. accuracy: on the test split,
    in [0, 1].
    """

    seconds: float
    compile_seconds: float
    accuracy: float

    def to_line(self) -> str:
        """One line of JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def from_line(cls, line: str) -> "Evaluation | None":
        """Undo `to_line`; None where the line is something else, as what a library prints."""
        try:
            return cls(**json.loads(line))
        except (ValueError, TypeError):
            return None


class Session:
    """The arrays and the settings that the driver gave, and the clock."""

    def __init__(self, folder: Path, epochs: int, seed: int):
        self.folder, self.epochs, self.seed = folder, epochs, seed
        self.images, self.labels = _load(folder, "train")
        self.test_images, self.test_labels = _load(folder, "test")
        self.seconds = self.compile_seconds = 0.0
        self._resumed = 0.0

    @property
    def steps(self) -> int:
        """Batches per epoch; an incomplete last one is dropped."""
        return len(self.images) // BATCH_SIZE

    @property
    def part_steps(self) -> list[int]:
        """How many batches of an epoch are before each of its evaluations; the last is at its end."""
        ends = [self.steps * part // EVALUATIONS for part in range(EVALUATIONS + 1)]
        return [end - start for start, end in pairwise(ends)]

    def is_due(self, step: int, steps: int | None = None) -> bool:
        """Whether the accuracy is measured after that step of an epoch, counted from 1. steps: per epoch, of others."""
        count = steps or self.steps
        return step in {count * part // EVALUATIONS for part in range(1, EVALUATIONS + 1)}

    def start(self) -> None:
        """Start the clock."""
        self._resumed = time.perf_counter()

    def stop(self) -> None:
        """Stop the clock."""
        self.seconds += time.perf_counter() - self._resumed

    @contextmanager
    def compiling(self) -> Iterator[None]:
        """Count the seconds of the block apart; the clock isn't running."""
        start = time.perf_counter()
        yield
        self.compile_seconds += time.perf_counter() - start

    def evaluate(self, predict: Callable[[], object]) -> None:
        """Stop the clock, print the accuracy of the classes predicted for the test images, and start the clock."""
        self.stop()
        accuracy = float(np.mean(np.asarray(predict()) == self.test_labels))
        print(Evaluation(self.seconds, self.compile_seconds, accuracy).to_line(), flush=True)
        self.start()

    def parts(self) -> Iterator[np.ndarray]:
        """The images to train on before each evaluation, batch by batch: int64, shape (steps, BATCH_SIZE)."""
        generator = np.random.default_rng(self.seed)
        for _ in range(self.epochs):
            order = generator.permutation(len(self.images))[: self.steps * BATCH_SIZE].reshape(-1, BATCH_SIZE)
            yield from np.split(order, np.cumsum(self.part_steps)[:-1])


def read_session() -> Session:
    """The session that the command line asks for: FOLDER --epochs N --seed N."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--epochs", type=int, required=True)
    parser.add_argument("--seed", type=int, required=True)
    arguments = parser.parse_args()
    return Session(arguments.folder, arguments.epochs, arguments.seed)


def _load(folder: Path, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Images, uint8 of shape (N, H, W) or, in colour, (N, H, W, 3), and labels, int64 (N,), of a normalized dataset."""
    images, labels = (np.load(folder / f"{split}_{what}.npy") for what in ("images", "labels"))
    return (images[:, 0] if images.shape[1] == 1 else np.moveaxis(images, 1, -1)), labels


def standardize(session: Session) -> tuple[np.ndarray, np.ndarray]:
    """Training and test images with the training pixels' mean 0 and standard deviation 1: float32, (N, 28, 28)."""
    mean, std = session.images.mean(), session.images.std()
    train, test = (((images - mean) / std).astype(np.float32) for images in (session.images, session.test_images))
    return train, test


def one_cycle(steps: int) -> np.ndarray:
    """The learning rate of each step, float32: up to LEARNING_RATE and down again, as torch's OneCycleLR does it."""
    rise, step = 0.3 * steps - 1, np.arange(steps)
    low, last = LEARNING_RATE / 25, LEARNING_RATE / 25 / 1e4
    up = low + (LEARNING_RATE - low) * (1 - np.cos(np.pi * step / rise)) / 2
    fall = (step - rise) / (steps - 1 - rise)
    down = last + (LEARNING_RATE - last) * (1 + np.cos(np.pi * fall)) / 2
    rates: np.ndarray = np.where(step <= rise, up, down)
    return rates.astype(np.float32)
