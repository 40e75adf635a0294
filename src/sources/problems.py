"""Mistakes in somebody's images, collected and told together."""

from collections.abc import Sequence

from src.errors import MnistryError

SHOWN = 20


def refuse(dataset: str, problems: Sequence[str]) -> None:
    """Raise MnistryError with the first twenty problems and their number, if there are any."""
    if not problems:
        return
    rest = [f"... and {len(problems) - SHOWN} more"] if len(problems) > SHOWN else []
    count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
    raise MnistryError("\n  ".join([f"{dataset}: {count}; nothing was written", *problems[:SHOWN], *rest]))
