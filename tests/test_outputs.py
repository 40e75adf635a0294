import subprocess
import sys

import pytest

from src.errors import MnistryError
from src.outputs import check_room, whole_file, whole_folder
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
    check_room(tmp_path / "models" / "out", 1000)
    assert list((tmp_path / "models").iterdir()) == []
    (tmp_path / "file").touch()
    with pytest.raises(MnistryError, match=r"file/out: can't be written \(.+\); .+ with room for 1,000 bytes"):
        check_room(tmp_path / "file" / "out", 1000)


@pytest.mark.skipif("sys.platform == 'win32'", reason="limits are of POSIX")
def test_too_little_room_is_found_out(tmp_path):
    """Here a limit of the process takes the place of a full disk: 1,000 bytes are written, 10,000 aren't."""
    program = (
        "import resource, sys; from pathlib import Path; from src.outputs import check_room;"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096)); path = Path(sys.argv[1]);"
        "check_room(path, 1000); print('fits', flush=True); check_room(path, 10_000)"
    )
    command = [sys.executable, "-c", program, tmp_path / "out"]
    result = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert result.stdout == "fits\n"
    assert "out: can't be written (file too large); expected a folder that can be written to" in result.stderr
