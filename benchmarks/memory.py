"""Peak memory of training per further image: `python -m benchmarks.memory`.

Trains linear for one epoch by `stages.train`, in a process of its own each time, on random images of one size: first so
many, then twice as many. The difference of the peaks, divided by that of the images, is what one more image takes; the
pages of the memory-mapped file count, although the system can drop them. Needs Linux or macOS; takes a minute.
"""

import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import yaml

from src.datasets import DatasetInfo, save_files, save_info, write_split
from src.normalization import normalization_of

SIZES = {(1, 28, 28): 400_000, (3, 64, 64): 40_000}
"""The shapes of images, and how many of them the smaller dataset has."""
CLASSES = 10


def main() -> None:
    """Print the table."""
    print("\n".join(memory_section()))


def memory_section() -> list[str]:
    """The lines of docs/benchmarks.md about memory."""
    lines = [
        "\n## Memory of training\n",
        "`python -m benchmarks.memory`: peak of `stages.train`, linear, one epoch, the pages of the memory-mapped "
        "images included:\n",
        "| image | bytes of pixels | images | peak, MB | bytes per further image |",
        "|---|---|---|---|---|",
    ]
    for shape, count in SIZES.items():
        peaks = [peak_of_training(shape, images) for images in (count, 2 * count)]
        channels, height, width = shape
        lines.append(
            f"| {height}x{width}x{channels} | {np.prod(shape):,} | {count:,} and {2 * count:,} "
            f"| {peaks[0] / 1e6:,.0f} and {peaks[1] / 1e6:,.0f} | {(peaks[1] - peaks[0]) / count:,.0f} |"
        )
    return lines


def peak_of_training(shape: tuple[int, int, int], count: int) -> int:
    """Bytes of resident memory that `stages.train` holds at most, on so many images."""
    project = Path.cwd()
    params = yaml.safe_load((project / "params.yaml").read_text("utf-8"))
    params["model"], params["models"]["linear"]["epochs"] = "linear", 1
    with tempfile.TemporaryDirectory() as folder:
        write_random_images(Path(folder, "normalized"), shape, count)
        Path(folder, "params.yaml").write_text(yaml.safe_dump(params))
        outputs = ("classifier", "train.json", "history.csv", "validation.csv")
        command = [sys.executable, "-m", "stages.train", "normalized", *outputs]
        environment = os.environ | {"PYTHONPATH": str(project)}
        return peak_bytes(run_measured(command, Path(folder), environment)[1])


def run_measured(
    command: Sequence[str], folder: Path | None = None, environment: Mapping[str, str] | None = None
) -> tuple[str, resource.struct_rusage]:
    """What the command prints, run in the folder, and what it and its processes took.

    Ends the program with what was printed where it fails.
    """
    with subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        output = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if status:
        sys.exit(f"error: {' '.join(command)} failed:\n{output}")
    return output, usage


def peak_bytes(usage: resource.struct_rusage) -> int:
    """The peak of resident memory, which Linux counts in kilobytes and macOS in bytes."""
    return usage.ru_maxrss * (1024 if sys.platform == "linux" else 1)


def write_random_images(folder: Path, shape: tuple[int, int, int], count: int) -> None:
    """A normalized dataset's folder with a training split of random images."""
    folder.mkdir()
    generator = np.random.default_rng(0)
    chunks = (generator.integers(0, 256, (1000, *shape), np.uint8) for _ in range(count // 1000))
    sha256 = {"train": write_split(folder, "train", chunks, np.arange(count) % CLASSES, shape)}
    save_files(folder, "train", map(str, range(count)))
    normalization = normalization_of("half", (0.5,) * shape[0], (0.5,) * shape[0])
    save_info(folder, DatasetInfo(tuple(map(str, range(CLASSES))), shape, normalization, sha256))


if __name__ == "__main__":
    main()
