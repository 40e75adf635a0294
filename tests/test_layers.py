"""Which part of the project may import which."""

from pathlib import Path

import pytest

from tests.conftest import PROJECT
from tests.imports import imported_names

DOORS = {"stages", "commands", "benchmarks", "tests"}


def imported_modules(path: Path) -> set[str]:
    """The dotted names of the project's modules that the file imports."""
    return {name for name in imported_names(path) if name.split(".")[0] in DOORS | {"src"}}


def modules_of(package: str) -> list[str]:
    """The package's files, from the project's folder."""
    return sorted(path.relative_to(PROJECT).as_posix() for path in (PROJECT / package).rglob("*.py"))


@pytest.mark.parametrize("path", modules_of("src"))
def test_the_library_imports_no_door(path):
    """src/ knows neither stages nor commands."""
    assert not {name for name in imported_modules(PROJECT / path) if name.split(".")[0] in DOORS}


@pytest.mark.parametrize("path", [*modules_of("stages"), *modules_of("commands")])
def test_no_door_imports_another(path):
    """A stage or command imports what its package shares, its own parts and src/; nothing else of the project."""
    package, module = Path(path).with_suffix("").parts[:2]
    others = {other.stem for other in (PROJECT / package).iterdir()} - {module, "__init__", "__pycache__"}
    for name in imported_modules(PROJECT / path):
        first, _, second = name.partition(".")
        assert first == "src" or (first == package and second.partition(".")[0] not in others), f"{path} imports {name}"


@pytest.mark.parametrize("path", modules_of("src"))
def test_the_library_never_opens_params_yaml(path):
    """Params come as arguments; src/params.py alone names the file, for the stages that ask it to read."""
    assert path == "src/params.py" or 'params.yaml"' not in (PROJECT / path).read_text("utf-8")
