"""Decode a dataset's raw files into arrays of 8-bit codes, and find out what the codes mean."""

import tempfile
from pathlib import Path

import numpy as np

from src.datasets import DatasetInfo, map_images, save_files, save_info, write_split
from src.inspection import inspect_dataset
from src.near_duplicates import MOST_COMPARED
from src.normalization import Normalization, fit_normalization
from src.outputs import whole_folder
from src.params import read_params
from src.plots.base import save, save_all
from src.plots.dataset import dataset_figures, suspicious_pairs
from src.sources import open_source
from src.sources.corrections import correct
from src.sources.listing import CORRECTIONS
from stages import log, run_stage, write_json

CHUNK_BYTES = 16 << 20
LOGGED_PIXELS = 32
"""Of a row, from its middle."""


def main(raw: Path, normalized: Path, dataset_json: Path, figures: Path) -> None:
    """Fill the folder `normalized` from the files in `raw`; say what is in it in `dataset_json` and `figures`."""
    params = read_params()
    with whole_folder(normalized) as folder, tempfile.TemporaryDirectory(dir=folder) as scratch:
        with open_source(raw).read(Path(scratch)) as source:
            corrected = correct(source, raw)
            dataset = corrected.dataset
            sha256: dict[str, str] = {}
            for name, split in dataset.splits.items():
                sha256[name] = write_split(folder, name, split.chunks, split.labels, dataset.shape)
                save_files(folder, name, split.files)
        images = {str(name): map_images(folder, name) for name in dataset.splits}
        labels = {str(name): split.labels for name, split in dataset.splits.items()}
        files = {str(name): split.files for name, split in dataset.splits.items()}
        normalization = fit_normalization(params.normalize.method, chunks_of(images["train"]), dataset.shape[0])
        save_info(
            folder,
            DatasetInfo(dataset.class_names, dataset.shape, normalization, sha256, dataset.decoding, dataset.content),
        )
        inspection = inspect_dataset(images, labels, dataset.class_names)
        corrections = {"corrected_labels": corrected.labels, "removed_images": corrected.removed}
        write_json(dataset_json, inspection.metrics() | corrections)
        with whole_folder(figures) as drawn:
            save_all(dataset_figures(images["train"], labels, dataset.class_names, params.figures), drawn)
            if pairs := inspection.across_splits + inspection.two_labels:
                save(
                    suspicious_pairs(images, labels, files, pairs, dataset.class_names), drawn / "suspicious_pairs.png"
                )
        log_row(images["train"][:1], normalization)
    if any(corrections.values()):
        log(f"{CORRECTIONS}: labels corrected: {corrected.labels}, images left out: {corrected.removed}")
    count = sum(map(len, images.values()))
    if count > MOST_COMPARED:
        log(f"near-duplicates were looked for among {MOST_COMPARED:,} of the {count:,} images, drawn at random")
    for warning in inspection.warnings(files):
        log(f"warning: {warning}")
    log(
        f"{normalized}: {', '.join(f'{len(split)} {name}' for name, split in images.items())} images "
        f"of shape {dataset.shape} in {len(dataset.class_names)} classes, "
        f"{normalization.method}: mean {_numbers(normalization.mean)}, std {_numbers(normalization.std)}"
    )


def log_row(image: np.ndarray, normalization: Normalization) -> None:
    """Print a row of the first training image, a quarter of the way down, before and after normalization, as T3 does.

    image: uint8, shape (1, C, H, W).
    """
    row = image.shape[2] // 4
    start = max(image.shape[3] - LOGGED_PIXELS, 0) // 2
    middle = slice(start, start + LOGGED_PIXELS)
    before, after = image[0, 0, row - 1, middle] / 255, normalization(image)[0, 0, row - 1, middle]
    log(f"row {row} of the first training image, in [0, 1]: {_numbers(before)}")
    log(f"the same normalized: {_numbers(after)}")


def _numbers(values: np.ndarray | tuple[float, ...]) -> str:
    return " ".join(f"{value:.4f}" for value in values)


def chunks_of(images: np.ndarray) -> list[np.ndarray]:
    """The images in order, views of a few megabytes each."""
    size = max(CHUNK_BYTES // images[0].nbytes, 1)
    return [images[start : start + size] for start in range(0, len(images), size)]


if __name__ == "__main__":
    run_stage(main)
