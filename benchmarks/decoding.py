"""Decoding folders of images: our throughput against torchvision's, and peak memory against the number of images.

Random PNGs are made in a temporary folder. The two sides alternate, with a worker a core each, and medians are given.
"""

import argparse
import resource
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from statistics import median

import numpy as np
from PIL import Image

from src.parallel import available_cores
from src.sources import open_source
from stages.normalize import main as normalize


def main() -> None:
    """Print a line a measurement."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--images", type=int, default=10_000, help="of 28x28 pixels; memory also at seven times as many"
    )
    parser.add_argument("--photographs", type=int, default=1_000, help="of 640x480 pixels")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        small = make_images(Path(scratch, "small"), arguments.images, (28, 28))
        large = make_images(Path(scratch, "large"), 7 * arguments.images, (28, 28))
        photographs = make_images(Path(scratch, "photographs"), arguments.photographs, (480, 640))
        for folder, size in ((small, arguments.images), (photographs, arguments.photographs)):
            theirs, ours = [], []
            for _ in range(arguments.rounds):
                theirs.append(torchvision_seconds(folder))
                ours.append(our_seconds(folder))
            ratios = [their / our for their, our in zip(theirs, ours, strict=True)]
            print(
                f"{folder.name}: {size / median(ours):,.0f} images/s decoded by us, {size / median(theirs):,.0f} by "
                f"ImageFolder and DataLoader, {available_cores()} workers each; ratio {median(ratios):.2f}",
                flush=True,
            )
        for folder in (small, large, photographs):
            print(f"{folder.name}: peak memory of download and normalize {peak_memory(folder):,.0f} MiB", flush=True)


def make_images(folder: Path, count: int, size: tuple[int, int]) -> Path:
    """A class tree of PNGs, of smooth noise so that they compress as pictures do."""
    generator = np.random.default_rng(0)
    for label in ("a", "b"):
        (folder / label).mkdir(parents=True)
    for i in range(count):
        coarse = generator.integers(0, 256, (size[0] // 4, size[1] // 4), np.uint8)
        Image.fromarray(coarse).resize(size[::-1]).save(folder / "ab"[i % 2] / f"{i}.png")
    return folder


def our_seconds(folder: Path) -> float:
    """Seconds to decode all images into uint8 arrays, checked and packed before."""
    raw = folder.parent / f"{folder.name}.raw"
    if not raw.exists():
        raw.mkdir()
        open_source(folder).download(raw)
    start = time.perf_counter()
    with open_source(raw).read(raw, raw) as dataset:
        for split in dataset.splits.values():
            for _ in split.chunks:
                pass
    return time.perf_counter() - start


def torchvision_seconds(folder: Path) -> float:
    """Seconds of an ImageFolder's decoding into uint8 tensors through a DataLoader."""
    from torch.utils.data import DataLoader
    from torchvision.datasets import ImageFolder
    from torchvision.transforms import Compose, Grayscale, PILToTensor

    images = ImageFolder(folder, Compose([Grayscale(), PILToTensor()]))
    start = time.perf_counter()
    for _ in DataLoader(images, batch_size=256, num_workers=available_cores()):
        pass
    return time.perf_counter() - start


def peak_memory(folder: Path) -> float:
    """MiB that download and normalize take at most, in a process of their own, its largest worker added."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(_download_and_normalize, folder).result()


def _download_and_normalize(folder: Path) -> float:
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        raw = Path(scratch, folder.name)
        raw.mkdir()
        open_source(folder).download(raw)
        normalize(raw, Path(scratch, "normalized"), Path(scratch, "pictures"))
    peaks = (resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(peaks) / 1024


if __name__ == "__main__":
    main()
