"""Confusion matrices as Markdown, for comments on pull requests."""

import re
from collections.abc import Iterable, Sequence

from commands.report.charts import MOST_NUMBERED, Rows, confusion_counts, confusions
from commands.report.groups import Shown


def confusion_markdown(groups: Sequence[Shown], rows: Rows) -> str:
    """A table per group: images, one row per actual class; of many classes, the commonest mistakes alone.

    Of several seeds, images are means. Empty cells are 0.
    """
    parts = []
    for group in groups:
        counts = confusion_counts(group, rows)
        classes = list(dict.fromkeys(actual for actual, _ in counts))
        names = list(map(escape, classes))
        parts.append(f"**Confusion matrix of {escape(group.name)}**: images\n")
        if len(classes) > MOST_NUMBERED:
            parts.append(f"The commonest mistakes among {len(classes)} classes:\n")
            mistakes = (
                (escape(actual), escape(predicted), _number(count))
                for actual, predicted, count in confusions(group, rows)
            )
            parts += table(("actual", "predicted", "images"), mistakes)
        else:
            cells = [[_number(counts.get((name, other), 0)) for other in classes] for name in classes]
            parts += table(
                ("actual / predicted", *names), ([name, *row] for name, row in zip(names, cells, strict=True))
            )
        parts.append("")
    return "\n".join(parts)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """The lines of a table whose numbers are on the right. head, rows: in Markdown."""
    lines = [" | ".join(row) for row in (head, *rows)]
    return [f"| {lines[0]} |", f"|---|{'---:|' * (len(head) - 1)}", *(f"| {line} |" for line in lines[1:])]


def escape(text: str) -> str:
    """The text in one line, in which Markdown and HTML see nothing but text: of class names, anything may come."""
    return re.sub(r"([!-/:-@\[-`{-~])", r"\\\1", " ".join(text.split()))


def _number(count: float) -> str:
    return f"{count:,.1f}".removesuffix(".0") if count else ""
