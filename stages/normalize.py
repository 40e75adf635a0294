"""Turn a dataset's raw files into normalized arrays."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from src.datasets import DatasetInfo, save_info, write_array
from src.normalization import fit_normalization
from src.outputs import whole_folder
from src.params import read_params
from src.sources import open_source
from stages import log, run_stage

CHUNK_BYTES = 16 << 20


def main(raw: Path, normalized: Path) -> None:
    """Fill the folder `normalized` from the files in `raw`."""
    params = read_params()
    with whole_folder(normalized) as folder, tempfile.TemporaryDirectory(dir=folder) as scratch:
        with open_source(raw).read(raw, Path(scratch)) as dataset:
            for name, split in dataset.splits.items():
                write_array(Path(scratch, f"{name}.npy"), split.chunks, (len(split.labels), *dataset.shape), np.uint8)
                np.save(folder / f"{name}_labels.npy", split.labels)
        pixels = {name: np.load(Path(scratch, f"{name}.npy"), mmap_mode="r") for name in dataset.splits}
        normalization = fit_normalization(params.normalize.method, chunks_of(pixels["train"]), dataset.shape[0])
        for name, images in pixels.items():
            chunks = (normalization(chunk) for chunk in chunks_of(images))
            write_array(folder / f"{name}_images.npy", chunks, images.shape, np.float32)
        save_info(folder, DatasetInfo(dataset.class_names, dataset.shape, normalization))
    log(
        f"{normalized}: {len(pixels['train'])} training and {len(pixels['test'])} test images "
        f"of shape {dataset.shape} in {len(dataset.class_names)} classes, "
        f"{normalization.method}: mean {_figures(normalization.mean)}, std {_figures(normalization.std)}"
    )


def _figures(values: tuple[float, ...]) -> str:
    return " ".join(f"{value:.4f}" for value in values)


def chunks_of(images: np.ndarray) -> Iterator[np.ndarray]:
    """The images in order, a few megabytes at a time."""
    size = max(CHUNK_BYTES // images[0].nbytes, 1)
    return (images[start : start + size] for start in range(0, len(images), size))


if __name__ == "__main__":
    run_stage(main)
