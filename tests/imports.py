"""Which of the project's files a file imports, for the test of dvc.yaml's deps."""

import ast
from pathlib import Path

PACKAGES = ("src", "stages", "commands")


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
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            names |= {node.module or ""} | {f"{node.module}.{alias.name}" for alias in node.names}
    own = [Path(*name.split(".")) for name in names if name.split(".")[0] in PACKAGES]
    return [file for name in own for file in (name.with_suffix(".py"), name / "__init__.py") if file.exists()]
