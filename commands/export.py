"""Write the classifier as ONNX, for programs without torch: `python -m commands.export classifier.onnx`."""

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from commands import CLASSIFIER, OWN_DATASET, run_command, trained_on
from src.errors import MnistryError

if TYPE_CHECKING:
    import numpy as np

    from src.checkpoints import Classifier

TOLERANCE = 1e-4
"""Of a probability."""


def main() -> int:
    """0, or an error where the file doesn't answer as torch does."""
    parser = argparse.ArgumentParser(prog="python -m commands.export", description="Write the classifier as ONNX.")
    parser.add_argument("onnx", type=Path, metavar="ONNX", help="the file to write")
    parser.add_argument(
        "--classifier", type=Path, default=CLASSIFIER, metavar="FILE", help="the classifier (%(default)s)"
    )
    parser.add_argument("--data", type=Path, metavar="FOLDER", help="its normalized dataset (what dvc.lock names)")
    arguments = parser.parse_args()
    if arguments.onnx.is_dir():
        raise MnistryError(f"{arguments.onnx}: a folder; expected the name of a file to write")
    from src.checkpoints import load_classifier
    from src.classification import load_test_split

    classifier = load_classifier(arguments.classifier)
    images, _ = load_test_split(classifier, arguments.data or trained_on(), OWN_DATASET)
    difference = export(classifier, images, arguments.onnx)
    print(
        f"{arguments.onnx}: {classifier.name}, {arguments.onnx.stat().st_size:,} bytes; on {len(images)} test images "
        f"the same classes as torch and probabilities within {difference:.1e}"
    )
    return 0


def export(classifier: "Classifier", images: "np.ndarray", path: Path) -> float:
    """Write `path` once it gives the images torch's classes; the largest difference between probabilities.

    images: uint8, shape (N, C, H, W). Raises MnistryError, leaving no file, where a class differs or a probability by
    more than TOLERANCE.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    try:
        write_onnx(classifier, partial)
        difference = compare(classifier, images, partial)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    return difference


def write_onnx(classifier: "Classifier", path: Path) -> None:
    """Write the model followed by a softmax, in float32.

    Input `pixels`: uint8 in [0, 255], shape (N, C, H, W), any N. Output `probabilities`: float32, shape (N, K).
    Metadata: `class_names`, a JSON list, and `architecture`.
    """
    import copy
    import logging
    import warnings

    import torch
    from torch import nn

    # A copy: turning it into float32 must not touch the one that it is compared with.
    model = nn.Sequential(copy.deepcopy(classifier.model).float(), nn.Softmax(1)).eval()
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # Two images: a batch of one would be taken for a constant.
        program = torch.onnx.export(
            model,
            (torch.zeros(2, *classifier.dataset.shape, dtype=torch.uint8),),
            input_names=["pixels"],
            output_names=["probabilities"],
            dynamic_shapes=({0: torch.export.Dim("N")},),
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    program.model.metadata_props["class_names"] = json.dumps(classifier.dataset.class_names, ensure_ascii=False)
    program.model.metadata_props["architecture"] = classifier.name
    program.save(path)


def compare(classifier: "Classifier", images: "np.ndarray", path: Path) -> float:
    """The largest difference of onnxruntime's probabilities from torch's over the images; raises MnistryError."""
    import numpy as np
    import onnxruntime
    import torch

    from src.inference import BATCH_SIZE, class_probabilities

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    largest = 0.0
    for start in range(0, len(images), BATCH_SIZE):
        batch = images[start : start + BATCH_SIZE]
        expected = class_probabilities(classifier.model, [torch.from_numpy(batch)], len(batch))
        (found,) = session.run(["probabilities"], {"pixels": batch})
        # Of numpy, whose maximum is NaN where one of the numbers is.
        largest = float(np.maximum(largest, np.abs(found - expected).max()))
        differing = np.flatnonzero(found.argmax(1) != expected.argmax(1))
        if not largest <= TOLERANCE or len(differing):
            raise MnistryError(
                f"onnxruntime and torch differ on the test split: {len(differing)} classes in images {start} to "
                f"{start + len(batch) - 1}, probabilities by {largest:.1e} where {TOLERANCE:.0e} is allowed; "
                "nothing was written"
            )
    return largest


if __name__ == "__main__":
    run_command(main)
