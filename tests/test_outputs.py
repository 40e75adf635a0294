import pytest

from src.outputs import whole_folder


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
