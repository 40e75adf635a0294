"""Classify images: `python -m commands.predict FILE...`."""

import argparse
import hashlib
import io
import json
import sys
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from commands import CLASSIFIER, OWN_DATASET, count, figure_file, run_command, trained_on, warn
from src.errors import MnistryError, printable

if TYPE_CHECKING:
    import numpy as np

    from src.checkpoints import Classifier
    from src.datasets import DatasetInfo

STANDARD_INPUT = "-"


def main() -> int:
    """0 where every image was classified, 1 where one was not."""
    arguments = parse_arguments(sys.argv[1:])
    # torch takes seconds to import: `--help` and wrong arguments don't wait for it.
    from src.checkpoints import load_classifier

    classifier = load_classifier(arguments.classifier)
    if arguments.test:
        return predict_test_images(classifier, arguments)
    if arguments.output:
        return predict_into(classifier, arguments)
    return predict_files(classifier, arguments)


def parse_arguments(arguments: list[str]) -> argparse.Namespace:
    """The command line's; a wrong one ends with its usage and status 2."""
    parser = argparse.ArgumentParser(prog="python -m commands.predict", description="Classify images.")
    parser.add_argument("files", nargs="*", metavar="FILE", help="an image, a folder of images, or - (standard input)")
    parser.add_argument(
        "--classifier", type=Path, default=CLASSIFIER, metavar="FILE", help="a trained classifier (%(default)s)"
    )
    parser.add_argument("--top", type=count, default=1, metavar="K", help="show the K likeliest classes (1)")
    parser.add_argument("--json", action="store_true", help="print one JSON object per line")
    parser.add_argument("--invert", action="store_true", help="swap light and dark, as for dark ink on light paper")
    parser.add_argument("--output", type=Path, metavar="FILE", help="write a line of JSON per image, on all cores")
    parser.add_argument(
        "--part", type=part, metavar="K/N", help="with --output: only the K-th of N parts of the images"
    )
    parser.add_argument("--test", type=count, metavar="N", help="classify N random test images and show their labels")
    parser.add_argument("--seed", type=int, metavar="N", help="draws the same test images again (others each time)")
    parser.add_argument("--data", type=Path, metavar="FOLDER", help="their normalized dataset (what dvc.lock names)")
    parser.add_argument(
        "--save", type=figure_file, metavar="FILE", help="write the test images with captions as a figure"
    )
    parsed = parser.parse_args(arguments)
    if bool(parsed.files) == bool(parsed.test):
        parser.error("expected either image files or --test N")
    if not parsed.test and (parsed.save or parsed.data or parsed.seed is not None):
        parser.error("--save, --data and --seed need --test N")
    if parsed.output and (parsed.test or parsed.json or STANDARD_INPUT in parsed.files):
        parser.error("--output is for image files and folders, and writes JSON anyway")
    if parsed.part and not parsed.output:
        parser.error("--part needs --output FILE, another one for each part")
    if parsed.test and parsed.invert:
        parser.error("--invert is for image files; --test takes the dataset's own")
    if parsed.seed is not None and parsed.seed < 0:
        parser.error(f"--seed: {parsed.seed} is below 0")
    return parsed


def part(text: str) -> tuple[int, int]:
    """The argument of --part; argparse prints what is wrong with it."""
    number, slash, parts = text.partition("/")
    if not (slash and number.isdecimal() and parts.isdecimal() and 1 <= int(number) <= int(parts)):
        raise argparse.ArgumentTypeError(f"{text!r}; expected K/N, such as 2/8")
    return int(number), int(parts)


def predict_into(classifier: "Classifier", arguments: argparse.Namespace) -> int:
    """Write a line per image to the file that --output names, and say how many there are; the exit status."""
    from src.bulk import classify_into
    from src.devices import choose_device, place
    from src.runtime import prepare_process

    prepare_process()
    place(classifier.model, choose_device("auto"))
    options = [arguments.files, arguments.part, arguments.top, arguments.invert]
    key = hashlib.sha256(arguments.classifier.read_bytes() + json.dumps(options).encode()).hexdigest()[:16]
    start = time.perf_counter()
    counts = classify_into(
        arguments.output, classifier, selected_files(arguments), key, arguments.top, arguments.invert
    )
    speed = (counts.images - counts.resumed) / (time.perf_counter() - start)
    went_on = f", {counts.resumed:,} of them by an earlier run" if counts.resumed else ""
    print(
        f"{arguments.output}: {counts.images:,} images{went_on}, {speed:,.0f} images/s; {counts.failed:,} could not be "
        f"read, {counts.unfamiliar:,} look unfamiliar, {counts.inverted:,} inverted"
    )
    return 1 if counts.failed else 0


def selected_files(arguments: argparse.Namespace) -> Iterator[Path]:
    """The files of the command line and of its folders that are of the part, if one is asked for."""
    from src.bulk import in_part

    for name in arguments.files:
        top = Path(name)
        for file in images_in(top):
            inside = file.relative_to(top).as_posix() if file != top else file.name
            if not arguments.part or in_part(inside, *arguments.part):
                yield file


def predict_files(classifier: "Classifier", arguments: argparse.Namespace) -> int:
    """Print each image's classes; the exit status."""
    import numpy as np
    import torch

    from src.classification import best_classes, looks_inverted, looks_unfamiliar
    from src.inference import BATCH_SIZE, class_probabilities

    failures: list[str] = []
    decoded = decode_all(arguments.files, classifier.dataset, arguments.invert, failures)
    while batch := list(islice(decoded, BATCH_SIZE)):
        images = np.stack([image for _, image, _ in batch])
        probabilities = class_probabilities(classifier.model, [torch.from_numpy(images)], len(images))
        for (name, _, unpadded), row, unfamiliar in zip(
            batch, probabilities, looks_unfamiliar(classifier, images), strict=True
        ):
            if looks_inverted(classifier.dataset, unpadded):
                advice = "leave out --invert" if arguments.invert else "try --invert"
                warn(f"{name}: light and dark look swapped compared with the training images; {advice}")
            elif unfamiliar:
                warn(f"{name}: looks like none of the training images; its class may mean nothing")
            show(
                {"file": name, "unfamiliar": unfamiliar},
                best_classes(row, classifier.dataset.class_names, arguments.top),
                arguments.json,
            )
    return 1 if failures else 0


def decode_all(
    names: list[str], dataset: "DatasetInfo", invert: bool, failures: list[str]
) -> Iterator[tuple[str, "np.ndarray", "np.ndarray"]]:
    """Each image's name and what `decode_padded` gives of it.

    What can't be read is reported on standard error and added to `failures`.
    """
    from src.decoding import decode_padded

    for name in names:
        try:
            for file in [name] if name == STANDARD_INPUT else images_in(Path(name)):
                try:
                    content = standard_input() if file == STANDARD_INPUT else Path(file)
                    called = "standard input" if file == STANDARD_INPUT else None
                    yield str(file), *decode_padded(content, dataset.shape, called, dataset.decoding, invert)
                except MnistryError as error:
                    warn(str(error), "error")
                    failures.append(str(file))
        except MnistryError as error:
            warn(str(error), "error")
            failures.append(name)


def standard_input() -> io.BytesIO:
    """What it holds, to its end."""
    if sys.stdin is None:
        raise MnistryError("standard input: closed; expected an image")
    return io.BytesIO(sys.stdin.buffer.read())


def images_in(path: Path) -> Iterator[Path]:
    """The file itself, or all image files in the folder as `image_files` finds them; raises MnistryError for none."""
    from src.bulk import image_files

    if not path.is_dir():
        yield path
        return
    found = image_files(path)
    first = next(found, None)
    if first is None:
        raise MnistryError(f"{path}: a folder without images")
    yield first
    yield from found


def predict_test_images(classifier: "Classifier", arguments: argparse.Namespace) -> int:
    """Print labels and predictions of random images of the test split; the exit status."""
    import numpy as np
    import torch

    from src.classification import best_classes, load_test_split
    from src.inference import BATCH_SIZE, class_probabilities

    images, labels = load_test_split(classifier, arguments.data or trained_on(), OWN_DATASET)
    size = min(arguments.test, len(labels))
    if size < arguments.test:
        warn(f"--test {arguments.test}: the test split has {size} images")
    indices = np.sort(np.random.default_rng(arguments.seed).choice(len(labels), size, replace=False))
    drawn, names = images[indices], classifier.dataset.class_names
    results = []
    probabilities = class_probabilities(classifier.model, torch.from_numpy(drawn).split(BATCH_SIZE), size)
    for i, row in zip(indices, probabilities, strict=True):
        actual, best = names[labels[i]], best_classes(row, names, arguments.top)
        show({"image": int(i), "actual": actual}, best, arguments.json)
        results.append((*best[0], actual))
    if arguments.save:
        save_grid(drawn, results, arguments.save)
    return 0


def show(what: dict[str, str | int], best: list[tuple[str, float]], as_json: bool) -> None:
    """Print an image's likeliest classes, flushed, on one line."""
    if as_json:
        predictions = [{"class": name, "probability": probability} for name, probability in best]
        print(json.dumps(what | {"predictions": predictions}), flush=True)
        return
    classes = ", ".join(f"{name} {probability:.1%}" for name, probability in best)
    if "file" in what:
        print(printable(f"{what['file']}: {classes}"), flush=True)
        return
    verdict = "right" if what["actual"] == best[0][0] else "wrong"
    line = f"test image {what['image']}: label {what['actual']}, predicted {classes} ({verdict})"
    print(printable(line), flush=True)


def save_grid(images: "np.ndarray", results: list[tuple[str, float, str]], path: Path) -> None:
    """Write the images as a figure, in rows, each under its prediction and its label.

    images: uint8, shape (N, C, H, W). results: the prediction, its probability and the label.
    """
    from src.plots.base import BLUE, ORANGE, image_grid, save, shorten

    lines = [
        f"{shorten(best, 14)}: {probability:.0%}\nactual: {shorten(actual, 14)}"
        for best, probability, actual in results
    ]
    colours = [BLUE if best == actual else ORANGE for best, _, actual in results]
    save(image_grid(images, lines, colours, columns=max(round(len(images) ** 0.5), 1)), path)


if __name__ == "__main__":
    run_command(main)
