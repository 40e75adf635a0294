"""Whether paths stay inside a dataset's folder."""

import pytest

from src.sources.paths import is_link_outside, is_name_outside


@pytest.mark.parametrize(
    ("target", "outside"),
    [
        ("inside/file", False),
        ("../dataset/inside/file", False),
        ("../elsewhere", True),
        ("/etc/passwd", True),
        ("../cache/files/md5/ab/0123456789abcdef0123456789abcd", False),
        ("../cache/files/md5/ab/0123456789abcdef0123456789abcd/x", True),
        ("link", False),
    ],
)
def test_links_outside(tmp_path, target, outside):
    """Those that lead out of the folder, unless they are DVC's own; one that leads to itself leads nowhere."""
    folder = tmp_path / "dataset"
    folder.mkdir()
    (folder / "link").symlink_to(target)
    assert is_link_outside(folder / "link", folder) == outside


def test_a_file_is_not_a_link_outside(tmp_path):
    """Wherever it is."""
    (tmp_path / "file").touch()
    assert not is_link_outside(tmp_path / "file", tmp_path / "dataset")


@pytest.mark.parametrize(
    ("name", "outside"),
    [("a/b.png", False), ("a..b/..c", False), ("../a", True), ("a/../b", True), ("/a", True), ("..", True)],
)
def test_names_outside(name, outside):
    """Absolute ones, and those that climb, even back to where they began."""
    assert is_name_outside(name) == outside
