"""What users run: one module per command, as in `python -m commands.predict`. Here is what the commands share."""

import src.start  # noqa: F401  # Ctrl+C ends with a line from here on.

# isort: split
import argparse
import io
import sys
from collections.abc import Callable
from pathlib import Path

import yaml

from src.errors import MnistryError, exit_on_error, one_line
from src.start import all_imported

CLASSIFIER = Path("models/classifier.safetensors")
"""The pipeline's."""
OWN_DATASET = " or give its own dataset with --data FOLDER"
"""What a user can do where the classifier was trained on another dataset, in commands with that option."""


def run_command(main: Callable[[], int]) -> None:
    """Exit with the status that `main` returns; a mistake that the user can fix ends with its message and status 1."""
    all_imported()
    # File and class names may hold what the terminal's encoding lacks. Standard error escapes that by itself.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    with exit_on_error():
        sys.exit(main())


def warn(message: str, kind: str = "warning") -> None:
    """Print a line on standard error at once."""
    print(one_line(f"{kind}: {message}"), file=sys.stderr, flush=True)


def figure_file(text: str) -> Path:
    """The argument of an option that names a figure to write; argparse prints what is wrong with it."""
    path = Path(text)
    if path.suffix.lower() not in (".png", ".jpg", ".jpeg"):
        raise argparse.ArgumentTypeError(f"{text!r}; expected a name that ends in .png or .jpg")
    return path


def count(text: str) -> int:
    """The whole number, from 1 on, that an option is given; raises ArgumentTypeError."""
    number = int(text) if text.isdecimal() else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 on")
    return number


def trained_on(lock: Path = Path("dvc.lock")) -> Path:
    """The normalized dataset that the pipeline's classifier came from, as dvc.lock has it; raises MnistryError."""
    try:
        stages = yaml.safe_load(lock.read_text("utf-8"))["stages"]
    except FileNotFoundError:
        raise MnistryError(f"{lock}: no such file; run from the project's top folder") from None
    paths = [Path(entry["path"]) for entry in stages.get("train", {}).get("deps", [])]
    for path in paths:
        if path.parent.name == "normalized":
            return path
    raise MnistryError(f"{lock}: names no dataset that the classifier was trained on; give it with --data FOLDER")
