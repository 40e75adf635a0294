"""`make environment`: .venv is made, renewed and used; nothing else is touched. With small wheels and no network."""

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import PROJECT

UV = Path(sys.executable).parent / "uv"
UV_SCRIPT = f"""#!/bin/sh
# The real uv, but where asked to, it stops in the middle of the installation.
if [ -e hang ]; then
  rm hang
  touch .venv/half_a_package
  sleep 60
fi
exec {UV} "$@"
"""
DVC_SCRIPT = """#!python
import shutil, sys
print("dvc in", sys.prefix, "for", shutil.which("python"), "with", sys.path)
"""


class Setup:
    """A folder with the project's Makefile and a lock of one small package."""

    def __init__(self, folder: Path):
        self.folder = folder
        (folder / "wheels").mkdir(parents=True)
        shutil.copy(PROJECT / "Makefile", folder)
        self.lock("requirements-uv.txt", "uv", "1", {"uv": UV_SCRIPT})
        self.lock("requirements.txt", "dvc", "1", {"dvc": DVC_SCRIPT})

    def lock(self, requirements: str, package: str, version: str, scripts: dict[str, str]) -> None:
        """Write a wheel that installs the scripts, and a lock that asks for it."""
        wheel = self.folder / "wheels" / f"{package}-{version}-py3-none-any.whl"
        files = {f"{package}-{version}.data/scripts/{name}": text for name, text in scripts.items()}
        info = f"{package}-{version}.dist-info"
        files[f"{info}/METADATA"] = f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n"
        files[f"{info}/WHEEL"] = "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        files[f"{info}/RECORD"] = "".join(f"{name},,\n" for name in [*files, f"{info}/RECORD"])
        with zipfile.ZipFile(wheel, "w") as archive:
            for name, text in files.items():
                entry = zipfile.ZipInfo(name)
                entry.external_attr = 0o100755 << 16
                archive.writestr(entry, text)
        sha256 = hashlib.sha256(wheel.read_bytes()).hexdigest()
        text = f"--no-index\n--find-links wheels\n{package}=={version} --hash=sha256:{sha256}\n"
        (self.folder / requirements).write_text(text)

    def command(self, *arguments: str, **environment: str) -> dict[str, Any]:
        """What subprocess takes to run make with the arguments."""
        own = {"UV_CACHE_DIR": str(self.folder / "cache"), "MAKEFLAGS": ""} | environment
        return {
            "args": ["make", *arguments], "cwd": self.folder, "env": os.environ | own,
            "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True,
        }  # fmt: skip

    def make(self, *arguments: str, status: int = 0, **environment: str) -> str:
        """Run make; what it prints."""
        result = subprocess.run(**self.command(*arguments, **environment), check=False)
        output: str = result.stdout
        assert result.returncode == status, output
        return output

    def installed(self) -> set[str]:
        """The packages in .venv but for those that every environment starts with."""
        found = {path.name for path in self.folder.glob(".venv/lib/python*/site-packages/*.dist-info")}
        return {name.removesuffix(".dist-info") for name in found if not name.startswith(("pip-", "setuptools-"))}


@pytest.fixture
def setup(tmp_path):
    """In a folder with a space in its name."""
    return Setup(tmp_path / "my project")


@pytest.fixture
def other(tmp_path):
    """Another environment with a package and with programs that fail; its path."""
    other = tmp_path / "other"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", other], check=True)
    (site_packages,) = other.glob("lib/python*/site-packages")
    info = site_packages / "kept-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: kept\nVersion: 1\n")
    (info / "RECORD").write_text("")
    for program in ("dvc", "uv", "pip"):
        script = other / "bin" / program
        script.write_text("#!/bin/sh\necho the other environment\nexit 1\n")
        script.chmod(0o755)
    return other


def contents(folder):
    """Every file's path and time of change."""
    return {path: path.lstat().st_mtime_ns for path in folder.rglob("*") if path.suffix != ".pyc"}


def test_another_active_environment_is_left_alone(setup, other):
    """Neither installed into, nor used, whatever variables name it or one of its folders."""
    before = contents(other)
    active = {
        "PATH": f"{other / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "PYTHONHOME": "/nowhere",
        "PYTHONPATH": str(other / "shadows"),
        "UV_SYSTEM_PYTHON": "1",
        "UV_WORKING_DIR": str(other),
        "PIP_USER": "1",
    }
    active |= dict.fromkeys(("VIRTUAL_ENV", "CONDA_PREFIX", "PIP_PREFIX", "PIP_TARGET", "PIP_ROOT"), str(other))
    active |= dict.fromkeys(("UV_PYTHON", "PIP_PYTHON"), str(other / "bin" / "python"))
    output = setup.make("repro", **active)
    environment = setup.folder / ".venv"
    assert f"dvc in {environment} for {environment}/bin/python with" in output
    assert "shadows" not in output
    assert setup.installed() == {"uv-1", "dvc-1"}
    assert contents(other) == before


def test_environment_is_made_once_and_follows_the_lock(setup):
    """A second make installs nothing; a changed lock is installed into the same environment."""
    first = setup.make("environment")
    assert "Successfully installed uv-1" in first
    assert "+ dvc==1" in first
    assert "install" not in setup.make("environment")
    (setup.folder / ".venv" / "same").touch()
    setup.lock("requirements.txt", "dvc", "2", {"dvc": DVC_SCRIPT})
    assert "+ dvc==2" in setup.make("environment")
    assert setup.installed() == {"uv-1", "dvc-2"}
    setup.lock("requirements-uv.txt", "uv", "2", {"uv": UV_SCRIPT})
    setup.make("environment")
    assert setup.installed() == {"uv-2", "dvc-2"}
    assert (setup.folder / ".venv" / "same").exists()


def test_interrupted_environment_is_made_again(setup):
    """Killed while packages are installed: what is there in part goes, also where an older lock had been complete."""
    setup.make("environment")
    setup.lock("requirements.txt", "dvc", "2", {"dvc": DVC_SCRIPT})
    (setup.folder / "hang").touch()
    process = subprocess.Popen(**setup.command("environment"), start_new_session=True)
    half = setup.folder / ".venv" / "half_a_package"
    deadline = time.monotonic() + 60
    while not half.exists():
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert "dvc in" in setup.make("repro")
    assert not half.exists()
    assert setup.installed() == {"uv-1", "dvc-2"}


@pytest.mark.parametrize("program", ["#!/bin/sh\nexit 1\n", None])
def test_too_old_a_python_is_refused(setup, program):
    """Or none at all, with what to do, before anything is made."""
    python = setup.folder / "old_python"
    if program:
        python.write_text(program)
        python.chmod(0o755)
    output = setup.make("PYTHON=./old_python", "repro", status=2)
    assert "error: ./old_python is missing or older than 3.11; name a newer one: make PYTHON=python3.13 repro" in output
    assert not (setup.folder / ".venv").exists()
