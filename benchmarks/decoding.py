"""From a folder of images to one array: peak memory by the number of images, and speed against torchvision.

Memory is what all processes of a stage hold of their own (Linux: Pss_Anon, without files that are mapped or cached),
sampled twenty times per second, each stage in a fresh process. For the speed, our decoding of what `download` packed,
into a file, and torchvision's ImageFolder through a DataLoader with as many workers, into an array, alternate in one
run after a round that isn't counted; the medians are given, with the slowest and the fastest round. Both start new
workers each time. Photographs are shrunk to 64x64 pixels, by torchvision with Resize. `--quick` takes a tenth of the
images. In full, it takes about three minutes on two cores and needs Linux.
"""

import argparse
import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
from PIL import Image

from benchmarks import timed
from src.datasets import write_array
from src.parallel import available_cores
from src.sources.images import ImagesSource

PHOTOGRAPH = (1024, 768)
SIDE = 64
"""Height and width to which photographs are shrunk."""
ROUNDS = 5


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="a tenth of the images")
    parser.add_argument("--folder", type=Path, help="where to make the images (a temporary folder)")
    arguments = parser.parse_args()
    few, many, some = (1_000, 7_000, 200) if arguments.quick else (10_000, 70_000, 2_000)
    size = "{}x{}".format(*PHOTOGRAPH)
    with tempfile.TemporaryDirectory(dir=arguments.folder) as scratch:
        small = small_images(Path(scratch, "few"), few)
        large = small_images(Path(scratch, "many"), many)
        album = photographs(Path(scratch, "album"), few)
        page = photographs(Path(scratch, "page"), some)
        print(f"{available_cores()} cores\n\n| images | stage | peak memory, MB | seconds |\n|---|---|---|---|")
        for folder, name in (
            (small, f"{few:,} of 28x28"),
            (large, f"{many:,} of 28x28"),
            (album, f"{few:,} of {size}"),
        ):
            for stage in (pack, decode):
                megabytes, seconds = peak_memory(stage, folder)
                print(f"| {name} | {stage.__name__} | {megabytes:.0f} | {seconds:.1f} |", flush=True)
        pack(page)
        print("\n| images | ours, images/s | ImageFolder and DataLoader, images/s | ratio |\n|---|---|---|---|")
        print(f"| {many:,} of 28x28 | {compare(large, many)} |", flush=True)
        print(f"| {some:,} of {size} | {compare(page, some)} |", flush=True)


def small_images(folder: Path, count: int) -> Path:
    """A folder of PNG files of 28x28 grey pixels in ten classes, that compress about as well as MNIST."""
    generator = np.random.default_rng(0)
    for name in range(10):
        (folder / str(name)).mkdir(parents=True)
    for i in range(count):
        pixels = np.zeros((28, 28), dtype=np.uint8)
        pixels[6:22, 9:19] = generator.integers(0, 256, (16, 10))
        Image.fromarray(pixels).save(folder / str(i % 10) / f"{i}.png")
    return folder


def photographs(folder: Path, count: int) -> Path:
    """A folder of JPEG files in two classes: a hundred images, each under many names."""
    generator = np.random.default_rng(0)
    for name in "ab":
        (folder / name).mkdir(parents=True)
    (folder / "source.yaml").write_text(f"image_size: [{SIDE}, {SIDE}]\n")
    for i in range(count):
        path = folder / "ab"[i % 2] / f"{i}.jpg"
        if i < 100:
            coarse = Image.fromarray(generator.integers(0, 256, (PHOTOGRAPH[1] // 8, PHOTOGRAPH[0] // 8, 3), np.uint8))
            coarse.resize(PHOTOGRAPH, Image.Resampling.BICUBIC).save(path, quality=90)
        else:
            os.link(folder / "ab"[i % 2] / f"{i % 100}.jpg", path)
    return folder


def pack(folder: Path) -> None:
    """What `download` does with the images."""
    raw = folder.with_name(folder.name + ".raw")
    raw.mkdir()
    ImagesSource(folder).download(raw)


def decode(folder: Path) -> None:
    """What `normalize` does with what was packed, as far as the arrays of bytes."""
    raw = folder.with_name(folder.name + ".raw")
    with ImagesSource(raw).read(raw.parent) as dataset:
        for name, split in dataset.splits.items():
            shape = (len(split.labels), *dataset.shape)
            write_array(folder.with_name(f"{folder.name}.{name}.npy"), split.chunks, shape, np.uint8)


def compare(folder: Path, count: int) -> str:
    """Cells of the table: our speed, torchvision's, and the ratio of the medians."""
    ours, theirs = [], []
    for _ in range(ROUNDS + 1):
        ours.append(count / timed(lambda: decode(folder)))
        theirs.append(count / timed(lambda: image_folder(folder)))
    ours, theirs = ours[1:], theirs[1:]
    return f"{spread(ours)} | {spread(theirs)} | {median(ours) / median(theirs):.2f}"


def spread(speeds: list[float]) -> str:
    """Median, lowest and highest."""
    return f"{median(speeds):,.0f} ({min(speeds):,.0f} to {max(speeds):,.0f})"


def image_folder(folder: Path) -> np.ndarray:
    """All images in one array by torchvision's ImageFolder and a DataLoader with one worker per core."""
    from torch.utils.data import DataLoader
    from torchvision import transforms
    from torchvision.datasets import ImageFolder

    steps: list[Callable] = [transforms.PILToTensor()]
    if (folder / "source.yaml").exists():
        steps.insert(0, transforms.Resize((SIDE, SIDE)))
    else:
        steps.insert(0, transforms.Grayscale())
    dataset = ImageFolder(str(folder), transforms.Compose(steps))
    shape = tuple(dataset[0][0].shape)
    images = np.empty((len(dataset), *shape), dtype=np.uint8)
    start = 0
    for batch, _ in DataLoader(dataset, batch_size=256, num_workers=available_cores()):
        images[start : start + len(batch)] = batch.numpy()
        start += len(batch)
    return images


def peak_memory(stage: Callable[[Path], None], folder: Path) -> tuple[float, float]:
    """The most megabytes that the stage's processes hold of their own, and its seconds, in a fresh process."""
    process = multiprocessing.get_context("spawn").Process(target=stage, args=(folder,))
    start = time.perf_counter()
    process.start()
    peak = 0
    while process.is_alive():
        peak = max(peak, sum(own_memory(each) for each in [process.pid or 0, *descendants(process.pid or 0)]))
        process.join(0.05)
    if process.exitcode:
        raise SystemExit(process.exitcode)
    return peak / 1e6, time.perf_counter() - start


def descendants(pid: int) -> list[int]:
    """The processes that the process started, and theirs."""
    children = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children += [int(child) for child in path.read_text().split()]
        except OSError:
            continue
    return children + [other for child in children for other in descendants(child)]


def own_memory(pid: int) -> int:
    """Bytes of memory that belong to the process alone, and its share of what it has in common with others."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss_Anon:"))


if __name__ == "__main__":
    main()
