"""What a training step costs in several processes: computing its share of the batch, and exchanging gradients."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import nnls

LOOPBACK, GIGABIT = "loopback", "1 Gbit/s"
"""The links that are measured: within a machine, and between two network namespaces."""
SIZES = (64, 40_000, 400_000, 1_600_000, 16_000_000)
"""Bytes of the all-reduces that are measured."""
FITTED = (64, 1_600_000)
"""Those of them that a link is fitted to; the others are predicted."""


@dataclass(frozen=True)
class Exchange:
    """One all-reduce that was measured.

    size: bytes that each process gave. seconds: of wall time. processor: seconds of each process.
    """

    link: str
    processes: int
    size: int
    seconds: float
    processor: float


@dataclass(frozen=True)
class Steps:
    """A training step that was measured in several processes, at one batch size in all.

    link: empty for one process. exchanges: bytes of each all-reduce that a
    step makes. seconds: of wall time. processor: seconds of all processes together.
    """

    model: str
    link: str
    processes: int
    batch_size: int
    exchanges: tuple[int, ...]
    seconds: float
    processor: float


@dataclass(frozen=True)
class Link:
    """What joins the processes. latency: seconds per message. bandwidth: bytes per second."""

    latency: float
    bandwidth: float

    def all_reduce(self, size: float, processes: int) -> float:
        """Seconds until all processes have the sum of `size` bytes, in a ring.

        Each sends 2 (p - 1) messages of size / p: P. Patarasuk and X. Yuan, Bandwidth optimal all-reduce algorithms,
        Journal of Parallel and Distributed Computing 69 (2009).
        """
        return 2 * (processes - 1) * (self.latency + size / processes / self.bandwidth)


def of_link(exchanges: Sequence[Exchange], name: str) -> list[Exchange]:
    """Those of two processes that say what a link is: its latency and its bandwidth.

    Those in between say neither: a token bucket, by which links are made slow, lets some messages pass at once.
    """
    return [each for each in exchanges if each.link == name and each.processes == 2 and each.size in FITTED]


def fit_link(exchanges: Sequence[Exchange]) -> Link:
    """The link with the least squares of relative errors."""
    messages = np.array([2.0 * (each.processes - 1) for each in exchanges])
    sizes = np.array([each.size / each.processes for each in exchanges])
    seconds = np.array([each.seconds for each in exchanges])
    terms = np.stack([messages, messages * sizes], axis=1)
    scale = terms.max(0)
    latency, per_byte = nnls(terms / scale / seconds[:, None], np.ones(len(seconds)))[0] / scale
    return Link(float(latency), float("inf") if per_byte == 0 else float(1 / per_byte))


@dataclass(frozen=True)
class StepCost:
    """What a model's step takes of each process, in seconds.

    fixed: whatever its share of the batch. per_image: of its share. together: more, where there are several processes.
    exchanges: as in Steps.
    """

    fixed: float
    per_image: float
    together: float
    exchanges: tuple[int, ...]

    def processor(self, batch_size: float, processes: int) -> float:
        """Of each process, for a step on so many images in all."""
        return self.fixed + self.per_image * batch_size / processes + (self.together if processes > 1 else 0.0)

    def seconds(self, batch_size: float, processes: int, link: Link, speed: float = 1.0) -> float:
        """Of wall time, as if nothing were exchanged while a process computes: the worst case.

        speed: how many times as fast as here a process computes.
        """
        exchanged = sum(link.all_reduce(size, processes) for size in self.exchanges)
        return self.processor(batch_size, processes) / speed + exchanged

    def efficiency(self, batch_size: float, processes: int, link: Link, speed: float = 1.0) -> float:
        """How many times as fast as one process they are, per process."""
        alone, together = (self.seconds(batch_size, count, link, speed) for count in (1, processes))
        return alone / together / processes


def fit_step(steps: Sequence[Steps], processes: int = 2) -> StepCost:
    """The cost of one model's steps, by those of one process at several batch sizes and of so many on one machine."""
    alone = [each for each in steps if each.processes == 1]
    terms = np.array([(1.0, each.batch_size) for each in alone])
    seconds = np.array([each.processor for each in alone])
    scale = terms.max(0)
    fixed, per_image = nnls(terms / scale / seconds[:, None], np.ones(len(alone)))[0] / scale
    (several,) = (each for each in steps if each.processes == processes and each.link == LOOPBACK)
    together = several.processor / processes - fixed - per_image * several.batch_size / processes
    return StepCost(float(fixed), float(per_image), max(float(together), 0.0), several.exchanges)
