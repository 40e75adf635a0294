"""How long a training takes on machines that fail: the closed formulas, and a simulation to check them by."""

import heapq
import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from statistics import median

import numpy as np


@dataclass(frozen=True)
class Restarts:
    """A training that goes on from its last checkpoint after each failure; all in seconds.

    interval: of work between two checkpoints. checkpoint: to write one. restart: from a failure until work goes on.
    """

    interval: float
    checkpoint: float
    restart: float

    def expected(self, work: float, between_failures: float) -> float:
        """The mean time that so much work takes where failures come at random, on average that far apart.

        Exact for exponential times between failures, which may come while a checkpoint is written or a restart is under
        way: J. T. Daly, A higher order estimate of the optimum checkpoint interval for restart dumps, Future Generation
        Computer Systems 22 (2006). Infinity where it is too large for a float.
        """
        # The segment's own length appears where failures are rare: expm1 keeps it.
        exponents = self.restart / between_failures, (self.interval + self.checkpoint) / between_failures
        if sum(exponents) > math.log(np.finfo(float).max) / 2:
            return math.inf
        segment = between_failures * math.exp(exponents[0]) * math.expm1(exponents[1])
        return segment * work / self.interval

    def with_best_interval(self, between_failures: float) -> "Restarts":
        """The same with Daly's interval, which is Young's, the root of 2 · checkpoint · between_failures, refined.

        J. W. Young, A first order approximation to the optimum checkpoint interval, CACM 17 (1974); Daly, as above.
        """
        half = self.checkpoint / (2 * between_failures)
        if half >= 1:
            return replace(self, interval=between_failures)
        young = math.sqrt(2 * self.checkpoint * between_failures)
        return replace(self, interval=young * (1 + math.sqrt(half) / 3 + half / 9) - self.checkpoint)

    def replay(self, work: float, failures: Iterable[float]) -> float:
        """The time that so much work takes where failures come at those times, which ascend."""
        coming = iter(failures)
        now, done, failure = 0.0, 0.0, next(coming, math.inf)
        while done < work:
            step = min(self.interval, work - done)
            if now + step + self.checkpoint <= failure:
                now, done = now + step + self.checkpoint, done + step
                continue
            # One that comes before the restart is over is earlier than `now`: the restart begins again then.
            now, failure = failure + self.restart, next(coming, math.inf)
        return now

    def simulated(self, work: float, hosts: int, host_years: float, runs: int, seed: int = 0) -> np.ndarray:
        """The times of so many runs on hosts each of which fails by itself, on average after that many years."""
        generator = np.random.default_rng(seed)
        mean = host_years * YEAR
        return np.array([self.replay(work, host_failures(hosts, mean, generator)) for _ in range(runs)])


@dataclass(frozen=True)
class Epochs:
    """When a training lost a process, and when it said that an epoch was done, in seconds since it was started.

    numbers, times: of the epochs as they came; those after the last checkpoint come again after a loss.
    """

    killed: Sequence[float]
    numbers: Sequence[int]
    times: Sequence[float]

    def epoch(self) -> float:
        """The median time of an epoch."""
        pairs = itertools.pairwise(self.times)
        return median(end - begin for begin, end in pairs if not any(begin < loss < end for loss in self.killed))

    def restarts(self) -> list[float]:
        """From each loss until the epoch began that was the first one done after it."""
        return [min(time for time in self.times if time > loss) - self.epoch() - loss for loss in self.killed]

    def work_began(self) -> float:
        """When the first epoch did."""
        return self.times[0] - self.epoch()


YEAR = 365.25 * 86_400


def host_failures(hosts: int, mean: float, generator: np.random.Generator) -> Iterator[float]:
    """The times at which one of the hosts fails, ascending, without end; another one takes its place at once.

    mean: seconds until a host fails, exponentially distributed.
    """
    coming = generator.exponential(mean, hosts).tolist()
    heapq.heapify(coming)
    while True:
        now = coming[0]
        yield now
        heapq.heapreplace(coming, now + generator.exponential(mean))


def chance_of_more(failures: int, time: float, between_failures: float) -> float:
    """The probability of more than so many failures in that time."""
    mean = time / between_failures
    term = total = math.exp(-mean)
    for number in range(1, failures + 1):
        term *= mean / number
        total += term
    return max(1 - total, 0.0)
