"""Classify pictures: `python -m src.predict FILE...`."""

import argparse
import io
import json
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from src.commands import run_command, warn
from src.errors import MnistryError

if TYPE_CHECKING:
    import numpy as np

    from src.checkpoints import Classifier

CLASSIFIER = Path("models/classifier.safetensors")
BATCH_SIZE = 256
STANDARD_INPUT = "-"


def main() -> int:
    """0 where every picture was classified, 1 where one was not."""
    arguments = parse_arguments(sys.argv[1:])
    # torch takes seconds to import: `--help` and wrong arguments don't wait for it.
    from src.checkpoints import load_classifier

    classifier = load_classifier(arguments.model)
    if arguments.test:
        return predict_test_images(classifier, arguments)
    return predict_files(classifier, arguments)


def parse_arguments(arguments: list[str]) -> argparse.Namespace:
    """The command line's; a wrong one ends with its usage and status 2."""
    parser = argparse.ArgumentParser(prog="python -m src.predict", description="Classify pictures.")
    parser.add_argument(
        "files", nargs="*", metavar="FILE", help="a picture, a folder of pictures, or - (standard input)"
    )
    parser.add_argument("--model", type=Path, default=CLASSIFIER, metavar="FILE", help="the classifier (%(default)s)")
    parser.add_argument("--top", type=_count, default=1, metavar="K", help="show the K likeliest classes (1)")
    parser.add_argument("--json", action="store_true", help="print a JSON object a line")
    parser.add_argument("--invert", action="store_true", help="swap light and dark, as for dark ink on light paper")
    parser.add_argument("--test", type=_count, metavar="N", help="classify N random test images beside their labels")
    parser.add_argument("--seed", type=int, default=0, help="draws the test images (0)")
    parser.add_argument("--data", type=Path, metavar="FOLDER", help="their normalized dataset (what dvc.lock names)")
    parser.add_argument("--save", type=Path, metavar="FILE", help="write the test images, captioned, as a picture")
    parsed = parser.parse_args(arguments)
    if bool(parsed.files) == bool(parsed.test):
        parser.error("expected either pictures or --test N")
    if not parsed.test and (parsed.save or parsed.data):
        parser.error("--save and --data need --test N")
    if parsed.test and parsed.invert:
        parser.error("--invert is for pictures; --test takes the dataset's own")
    if parsed.save and parsed.save.suffix.lower() not in (".png", ".jpg", ".jpeg"):
        parser.error(f"--save: {str(parsed.save)!r}; expected a name that ends in .png or .jpg")
    if parsed.seed < 0:
        parser.error(f"--seed: {parsed.seed} is below 0")
    return parsed


def _count(text: str) -> int:
    number = int(text) if text.isdecimal() else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 on")
    return number


def predict_files(classifier: "Classifier", arguments: argparse.Namespace) -> int:
    """Print each picture's classes; the exit status."""
    import numpy as np

    from src.classification import best_classes, class_probabilities, looks_inverted

    failures: list[str] = []
    pictures = decode_all(arguments.files, classifier.dataset.shape, failures)
    while batch := list(islice(pictures, BATCH_SIZE)):
        pixels = np.stack([picture for _, picture in batch])
        if arguments.invert:
            pixels = 255 - pixels
        probabilities = class_probabilities(classifier, pixels)
        for (name, _), image, row in zip(batch, pixels, probabilities, strict=True):
            if looks_inverted(classifier, image):
                advice = "leave out --invert" if arguments.invert else "try --invert"
                warn(f"{name}: light and dark look swapped beside the training images; {advice}")
            show({"file": name}, best_classes(row, classifier.dataset.class_names, arguments.top), arguments.json)
    return 1 if failures else 0


def decode_all(
    names: list[str], shape: tuple[int, int, int], failures: list[str]
) -> Iterator[tuple[str, "np.ndarray"]]:
    """Each picture's name and pixels, uint8 of shape (C, H, W).

    What can't be read is reported on standard error and added to `failures`.
    """
    from src.decoding import decode_image

    for name in names:
        try:
            files = [name] if name == STANDARD_INPUT else pictures_in(Path(name))
        except MnistryError as error:
            warn(str(error), "error")
            failures.append(name)
            continue
        for file in files:
            try:
                if file == STANDARD_INPUT:
                    if sys.stdin is None:
                        raise MnistryError("standard input: closed; expected a picture")
                    yield STANDARD_INPUT, decode_image(io.BytesIO(sys.stdin.buffer.read()), shape, "standard input")
                else:
                    yield str(file), decode_image(Path(file), shape)
            except MnistryError as error:
                warn(str(error), "error")
                failures.append(str(file))


def pictures_in(path: Path) -> list[Path]:
    """The file itself, or all pictures in the folder and the folders in it, hidden ones left out, sorted."""
    from PIL import Image

    from src.decoding import FORMATS

    if not path.is_dir():
        return [path]
    suffixes = {suffix for suffix, kind in Image.registered_extensions().items() if kind in FORMATS}
    found = [
        file
        for file in path.rglob("*")
        if file.suffix.lower() in suffixes
        and file.is_file()
        and not any(part.startswith(".") for part in file.relative_to(path).parts)
    ]
    if not found:
        raise MnistryError(f"{path}: a folder without pictures")
    return sorted(found)


def predict_test_images(classifier: "Classifier", arguments: argparse.Namespace) -> int:
    """Print predictions beside labels for random images of the test split; the exit status."""
    import numpy as np

    from src.classification import best_classes, class_probabilities, load_test_split, trained_on

    split = load_test_split(classifier, arguments.data or trained_on(Path("dvc.lock")))
    size = min(arguments.test, len(split.labels))
    if size < arguments.test:
        warn(f"--test {arguments.test}: the test split has {size} images")
    indices = np.sort(np.random.default_rng(arguments.seed).choice(len(split.labels), size, replace=False))
    pixels, names = split.pixels(indices), classifier.dataset.class_names
    results = []
    for i, row in zip(indices, class_probabilities(classifier, pixels), strict=True):
        actual, best = names[split.labels[i]], best_classes(row, names, arguments.top)
        show({"image": int(i), "actual": actual}, best, arguments.json)
        results.append((*best[0], actual))
    if arguments.save:
        save_grid(pixels, results, arguments.save)
    return 0


def show(what: dict[str, str | int], best: list[tuple[str, float]], as_json: bool) -> None:
    """Print an image's likeliest classes, flushed, on one line."""
    if as_json:
        predictions = [{"class": name, "probability": probability} for name, probability in best]
        print(json.dumps(what | {"predictions": predictions}), flush=True)
        return
    classes = ", ".join(f"{name} {probability:.1%}" for name, probability in best)
    head = f"{what['file']}" if "file" in what else f"test image {what['image']}, {what['actual']}"
    wrong = " (wrong)" if "actual" in what and what["actual"] != best[0][0] else ""
    print(f"{head}: {classes}{wrong}", flush=True)


def save_grid(pixels: "np.ndarray", results: list[tuple[str, float, str]], path: Path) -> None:
    """Write the images as a picture, in rows, each under its prediction and, where that is wrong, its class.

    pixels: uint8, shape (N, C, H, W). results: the prediction, its probability and the class.
    """
    from src.pictures import BLUE, ORANGE, image_grid, save, shorten

    lines = [
        f"{shorten(best, 14)}: {probability:.0%}\n" + (f"actual: {shorten(actual, 14)}" if best != actual else "")
        for best, probability, actual in results
    ]
    colours = [BLUE if best == actual else ORANGE for best, _, actual in results]
    save(image_grid(pixels, lines, colours, columns=max(round(len(pixels) ** 0.5), 1)), path)


if __name__ == "__main__":
    run_command(main)
