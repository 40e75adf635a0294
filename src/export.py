"""Write the classifier as ONNX, for programs without torch: `python -m src.export classifier.onnx`."""

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from src.commands import run_command
from src.errors import MnistryError
from src.predict import CLASSIFIER

if TYPE_CHECKING:
    from src.checkpoints import Classifier
    from src.classification import LabelledImages

TOLERANCE = 1e-4
"""Of a probability."""
BATCH_SIZE = 256


def main() -> int:
    """0, or an error where the file doesn't answer as torch does."""
    parser = argparse.ArgumentParser(prog="python -m src.export", description="Write the classifier as ONNX.")
    parser.add_argument("onnx", type=Path, metavar="ONNX", help="the file to write")
    parser.add_argument("--model", type=Path, default=CLASSIFIER, metavar="FILE", help="the classifier (%(default)s)")
    parser.add_argument("--data", type=Path, metavar="FOLDER", help="its normalized dataset (what dvc.lock names)")
    arguments = parser.parse_args()
    if arguments.onnx.is_dir():
        raise MnistryError(f"{arguments.onnx}: a folder; expected the name of a file to write")
    from src.checkpoints import load_classifier
    from src.classification import load_test_split, trained_on

    classifier = load_classifier(arguments.model)
    split = load_test_split(classifier, arguments.data or trained_on(Path("dvc.lock")))
    difference = export(classifier, split, arguments.onnx)
    print(
        f"{arguments.onnx}: {classifier.name}, {arguments.onnx.stat().st_size:,} bytes; on {len(split.labels)} test "
        f"images the same classes as torch and probabilities within {difference:.1e}"
    )
    return 0


def export(classifier: "Classifier", split: "LabelledImages", path: Path) -> float:
    """Write `path` once the test split gives the same classes; the largest difference between probabilities.

    Raises MnistryError, leaving no file, where a class differs or a probability by more than TOLERANCE.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    try:
        write_onnx(classifier, partial)
        difference = compare(classifier, split, partial)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    return difference


def write_onnx(classifier: "Classifier", path: Path) -> None:
    """Write the model with its normalization before it and a softmax behind it, in float32.

    Input `pixels`: uint8 in [0, 255], shape (N, C, H, W), any N. Output `probabilities`: float32, shape (N, K).
    Metadata: `class_names`, a JSON list, and `architecture`.
    """
    import copy
    import logging
    import warnings

    import torch
    from torch import nn

    class FromPixels(nn.Module):
        """The classifier on raw pixels."""

        scale: torch.Tensor
        shift: torch.Tensor

        def __init__(self) -> None:
            super().__init__()
            # A copy: turning it into float32 must not touch the one that it is compared with.
            self.model = copy.deepcopy(classifier.model).float().eval()
            normalization = classifier.dataset.normalization
            mean, std = (torch.tensor(v, dtype=torch.float64) for v in (normalization.mean, normalization.std))
            self.register_buffer("scale", (1 / (255 * std)).float()[:, None, None])
            self.register_buffer("shift", (-mean / std).float()[:, None, None])

        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            logits: torch.Tensor = self.model(pixels.float() * self.scale + self.shift)
            return logits.softmax(1)

    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # Two images: a batch of one would be taken for a constant.
        program = torch.onnx.export(
            FromPixels().eval(),
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


def compare(classifier: "Classifier", split: "LabelledImages", path: Path) -> float:
    """The largest difference of onnxruntime's probabilities from torch's over the test split.

    onnxruntime gets raw pixels; torch gets the normalized images that it was measured on. Raises MnistryError.
    """
    import numpy as np
    import onnxruntime
    import torch

    from src.inference import predict_logits

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    largest = 0.0
    for start in range(0, len(split.labels), BATCH_SIZE):
        batch = slice(start, start + BATCH_SIZE)
        expected = predict_logits(classifier.model, torch.from_numpy(np.array(split.inputs[batch])), BATCH_SIZE)
        probabilities = expected.softmax(1).numpy()
        (answer,) = session.run(["probabilities"], {"pixels": split.pixels(batch)})
        largest = max(largest, float(np.abs(answer - probabilities).max()))
        differing = np.flatnonzero(answer.argmax(1) != probabilities.argmax(1))
        if largest > TOLERANCE or len(differing):
            raise MnistryError(
                f"onnxruntime and torch differ on the test split: {len(differing)} classes in images {start} to "
                f"{start + len(probabilities) - 1}, probabilities by {largest:.1e} where {TOLERANCE:.0e} is allowed; "
                "nothing was written"
            )
    return largest


if __name__ == "__main__":
    run_command(main)
