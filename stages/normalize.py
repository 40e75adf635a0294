"""Turn a dataset's raw files into normalized arrays."""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from tqdm import tqdm

from src.datasets import DatasetInfo, save_info, write_array
from src.normalization import Normalization, fit_normalization
from src.outputs import whole_folder
from src.params import Pictures, read_params
from src.pictures import class_counts, image_grid, large_image, save, shorten
from src.sources import open_source
from stages import log, run_stage

CHUNK_BYTES = 16 << 20
LOGGED_PIXELS = 32
"""Of a row, from its middle."""


def main(raw: Path, normalized: Path, pictures: Path) -> None:
    """Fill the folder `normalized` from the files in `raw`, and draw what is in it into `pictures`."""
    params = read_params()
    with whole_folder(normalized) as folder, tempfile.TemporaryDirectory(dir=folder) as scratch:
        with open_source(raw).read(Path(scratch)) as dataset:
            for name, split in dataset.splits.items():
                write_array(Path(scratch, f"{name}.npy"), split.chunks, (len(split.labels), *dataset.shape), np.uint8)
                np.save(folder / f"{name}_labels.npy", split.labels)
        pixels = {name: np.load(Path(scratch, f"{name}.npy"), mmap_mode="r") for name in dataset.splits}
        normalization = fit_normalization(params.normalize.method, chunks_of(pixels["train"]), dataset.shape[0])
        for name, images in pixels.items():
            bar = tqdm(chunks_of(images), desc=f"normalizing {name}", unit="chunk", disable=None)
            write_array(folder / f"{name}_images.npy", map(normalization, bar), images.shape, np.float32)
        save_info(folder, DatasetInfo(dataset.class_names, dataset.shape, normalization))
        labels = {name: np.load(folder / f"{name}_labels.npy") for name in pixels}
        draw_dataset(pictures, dataset.class_names, pixels, labels, params.pictures)
        log_row(pixels["train"][:1], normalization)
    log(
        f"{normalized}: {len(pixels['train'])} training and {len(pixels['test'])} test images "
        f"of shape {dataset.shape} in {len(dataset.class_names)} classes, "
        f"{normalization.method}: mean {_figures(normalization.mean)}, std {_figures(normalization.std)}"
    )


def draw_dataset(
    folder: Path,
    class_names: Sequence[str],
    pixels: Mapping[Literal["train", "test"], np.ndarray],
    labels: Mapping[Literal["train", "test"], np.ndarray],
    settings: Pictures,
) -> None:
    """Random samples (T1, T4), the first image with its pixels' values (T5), and the images a class."""
    images, generator = pixels["train"], np.random.default_rng(settings.seed)
    drawn = np.sort(generator.choice(len(images), min(settings.samples, len(images)), replace=False))
    captions = [shorten(class_names[label], 20) for label in labels["train"][drawn]]
    with whole_folder(folder) as partial:
        grid = image_grid(images[drawn], captions, columns=max(round(len(drawn) ** 0.5), 1))
        save(grid, partial / "samples.png")
        first = shorten(class_names[labels["train"][0]], 20)
        save(large_image(np.array(images[0]), f"First training image: {first}"), partial / "first_image.png")
        counts = {str(name): np.bincount(split, minlength=len(class_names)) for name, split in labels.items()}
        save(class_counts(counts, class_names), partial / "classes.png")


def log_row(image: np.ndarray, normalization: Normalization) -> None:
    """Print a quarter-way row of the first training image before and after normalization, as T3 does."""
    row = image.shape[2] // 4
    start = max(image.shape[3] - LOGGED_PIXELS, 0) // 2
    middle = slice(start, start + LOGGED_PIXELS)
    before, after = image[0, 0, row - 1, middle] / 255, normalization(image)[0, 0, row - 1, middle]
    log(f"row {row} of the first training image, in [0, 1]: {' '.join(f'{value:.4f}' for value in before)}")
    log(f"the same normalized: {' '.join(f'{value:.4f}' for value in after)}")


def _figures(values: tuple[float, ...]) -> str:
    return " ".join(f"{value:.4f}" for value in values)


def chunks_of(images: np.ndarray) -> list[np.ndarray]:
    """The images in order, views of a few megabytes each."""
    size = max(CHUNK_BYTES // images[0].nbytes, 1)
    return [images[start : start + size] for start in range(0, len(images), size)]


if __name__ == "__main__":
    run_stage(main)
