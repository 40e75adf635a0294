"""Whether paths stay inside a dataset's folder."""

import os
import re
from pathlib import Path, PurePosixPath

CACHED = re.compile(r"/files/md5/[0-9a-f]{2}/[0-9a-f]{30}$")
"""What DVC's own links lead to, where `cache.type` is symlink."""


def is_link_outside(path: Path, top: Path) -> bool:
    """Whether the path is a link to something outside of the folder `top`, other than the links that DVC makes."""
    if not path.is_symlink():
        return False
    # Without Path.resolve, which fails where links lead in a circle.
    target = Path(os.path.realpath(path))
    return not target.is_relative_to(os.path.realpath(top)) and not CACHED.search(target.as_posix())


def is_name_outside(name: str) -> bool:
    """Whether a file's name, as a CSV or an archive gives it, leads out of the folder that it is relative to.

    Nothing is looked up on the disk.
    """
    path = PurePosixPath(name)
    return path.is_absolute() or ".." in path.parts
