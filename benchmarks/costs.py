"""What stages cost as a function of the number of images, fitted to measurements of them."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from scipy.optimize import nnls

MEASURED = Path("benchmarks/measured.json")
"""Where benchmarks.scaling and benchmarks.hosts keep what they measured, for benchmarks.plan."""
Quantity = Literal["processor", "wall", "read", "written", "peak"]


@dataclass(frozen=True)
class Measurement:
    """What one run of a stage took, in a process of its own.

    epochs: of training; 0 of other stages. processor: seconds of all its processes together. wall: seconds. read,
    written: bytes from and to the disk. peak: bytes of memory that its largest process held.
    """

    stage: str
    images: int
    epochs: int
    processor: float
    wall: float
    read: int
    written: int
    peak: int


@dataclass(frozen=True)
class Cost:
    """Seconds or bytes: a fixed part, one per image, and one per image and epoch."""

    fixed: float
    per_image: float
    per_epoch: float = 0.0

    def at(self, images: float, epochs: float = 0) -> float:
        """The cost of so many images and epochs."""
        return self.fixed + self.per_image * images + self.per_epoch * images * epochs

    def images_within(self, limit: float, epochs: float = 0) -> float:
        """How many images cost as much as the limit; infinity where an image costs nothing, 0 where there is no way."""
        slope = self.per_image + self.per_epoch * epochs
        return max((limit - self.fixed) / slope, 0.0) if slope else float("inf")


def fit_cost(measurements: Sequence[Measurement], quantity: Quantity) -> Cost:
    """The cost with the least squares of relative errors; none of its parts is below 0, as no cost is.

    Only time has a part per epoch: further epochs find the images in memory.
    """
    timed = quantity in ("processor", "wall")
    values = np.array([max(getattr(each, quantity), 1e-9) for each in measurements])
    terms = np.array([(1.0, each.images, each.images * each.epochs * timed) for each in measurements])
    scale = terms.max(0)
    scale[scale == 0] = 1.0
    parts = nnls(terms / scale / values[:, None], np.ones(len(values)))[0] / scale
    return Cost(*map(float, parts))


def held_out(measurements: Sequence[Measurement]) -> tuple[list[Measurement], Measurement]:
    """A stage's measurements to fit to, and the one with the most images, to be predicted."""
    largest = max(measurements, key=lambda each: each.images * max(each.epochs, 1))
    return [each for each in measurements if each is not largest], largest


def of_stage(measurements: Sequence[Measurement], stage: str) -> list[Measurement]:
    """A stage's measurements, in their order."""
    return [each for each in measurements if each.stage == stage]


def load_measured(path: Path = MEASURED) -> dict[str, list[dict]]:
    """All that was measured so far, by what measured it; nothing where there is no such file."""
    found: dict[str, list[dict]] = json.loads(path.read_text("utf-8")) if path.exists() else {}
    return found


def keep_measured(name: str, rows: Sequence[object], path: Path = MEASURED) -> None:
    """Put dataclasses into the file under that name; what else is in it stays."""
    measured = load_measured(path) | {name: [asdict(row) for row in rows]}  # type: ignore[call-overload]
    listed = (
        f"  {json.dumps(name)}: [\n" + ",\n".join(f"    {json.dumps(row)}" for row in rows) + "\n  ]"
        for name, rows in sorted(measured.items())
    )
    path.write_text("{\n" + ",\n".join(listed) + "\n}\n", "utf-8")


def load_stages(path: Path = MEASURED) -> list[Measurement]:
    """The stages' measurements."""
    return [Measurement(**row) for row in load_measured(path).get("stages", [])]
