"""The documents name commands, files and headings that exist."""

import importlib.util
import re
from pathlib import Path

import pytest

from tests.conftest import PROJECT

DOCUMENTS = sorted([*PROJECT.glob("*.md"), *(PROJECT / "docs").glob("*.md")])
MAKEFILE = (PROJECT / "Makefile").read_text("utf-8")


def named(path: Path) -> str:
    """The path from the project's folder."""
    return path.relative_to(PROJECT).as_posix()


def blocks(path: Path, language: str = "sh") -> list[str]:
    """The document's blocks of code in the language."""
    return re.findall(rf"^```{language}\n(.*?)^```", path.read_text("utf-8"), re.MULTILINE | re.DOTALL)


def commands(path: Path) -> list[str]:
    """The commands in the document's shell blocks, one line each, without comments."""
    joined = [block.replace("\\\n", " ") for block in blocks(path)]
    lines = (re.sub(r"(^|\s+)#.*", "", line) for block in joined for line in block.splitlines())
    return [" ".join(line.split()) for line in lines if line.strip()]


def map_of_the_code() -> list[tuple[list[str], list[Path]]]:
    """The rows of docs/design.md's map: the names in it, and the modules that they are said to be in.

    A module's path may be short for one in the folder of the row's first.
    """
    rows = []
    for line in (PROJECT / "docs" / "design.md").read_text("utf-8").splitlines():
        if line.startswith("| ") and line.count("|") == 4 and ".py`" in line:
            names, paths = (re.findall(r"`([^`]+)`", cell) for cell in line.split("|")[2:4])
            folder = Path(paths[0]).parent
            rows.append((names, [PROJECT / (path if "/" in path else folder / path) for path in paths]))
    return rows


def anchor(heading: str) -> str:
    """What GitHub calls the heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("path", DOCUMENTS, ids=named)
def test_named_commands_exist(path):
    """Each `python -m` module of ours and each target of make."""
    text = path.read_text("utf-8")
    for module in re.findall(r"python -m ((?:commands|stages|benchmarks|tests)[.\w]*\w)", text):
        assert importlib.util.find_spec(module), module
    # A word in plain text behind `make` may be any; in code it is a target.
    for target in re.findall(r"(?:^|`)make (?:[A-Z]+=\S+ )?([a-z]+)", text, re.MULTILINE):
        assert re.search(rf"^{target}:", MAKEFILE, re.MULTILINE), target


@pytest.mark.parametrize("path", DOCUMENTS, ids=named)
def test_links_lead_somewhere(path):
    """Within the project: files, and headings in them."""
    for target, heading in re.findall(r"\]\((?!https?:)([^)#\s]*)(?:#([^)\s]+))?\)", path.read_text("utf-8")):
        file = path.parent / target if target else path
        assert file.exists(), target
        if heading:
            headings = re.findall(r"^#+ (.+)$", file.read_text("utf-8"), re.MULTILINE)
            assert heading in map(anchor, headings), f"{target}#{heading}"


@pytest.mark.parametrize("path", DOCUMENTS, ids=named)
def test_blocks_fit_the_page(path):
    """GitHub shows about a hundred columns before it scrolls sideways; diagrams are drawn, not shown as text."""
    for language, block in re.findall(r"^```(\w*)\n(.*?)^```", path.read_text("utf-8"), re.MULTILINE | re.DOTALL):
        assert language == "mermaid" or max(map(len, block.splitlines())) <= 100


@pytest.mark.parametrize("path", DOCUMENTS, ids=named)
def test_named_tests_exist(path):
    """The file, and the test in it where one is named, as docs/reliability.md does for each promise."""
    for file, test in re.findall(r"(?:^|[`/ ])(test_\w+\.py)(?:::(\w+))?", path.read_text("utf-8"), re.MULTILINE):
        text = (PROJECT / "tests" / file).read_text("utf-8")
        assert not test or f"\ndef {test}(" in text, f"{file}::{test}"


def test_korean_readmes_commands_are_the_readmes():
    """Both ways: what one says to type, the other does."""
    assert commands(PROJECT / "README.ko.md") == commands(PROJECT / "README.md")


def test_targets_of_make_are_explained():
    """`make help` lists each with a sentence, but for aliases of another."""
    for target in re.findall(r"^([a-z]+):(?! *[a-z]+$).*$", MAKEFILE, re.MULTILINE):
        assert re.search(rf"^{target}:.* ## .+", MAKEFILE, re.MULTILINE), target


@pytest.mark.parametrize(("names", "modules"), map_of_the_code())
def test_the_maps_names_are_in_their_modules(names, modules):
    """docs/design.md: each function and class is in a module of its row, and each of the modules has one of them."""
    found = {
        module: set(re.findall(r"^(?:def|class) (\w+)", module.read_text("utf-8"), re.MULTILINE)) for module in modules
    }
    assert set(names) <= set().union(*found.values())
    assert not [module.name for module in modules if not found[module] & set(names)]


def test_the_map_has_every_module():
    """docs/design.md: whatever is done in src/ is named there."""
    mapped = {module for _, modules in map_of_the_code() for module in modules}
    written = {path for path in (PROJECT / "src").rglob("*.py") if "def " in path.read_text("utf-8")}
    assert not [named(path) for path in sorted(written - mapped)]
