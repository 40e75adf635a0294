"""The pipeline's steps: each takes its paths from dvc.yaml's cmd, reads params, calls src and writes outputs."""

import csv
import gc
import inspect
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from src.errors import MnistryError


def run_stage(main: Callable[..., None]) -> None:
    """Call `main` with the command line's arguments as paths.

    A mistake that the user can mend ends with its message and exit status 1.
    """
    names, paths = list(inspect.signature(main).parameters), [Path(argument) for argument in sys.argv[1:]]
    if len(paths) != len(names):
        sys.exit(f"usage: python -m stages.{Path(sys.argv[0]).stem} {' '.join(names).upper()}")
    # What was imported stays; looking through it for garbage at the end takes half a second.
    gc.freeze()
    try:
        main(*paths)
    except MnistryError as error:
        sys.exit(f"error: {error}")
    except OSError as error:
        sys.exit(f"error: {error.filename or 'a file'}: {(error.strerror or str(error)).lower()}")
    except KeyboardInterrupt:
        sys.exit(130)


def log(message: str) -> None:
    """Print a line at once, also where output goes to a file."""
    print(message, flush=True)


def write_json(path: Path, figures: Mapping[str, float | int]) -> None:
    """Write figures that `dvc metrics` reads; not finite numbers are refused."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(figures, indent=2, allow_nan=False) + "\n")


def write_csv(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write rows that `dvc plots` reads."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
