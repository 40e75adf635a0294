"""What this process may still use: memory, and room on a disk."""

import shutil
import sys
from contextlib import suppress
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
UNITS = ("bytes", "kB", "MB", "GB", "TB", "PB")


def in_words(size: float) -> str:
    """A number of bytes with three significant digits, such as 1.25 GB."""
    unit = 0
    while size >= 999.5 and unit < len(UNITS) - 1:
        size, unit = size / 1000, unit + 1
    return f"{size:.3g} {UNITS[unit]}"


def free_memory() -> int | None:
    """Bytes of memory that this process can still get, or None where the system doesn't say; Linux does.

    The least of what is free on the machine, swap space included, and of what the limits leave: the container's or
    job's (cgroup) and the shell's (`ulimit -v`).
    """
    known = [size for size in (_machine(), _limit(), *_cgroups()) if size is not None]
    return max(min(known), 0) if known else None


def _machine() -> int | None:
    sizes = _table(Path("/proc/meminfo"))
    return (sizes["MemAvailable:"] + sizes.get("SwapFree:", 0)) * 1024 if "MemAvailable:" in sizes else None


def _limit() -> int | None:
    if sys.platform == "win32":
        return None
    import resource

    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit == resource.RLIM_INFINITY:
        return None
    return limit - _table(Path("/proc/self/status")).get("VmSize:", 0) * 1024


def _cgroups() -> list[int]:
    """What the control groups that this process is in leave, of either version, up to the topmost."""
    left = []
    with suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            _, controllers, name = line.split(":", 2)
            if controllers in ("", "memory"):
                top = CGROUPS / controllers
                folder = top / name.lstrip("/")
                left += [size for each in (folder, *folder.parents) if each.is_relative_to(top) for size in _left(each)]
    return left


def _left(group: Path) -> list[int]:
    for limit, used, prefix in (
        ("memory.max", "memory.current", ""),
        ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_"),
    ):
        with suppress(OSError, ValueError):
            # Without a limit, version 2 says `max`, which is no number. Files that are only kept at hand give way.
            sizes = [int((group / name).read_text()) for name in (limit, used)]
            kept = _table(group / "memory.stat")
            return [sizes[0] - sizes[1] + sum(kept.get(f"{prefix}{each}_file", 0) for each in ("inactive", "active"))]
    return []


def _table(path: Path) -> dict[str, int]:
    """The first word of each line and the number after it, where there is one; empty where there is no such file."""
    with suppress(OSError):
        rows = (line.split() for line in path.read_text().splitlines())
        return {row[0]: int(row[1]) for row in rows if len(row) > 1 and row[1].isdigit()}
    return {}


def free_room(path: Path) -> int:
    """Bytes that can be written into the folder, or into the nearest above it that exists; quotas aren't known."""
    while not path.exists() and path != path.parent:
        path = path.parent
    return shutil.disk_usage(path).free
