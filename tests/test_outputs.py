import os
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from src import outputs
from src.errors import MnistryError
from src.outputs import require_room, whole_file, whole_folder, writing
from tests.conftest import PROJECT


def test_folder_appears_when_it_is_whole(tmp_path):
    """Not before the block ends."""
    path = tmp_path / "a" / "out"
    with whole_folder(path) as folder:
        (folder / "file").write_text("new")
        assert not path.exists()
    assert (path / "file").read_text() == "new"
    assert [child.name for child in path.parent.iterdir()] == ["out"]


def test_failure_leaves_what_was_there(tmp_path):
    """The old folder stays, and nothing half-written."""
    path = tmp_path / "out"
    with whole_folder(path) as folder:
        (folder / "file").write_text("old")
    with pytest.raises(FileNotFoundError), whole_folder(path) as folder:
        (folder / "no such folder" / "file").write_text("new")
    assert (path / "file").read_text() == "old"
    assert [child.name for child in tmp_path.iterdir()] == ["out"]


def test_leavings_of_a_killed_run_are_cleared(tmp_path):
    """They don't become part of the next folder."""
    (tmp_path / ".out.partial").mkdir()
    (tmp_path / ".out.partial" / "stale").touch()
    with whole_folder(tmp_path / "out"):
        pass
    assert list((tmp_path / "out").iterdir()) == []


def test_file_appears_when_it_is_whole(tmp_path):
    """Until then there is the old one; a failure leaves it, and nothing half-written."""
    path = tmp_path / "a" / "out"
    for content, before in ((b"old", None), (b"new", b"old")):
        with whole_file(path) as file:
            file.write(content)
            assert (path.read_bytes() if path.exists() else None) == before
    with pytest.raises(ZeroDivisionError), whole_file(path) as file:
        file.write(bytes(1 // 0))
    assert path.read_bytes() == b"new"
    assert list(path.parent.iterdir()) == [path]


def test_room_is_checked_by_writing(tmp_path):
    """Nothing stays; what the system says is in the error, with the room that is needed."""
    require_room(tmp_path / "models" / "out", 1000)
    assert list((tmp_path / "models").iterdir()) == []
    (tmp_path / "file").touch()
    with pytest.raises(MnistryError, match=r"file/out: can't be written \(.+\); .+ with room for 1 kB"):
        require_room(tmp_path / "file" / "out", 1000)


@pytest.mark.skipif("sys.platform == 'win32'", reason="limits are of POSIX")
def test_too_little_room_is_found_out(tmp_path):
    """Here a limit of the process takes the place of a full disk: 1,000 bytes are written, 10,000 aren't."""
    program = (
        "import resource, sys; from pathlib import Path; from src.outputs import require_room;"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096)); path = Path(sys.argv[1]);"
        "require_room(path, 1000); print('fits', flush=True); require_room(path, 10_000)"
    )
    command = [sys.executable, "-c", program, tmp_path / "out"]
    result = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert result.stdout == "fits\n"
    assert "out: can't be written (file too large); expected a folder that can be written to" in result.stderr


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 64 kB; skips where none may be mounted."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)]
    if os.name != "posix" or shutil.which("mount") is None or subprocess.run(mount, check=False).returncode:
        pytest.skip("needs the right to mount a disk in memory")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def write_bytes(folder):
    """More than the disk has room for."""
    (folder / "file").write_bytes(bytes(1 << 20))


def write_array(folder):
    """As numpy, whose error has no number and names no file."""
    np.save(folder / "file.npy", np.zeros(1 << 20))


def copy_file(folder):
    """Whose error names the file that is copied from."""
    shutil.copyfile(Path(np.__file__).parent / "_core" / "numeric.py", folder / "file")


@pytest.mark.parametrize("write", [write_bytes, write_array, copy_file])
def test_full_disk_names_the_output_and_the_room(small_disk, write):
    """Whatever the system names; and nothing half-written stays."""
    output = small_disk / "out"
    with pytest.raises(MnistryError, match=r"out: .* written; .* are free there. Make room") as error, \
            whole_folder(output) as folder:  # fmt: skip
        write(folder)
    assert str(error.value).startswith(f"{output}: ")
    assert list(small_disk.iterdir()) == []


def test_read_only_disk_is_named(small_disk):
    """With the output, not with what is written before it gets its name."""
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with (
        pytest.raises(MnistryError, match="/out: read-only file system after 0 bytes"),
        whole_folder(small_disk / "out"),
    ):
        pass


def test_limit_on_files_is_named_like_a_full_disk(tmp_path):
    """Of a single file, too."""
    limits, action = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(MnistryError, match="/file: file too large after 1 kB were"), writing(tmp_path / "file"):
            (tmp_path / "file").write_bytes(bytes(2000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, action)


def test_room_is_asked_for_before_anything_is_written(tmp_path):
    """Where the size is known; no folder is made for what can't fit."""
    with pytest.raises(MnistryError, match=r"out: takes 1e\+03 PB, but only .* are free there"):
        require_room(tmp_path / "a/b/out", 10**18)
    assert list(tmp_path.iterdir()) == []


def test_large_files_are_tried_with_a_part_of_their_size(tmp_path, monkeypatch):
    """Arrays of gigabytes aren't written twice."""
    written = []

    def zeros(size):
        written.append(size)
        return b""

    monkeypatch.setattr(outputs, "bytes", zeros, raising=False)
    require_room(tmp_path / "out", outputs.PROBE_BYTES + 1)
    assert written == [outputs.PROBE_BYTES]
