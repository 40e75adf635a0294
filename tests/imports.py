"""Which of the project's files a file imports; `make deps` brings dvc.yaml's deps up to date with it."""

import ast
import re
from pathlib import Path

from src.params import MODELS

PACKAGES = ("src", "stages", "commands")
ENTRY = r"(?:    # .*\n)*    - (\S+).*\n"
"""A line of a stage's deps in dvc.yaml, with the comments above it."""
DEPS = re.compile(rf"^  (?P<stage>\w+):\n(?:    .*\n|\n)*?    deps:.*\n(?P<entries>(?:{ENTRY})+)", re.MULTILINE)
"""A stage of dvc.yaml, up to the end of its deps."""


def project_imports(file: Path) -> set[str]:
    """All files of the project that importing `file` runs or may run, itself included, as POSIX paths.

    Imports inside functions count; those of src/models/<name>.py by name don't, since they depend on params.
    """
    found: set[Path] = set()
    waiting = [file]
    while waiting:
        path = waiting.pop()
        if path not in found:
            found.add(path)
            waiting += _direct_imports(path)
            waiting += [parent / "__init__.py" for parent in path.parents if (parent / "__init__.py").exists()]
    return {path.as_posix() for path in found}


def _direct_imports(path: Path) -> list[Path]:
    own = [Path(*name.split(".")) for name in imported_names(path) if name.split(".")[0] in PACKAGES]
    return [file for name in own for file in (name.with_suffix(".py"), name / "__init__.py") if file.exists()]


def imported_names(path: Path) -> set[str]:
    """The dotted names of whatever the file imports, inside functions too, and of the modules that they are from."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            names |= {node.module or ""} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def stage_imports(stage: str) -> set[str]:
    """All files of the project that the stage may run, as dvc.yaml names them: the chosen model's by `${model}`."""
    found = project_imports(Path("stages", f"{stage}.py"))
    if "src/models/__init__.py" in found:
        modules = {f"src/models/{model}.py" for model in MODELS}
        found |= {"src/models/${model}.py"}.union(*(project_imports(Path(module)) for module in modules)) - modules
    return found


def with_real_deps(pipeline: str) -> str:
    """dvc.yaml's text with the .py files of each stage's deps as its imports are, sorted and last; the rest stays."""
    return DEPS.sub(_with_real_entries, pipeline)


def _with_real_entries(stage: re.Match[str]) -> str:
    entries = {entry[1]: entry[0] for entry in re.finditer(ENTRY, stage["entries"])}
    others = [entry for path, entry in entries.items() if not path.endswith(".py")]
    files = [entries.get(path, f"    - {path}\n") for path in sorted(stage_imports(stage["stage"]))]
    return stage[0].removesuffix(stage["entries"]) + "".join(others + files)


if __name__ == "__main__":
    path = Path("dvc.yaml")
    path.write_text(with_real_deps(path.read_text("utf-8")), "utf-8")
