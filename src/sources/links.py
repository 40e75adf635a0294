"""Links that lead out of a dataset's folder."""

import os
import re
from pathlib import Path

CACHED = re.compile(r"/files/md5/[0-9a-f]{2}/[0-9a-f]{30}$")
"""What DVC's own links lead to, where `cache.type` is symlink."""


def leaves(path: Path, top: Path) -> bool:
    """Whether the path leads out of the folder `top` by a link, other than those that DVC makes."""
    if not path.is_symlink():
        return False
    # Without Path.resolve, which fails where links lead in a circle.
    target = Path(os.path.realpath(path))
    return not target.is_relative_to(os.path.realpath(top)) and not CACHED.search(target.as_posix())
