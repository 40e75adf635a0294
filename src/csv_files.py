"""The CSV files that stages and commands write, and the numbers in them."""

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from src.outputs import writing


def significant(value: float) -> float:
    """A loss or a probability with five significant digits: all that different processors agree on."""
    return float(f"{value:.5g}")


def write_csv(path: Path, rows: Iterable[Mapping[str, Any]], columns: Sequence[str] = ()) -> None:
    """Write rows that `dvc plots` reads, one by one. columns: by default the first row's, of a list that isn't empty.

    Raises MnistryError where the disk has no room.
    """
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", encoding="utf-8", newline="") as file:
            if not columns:
                rows = list(rows)
                columns = list(rows[0])
            writer = csv.DictWriter(file, columns, lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
