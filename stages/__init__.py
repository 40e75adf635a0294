"""The pipeline's steps: each takes its paths from dvc.yaml's cmd, reads params, calls src and writes outputs."""

import src.start  # noqa: F401  # Ctrl+C ends with a line from here on.

# isort: split
import inspect
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from src.errors import exit_on_error, one_line
from src.outputs import writing
from src.start import all_imported


def run_stage(main: Callable[..., None]) -> None:
    """Call `main` with the command line's arguments as paths.

    A mistake that the user can fix ends with its message and exit status 1.
    """
    all_imported()
    names, paths = list(inspect.signature(main).parameters), [Path(argument) for argument in sys.argv[1:]]
    if len(paths) != len(names):
        sys.exit(f"usage: python -m stages.{Path(sys.argv[0]).stem} {' '.join(names).upper()}")
    with exit_on_error():
        main(*paths)


def log(message: str) -> None:
    """Print a line at once, also where output goes to a file."""
    print(one_line(message), flush=True)


def write_json(path: Path, metrics: Mapping[str, float | int]) -> None:
    """Write metrics that `dvc metrics` reads; raises ValueError where one is not finite."""
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(metrics, indent=2, allow_nan=False) + "\n")
