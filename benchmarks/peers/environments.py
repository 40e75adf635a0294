"""An environment per kind of system, made from its lock in `requirements/` on demand, under `.venv-peers/`."""

import shutil
import sys
from pathlib import Path

from benchmarks import output_of

LOCKS = Path("benchmarks/peers/requirements")
ENVIRONMENTS = Path(".venv-peers")


def python_of(name: str) -> str:
    """The path of Python in the environment `name`, which is made anew where it isn't what its lock says.

    A copy of the lock is there while the environment is whole, as in `.venv`. An empty name means the project's own.
    """
    if not name:
        return sys.executable
    lock, folder = LOCKS / f"{name}.txt", ENVIRONMENTS / name
    python, copy = folder / "bin" / "python", folder / "requirements.txt"
    if not copy.exists() or copy.read_bytes() != lock.read_bytes():
        print(f"making {folder} from {lock}", flush=True)
        uv = str(Path(sys.executable).parent / "uv")
        output_of(uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(folder))
        install = (uv, "pip", "sync", "--quiet", "--python", str(python), "--require-hashes", "--compile-bytecode")
        output_of(*install, str(lock))
        shutil.copy(lock, copy)
    return str(python)
