"""What is wrong with a dataset, or only odd: collected while it is read, then shown at once."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from src.errors import MnistryError, one_line

SHOWN = 20


@dataclass
class Findings:
    """Collects one line per problem, warning and note; all code that lists or measures images adds to one of these."""

    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def problem(self, line: str) -> None:
        """Add what keeps the dataset from being read."""
        self.problems.append(line)

    def warn(self, line: str) -> None:
        """Add what is odd, but can be read."""
        self.warnings.append(line)

    def note(self, line: str) -> None:
        """Add how something was read that could be read otherwise."""
        self.notes.append(line)

    def refuse(self, name: str) -> None:
        """Raise MnistryError with the first twenty problems and their number, if there are any.

        name: the dataset's or the archive's.
        """
        if not self.problems:
            return
        count = "1 problem" if len(self.problems) == 1 else f"{len(self.problems)} problems"
        raise MnistryError(f"{name}: {count}; nothing was written", *(f"  {line}" for line in _shown(self.problems)))

    def print_warnings(self) -> None:
        """Print the notes and warnings, the first twenty of each and the number of the others."""
        for kind, lines in (("note", self.notes), ("warning", self.warnings)):
            for line in _shown(lines):
                print(f"{kind}: {line}", flush=True)


def _shown(lines: Sequence[str]) -> list[str]:
    rest = [f"... and {len(lines) - SHOWN} more"] if len(lines) > SHOWN else []
    return [*map(one_line, lines[:SHOWN]), *rest]


def flow_list(names: Sequence[str]) -> str:
    """The names as a list to be written into source.yaml, in quotes where YAML or a pattern needs them."""
    quoted = (name if re.fullmatch(r"[A-Za-z][\w./-]*", name) else repr(name) for name in names)
    return f"[{', '.join(quoted)}]"


def more_than(items: Sequence[object], shown: int) -> str:
    """What to write after the first few of the items: how many others there are, if any."""
    return f" and {len(items) - shown} more" if len(items) > shown else ""
