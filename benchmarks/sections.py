"""The parts of docs/benchmarks.md that are measured apart: each is renewed without a change to the rest."""

from collections.abc import Iterable
from pathlib import Path

PAGE = Path("docs/benchmarks.md")
PEERS = "peers"
FEW_IMAGES = "few images"
PHOTOGRAPHS = "photographs"
GPU = "gpu"


def put_section(page: Path, name: str, lines: Iterable[str]) -> None:
    """Put the lines between the section's marks; at the end of the page where it has none."""
    text, (start, end) = page.read_text("utf-8"), marks(name)
    before, _, rest = text.partition(start)
    _, _, after = rest.partition(end)
    page.write_text(
        f"{before.rstrip()}\n\n{start}\n" + "\n".join(lines).strip() + f"\n{end}\n{after.lstrip()}", "utf-8"
    )


def kept_section(page: Path, name: str) -> list[str]:
    """The section as it is on the page, with its marks; nothing where there is none."""
    text, (start, end) = page.read_text("utf-8") if page.exists() else "", marks(name)
    _, found, rest = text.partition(start)
    return [f"\n{start}{rest.partition(end)[0]}{end}\n"] if found else []


def marks(name: str) -> tuple[str, str]:
    """The comments around a section."""
    return f"<!-- {name} -->", f"<!-- end of {name} -->"
