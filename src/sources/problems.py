"""Mistakes in somebody's images, collected and told together."""

import unicodedata
from collections.abc import Sequence

from src.errors import MnistryError

SHOWN = 20


def refuse(dataset: str, problems: Sequence[str]) -> None:
    """Raise MnistryError with the first twenty problems and their number, if there are any."""
    if not problems:
        return
    count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
    raise MnistryError("\n  ".join([f"{dataset}: {count}; nothing was written", *_shown(problems)]))


def warn(warnings: Sequence[str]) -> None:
    """Print the first twenty warnings and the number of the others."""
    for line in _shown(warnings):
        print(f"warning: {line}", flush=True)


def _shown(lines: Sequence[str]) -> list[str]:
    rest = [f"... and {len(lines) - SHOWN} more"] if len(lines) > SHOWN else []
    return [*map(printable, lines[:SHOWN]), *rest]


def printable(text: str) -> str:
    """The text in one line that any UTF-8 output takes: control characters and what is no text are escaped."""
    return "".join(
        char.encode("unicode_escape").decode() if unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp") else char
        for char in text
    )
