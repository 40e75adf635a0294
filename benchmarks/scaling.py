"""What each stage costs per image, from ten thousand images to a million: `python -m benchmarks.scaling`.

Each run is a process of its own, with one thread, on images of 28x28: overlays of two of MNIST's images of one class,
so that no two are alike. They come as arrays, and fewer of them as PNG files in an archive. Time is the processor's,
which other work on the machine changes least. The pages of the inputs are dropped from memory before each run, so what
is read comes from the disk. The measurements go into benchmarks/measured.json, from which benchmarks.plan plans, and
the tables into docs/scaling.md. Needs Linux, `data/normalized/mnist` (`dvc exp run -S dataset=mnist`) and 8 GB of disk;
takes about ten minutes on two cores.
"""

import argparse
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from pathlib import Path

import numpy as np
import yaml
from PIL import Image

from benchmarks.costs import Measurement, fit_cost, held_out, keep_measured, load_stages, of_stage
from benchmarks.sections import put_section
from src.datasets import DatasetInfo, load_info, load_split, save_files, save_info, write_array, write_split
from src.normalization import normalization_of
from src.resources import in_words

PAGE, SECTION = Path("docs/scaling.md"), "scaling"
NORMALIZED = Path("data/normalized/mnist")
SHAPE, CLASSES = (1, 28, 28), 10
FEW = 1_000
"""Images of the split that a stage isn't measured on."""
CHUNK = 10_000
ARRAYS, FILES = (10_000, 100_000, 1_000_000), (3_000, 10_000, 30_000)
TRAINED = {"linear": ARRAYS, "mlp": ARRAYS, "cnn": FILES, "resnet": FILES}
"""How many images each model is trained on. A second run on the first number has EPOCHS epochs instead of one."""
EPOCHS = 4
EVALUATED = {"linear": ARRAYS, "resnet": FILES}
ORDER = "download", "normalize", "train", "evaluate", "dvc"
"""First words of the stages' names, as the pipeline runs them."""
BLOCK = 512
"""Bytes that getrusage counts as one."""
MEASURE = """
import json, os, subprocess, sys

process = subprocess.Popen(sys.argv[2:], stdout=sys.stderr)
_, status, usage = os.wait4(process.pid, 0)
with open(sys.argv[1], "w") as file:
    json.dump([status, usage.ru_utime + usage.ru_stime, usage.ru_inblock, usage.ru_oublock, usage.ru_maxrss], file)
"""
"""Runs a command and writes its use of resources. By itself: what a process held before it starts a program counts as
the program's peak, and here that is more than some stages take."""


def main() -> None:
    """Measure, keep the measurements and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)} (all); what else is kept stays")
    parser.add_argument("--folder", type=Path, help="where to make the images (a temporary folder)")
    parser.add_argument("--quick", action="store_true", help="print the tables for a tenth of the images; keep nothing")
    arguments = parser.parse_args()
    if unknown := set(arguments.parts) - set(PARTS):
        parser.error(f"{', '.join(sorted(unknown))}: expected some of {', '.join(PARTS)}")
    if sys.platform != "linux":
        sys.exit("error: it needs Linux, which counts what a process reads and writes")
    if not NORMALIZED.exists():
        sys.exit(f"error: {NORMALIZED} is missing; run `dvc exp run -S dataset=mnist` first")
    found: list[Measurement] = []
    with tempfile.TemporaryDirectory(dir=arguments.folder) as scratch:
        workshop = Workshop(Path(scratch), 10 if arguments.quick else 1)
        for part in arguments.parts or PARTS:
            for measured in PARTS[part](workshop):
                found.append(measured)
                if not arguments.quick:
                    keep_measured("stages", merged(load_stages(), measured))
    if arguments.quick:
        print("\n".join(stages_section(found)))
    else:
        put_section(PAGE, SECTION, stages_section(load_stages()))


def merged(kept: Sequence[Measurement], new: Measurement) -> list[Measurement]:
    """What is kept with the new one, in place of an earlier one of the same run, or at the end of its stage."""
    names = [*dict.fromkeys(each.stage for each in [*kept, new])]
    others = [each for each in kept if run_of(each) != run_of(new)]
    return sorted([*others, new], key=lambda each: (names.index(each.stage), each.images, each.epochs))


def run_of(measured: Measurement) -> tuple[str, int, int]:
    """What run it was."""
    return measured.stage, measured.images, measured.epochs


class Workshop:
    """A folder in which stages are measured, on 1 / `divisor` of the images."""

    def __init__(self, folder: Path, divisor: int):
        self.folder, self.divisor = folder, divisor
        self.params = yaml.safe_load(Path("params.yaml").read_text("utf-8")) | {"dataset": "overlays"}
        info = load_info(NORMALIZED)
        images, labels = load_split(NORMALIZED, "train", info)
        self.by_class = [np.array(images[labels == label, 0]) for label in range(CLASSES)]

    def data_stages(self) -> Iterator[Measurement]:
        """Download and normalize, of arrays."""
        return self._data_stages(self.write_arrays, ARRAYS, "")

    def file_stages(self) -> Iterator[Measurement]:
        """Download and normalize, of PNG files in an archive."""
        return self._data_stages(self.write_archive, FILES, ", PNG")

    def _data_stages(
        self, write: Callable[[Path, int], None], counts: Sequence[int], kind: str
    ) -> Iterator[Measurement]:
        for count in (each // self.divisor for each in counts):
            source, raw, normalized = (self.folder / name for name in ("source", "raw", "normalized"))
            source.mkdir()
            write(source, count)
            yield self.run(f"download{kind}", count, [source], "download", source.name, raw.name)
            outputs = (normalized.name, "dataset.json", "figures")
            yield self.run(f"normalize{kind}", count, [raw], "normalize", raw.name, *outputs)
            for folder in (source, raw, normalized):
                shutil.rmtree(folder)

    def trainings(self) -> Iterator[Measurement]:
        """One epoch of each model on each number of images, and several on the lowest."""
        for model, counts in TRAINED.items():
            for count in (each // self.divisor for each in counts):
                normalized = self.folder / "for train"
                self.write_normalized(normalized, count, FEW)
                for epochs in (1, EPOCHS) if count == counts[0] // self.divisor else (1,):
                    yield self.train(normalized, model, count, epochs)
                shutil.rmtree(normalized)

    def evaluations(self) -> Iterator[Measurement]:
        """The classifier on each number of test images, after a training on few."""
        for model, counts in EVALUATED.items():
            for count in (each // self.divisor for each in counts):
                normalized = self.folder / "for evaluate"
                self.write_normalized(normalized, FEW, count)
                self.train(normalized, model, FEW, 1)
                outputs = ("metrics", "predictions.csv", "figures")
                arguments = (normalized.name, "classifier", "history.csv", *outputs)
                yield self.run(f"evaluate {model}", count, [normalized], "evaluate", *arguments)
                shutil.rmtree(normalized)

    def tracking(self) -> Iterator[Measurement]:
        """`dvc add` of the images in one file, and in a file each."""
        for count in (each // self.divisor for each in ARRAYS):
            (self.folder / "tracked").mkdir()
            write_array(self.folder / "tracked/images.npy", self.chunks(count), (count, *SHAPE), np.uint8)
            yield self.add("dvc add, one file", count)
        for count in (each // self.divisor for each in FILES):
            (self.folder / "tracked").mkdir()
            for number, content in enumerate(self.png_files(count)):
                (self.folder / f"tracked/{number}.png").write_bytes(content)
            yield self.add("dvc add, PNG files", count)

    def add(self, name: str, count: int) -> Measurement:
        """Put the folder `tracked` into the cache of a new DVC repository, and remove both."""
        subprocess.run(["dvc", "init", "--no-scm", "--quiet"], cwd=self.folder, check=True)
        measured = self.measure(name, count, 0, [self.folder / "tracked"], ["dvc", "add", "--quiet", "tracked"])
        for path in (".dvc", "tracked"):
            shutil.rmtree(self.folder / path)
        (self.folder / "tracked.dvc").unlink()
        return measured

    def train(self, normalized: Path, model: str, count: int, epochs: int) -> Measurement:
        """Train the model by its recipe."""
        self.params["model"], self.params["models"][model]["epochs"] = model, epochs
        outputs = ("classifier", "train.json", "history.csv", "validation.csv")
        return self.run(f"train {model}", count, [normalized], "train", normalized.name, *outputs, epochs=epochs)

    def run(
        self, name: str, count: int, inputs: Sequence[Path], stage: str, *arguments: str, epochs: int = 0
    ) -> Measurement:
        """Measure `python -m stages.<stage>`."""
        (self.folder / "params.yaml").write_text(yaml.safe_dump(self.params))
        return self.measure(name, count, epochs, inputs, [sys.executable, "-m", f"stages.{stage}", *arguments])

    def measure(
        self, name: str, count: int, epochs: int, inputs: Sequence[Path], command: Sequence[str]
    ) -> Measurement:
        """What the command takes, its inputs read from the disk; ends the program where it fails."""
        for path in inputs:
            drop_pages(path)
        environment = os.environ | {"PYTHONPATH": str(Path.cwd()), "OMP_NUM_THREADS": "1"}
        environment["MNISTRY_CHECKPOINTS"] = str(self.folder / "checkpoints")
        log, usage, start = self.folder / "log", self.folder / "usage.json", time.perf_counter()
        with log.open("w") as file:
            starter = [sys.executable, "-S", "-c", MEASURE, str(usage), *command]
            subprocess.run(starter, cwd=self.folder, env=environment, stderr=file, check=True)
        wall = time.perf_counter() - start
        status, processor, read, written, peak = json.loads(usage.read_text())
        if status:
            sys.exit(f"error: {' '.join(command)} failed:\n{log.read_text()[-2000:]}")
        measured = Measurement(
            name, count, epochs, round(processor, 2), round(wall, 2), read * BLOCK, written * BLOCK, peak * 1024
        )
        print(measured, file=sys.stderr)
        return measured

    def chunks(self, count: int) -> Iterator[np.ndarray]:
        """So many overlays, the classes in turn, in chunks of uint8, shape (n, 1, 28, 28)."""
        generator = np.random.default_rng(count)
        for start in range(0, count, CHUNK):
            chunk = np.empty((min(CHUNK, count - start), *SHAPE), np.uint8)
            for label, images in enumerate(self.by_class):
                own = chunk[label::CLASSES, 0]
                first, second = generator.integers(len(images), size=(2, len(own)))
                np.maximum(images[first], images[second], out=own)
            yield chunk

    def write_arrays(self, folder: Path, count: int) -> None:
        """A source of .npy files."""
        for split, images in (("train", count), ("test", FEW)):
            chunks = (chunk[:, 0] for chunk in self.chunks(images))
            write_array(folder / f"{split}_images.npy", chunks, (images, *SHAPE[1:]), np.uint8)
            np.save(folder / f"{split}_labels.npy", np.arange(images) % CLASSES)

    def write_archive(self, folder: Path, count: int) -> None:
        """A source of PNG files in one archive, a folder per class."""
        with tarfile.open(folder / "images.tar", "w") as archive:
            for split, images in (("train", count), ("test", FEW)):
                for number, content in enumerate(self.png_files(images)):
                    member = tarfile.TarInfo(f"{split}/{number % CLASSES}/{number}.png")
                    member.size = len(content)
                    archive.addfile(member, io.BytesIO(content))

    def png_files(self, count: int) -> Iterator[bytes]:
        """The overlays as PNG files."""
        for image in chain.from_iterable(self.chunks(count)):
            file = io.BytesIO()
            Image.fromarray(image[0]).save(file, "PNG", compress_level=1)
            yield file.getvalue()

    def write_normalized(self, folder: Path, train: int, test: int) -> None:
        """A normalized dataset with so many images."""
        folder.mkdir()
        sha256 = {}
        for split, count in (("train", train), ("test", test)):
            sha256[split] = write_split(folder, split, self.chunks(count), np.arange(count) % CLASSES, SHAPE)
            save_files(folder, split, [f"{split}/{number}.png" for number in range(count)])
        info = DatasetInfo(tuple(map(str, range(CLASSES))), SHAPE, normalization_of("half", (0.5,), (0.5,)), sha256)
        save_info(folder, info)


PARTS: dict[str, Callable[[Workshop], Iterator[Measurement]]] = {
    "data": Workshop.data_stages,
    "files": Workshop.file_stages,
    "train": Workshop.trainings,
    "evaluate": Workshop.evaluations,
    "dvc": Workshop.tracking,
}


def drop_pages(path: Path) -> None:
    """Have the system forget what it keeps in memory of a file, or of all files in a folder."""
    for each in path.rglob("*") if path.is_dir() else [path]:
        if each.is_file():
            with each.open("rb") as file:
                os.fsync(file.fileno())
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def stages_section(measurements: Sequence[Measurement]) -> list[str]:
    """The lines of docs/scaling.md: what was measured, and how well the largest run is predicted from the others."""
    measurements = sorted(measurements, key=lambda each: ORDER.index(each.stage.replace(",", "").split()[0]))
    stages = list(dict.fromkeys(each.stage for each in measurements))
    lines = [
        "| stage | images | epochs | processor time, s | read, MB | written, MB | peak memory, MB |",
        "|---|---|---|---|---|---|---|",
    ]
    for each in measurements:
        megabytes = (f"{size / 1e6:,.0f}" for size in (each.read, each.written, each.peak))
        epochs = each.epochs or ""
        lines.append(f"| {each.stage} | {each.images:,} | {epochs} | {each.processor:,.1f} | {' | '.join(megabytes)} |")
    lines += [
        "\nPer image, from the smaller runs alone, and what that says of the largest run, which it hasn't seen:\n",
        "| stage | processor time, µs | per epoch, µs | memory, bytes | largest run | predicted, s | measured, s "
        "| predicted memory | measured memory |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    return lines + [prediction_row(stage, of_stage(measurements, stage)) for stage in stages]


def prediction_row(stage: str, measurements: Sequence[Measurement]) -> str:
    """A stage's costs without its largest run, and how far off they are there."""
    known, largest = held_out(measurements)
    time_cost, memory = fit_cost(known, "processor"), fit_cost(known, "peak")
    seconds, size = (cost.at(largest.images, largest.epochs) for cost in (time_cost, memory))
    epoch = f"{1e6 * time_cost.per_epoch:,.1f}" if largest.epochs else ""
    return (
        f"| {stage} | {1e6 * time_cost.per_image:,.1f} | {epoch} | {memory.per_image:,.0f} | {largest.images:,} "
        f"| {seconds:,.1f} | {largest.processor:,.1f} ({off(seconds, largest.processor)}) | {in_words(size)} "
        f"| {in_words(largest.peak)} ({off(size, largest.peak)}) |"
    )


def off(predicted: float, measured: float) -> str:
    """How far the prediction is above or below what was measured."""
    return f"{round(100 * (predicted - measured) / measured) or 0:+d} %"


if __name__ == "__main__":
    main()
