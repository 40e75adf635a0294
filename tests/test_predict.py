"""`python -m commands.predict` and what it uses."""

import io
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from commands import OWN_DATASET, predict, trained_on
from src.checkpoints import Classifier, save_classifier
from src.classification import load_test_split, looks_inverted
from src.datasets import DatasetInfo, save_info, split_sha256, write_split
from src.decoding import decode_image
from src.errors import MnistryError
from src.familiarity import fit_familiarity
from src.inference import class_probabilities
from src.models import build_model
from src.normalization import Method
from tests.conftest import PROJECT, completed_params, dataset_info

SHAPE = (1, 4, 4)
PIXELS = np.zeros((12, *SHAPE), np.uint8)
PIXELS[:6] = 255
PIXELS[0, 0, 0, 0] = 37
LABELS = np.array([1] * 6 + [0] * 5 + [1])


def described(shape: tuple[int, int, int] = SHAPE, mean: float = 0.2, method: Method = "standard") -> DatasetInfo:
    """What the dataset of `dark_or_light` may have been."""
    info = dataset_info(("dark", "light", "neither"), shape, mean, method=method)
    return replace(info, sha256=info.sha256 | {"test": split_sha256(PIXELS, LABELS)})


def dark_or_light(info: DatasetInfo | None = None) -> Classifier:
    """A classifier of 4x4 images that calls those lighter than the mean `light`, others `dark`."""
    info = info or described()
    recipe = completed_params().models.linear
    model = build_model("linear", recipe, info)
    linear = model.get_submodule("network.1")
    assert isinstance(linear, nn.Linear)
    with torch.no_grad():
        linear.weight.copy_(torch.tensor([-1.0, 1.0, 0.0])[:, None].expand_as(linear.weight))
        linear.bias.copy_(torch.tensor([0.0, 0.0, -100.0]))
    return Classifier(model.eval(), "linear", recipe, info)


@pytest.fixture
def model(tmp_path: Path) -> str:
    """The file of a classifier that calls images `dark` or `light`."""
    path = tmp_path / "models" / "classifier.safetensors"
    save_classifier(path, dark_or_light())
    return str(path)


def grey(path: Path, value: int) -> str:
    """An image of one grey; the file's name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (8, 8), value).save(path)
    return str(path)


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """The command's exit status."""
    monkeypatch.setattr(sys, "argv", ["predict", *arguments])
    return predict.main()


def test_files_and_folders_print_a_line_each(model, tmp_path, monkeypatch, capsys):
    """Folders are gone through with theirs, hidden files and other kinds left out, in order."""
    white = grey(tmp_path / "white.png", 255)
    black = grey(tmp_path / "folder" / "inner" / "black.PNG", 0)
    grey(tmp_path / "folder" / ".hidden.png", 0)
    for other in ("notes.txt", "letter.pdf", "film.mpg"):
        (tmp_path / "folder" / other).write_text("no image")
    assert run(monkeypatch, "--classifier", model, white, str(tmp_path / "folder")) == 0
    assert capsys.readouterr().out == f"{white}: light 100.0%\n{black}: dark 100.0%\n"


def test_json_lines_hold_the_top_classes(model, tmp_path, monkeypatch, capsys):
    """Probabilities of all classes add up to 1 and come in falling order; more than K is all."""
    white = grey(tmp_path / "white.png", 255)
    run(monkeypatch, "--classifier", model, "--json", "--top", "9", white)
    answer = json.loads(capsys.readouterr().out)
    assert answer["file"] == white
    assert [p["class"] for p in answer["predictions"]] == ["light", "dark", "neither"]
    assert sum(p["probability"] for p in answer["predictions"]) == pytest.approx(1)


def test_invert_swaps_light_and_dark(model, tmp_path, monkeypatch, capsys):
    """Before the classifier sees it."""
    run(monkeypatch, "--classifier", model, "--invert", grey(tmp_path / "a.png", 255))
    assert "dark 100.0%" in capsys.readouterr().out


def test_an_image_that_looks_inverted_is_warned_of(model, tmp_path, monkeypatch, capsys):
    """Training images here are dark: a light image is warned of, with --invert a dark one, and others not."""
    light, dark = grey(tmp_path / "light.png", 250), grey(tmp_path / "dark.png", 5)
    run(monkeypatch, "--classifier", model, light, dark)
    error = capsys.readouterr().err
    assert error == f"warning: {light}: light and dark look swapped compared with the training images; try --invert\n"
    run(monkeypatch, "--classifier", model, "--invert", light, dark)
    assert capsys.readouterr().err.startswith(f"warning: {dark}: light and dark look swapped")


def test_an_image_unlike_the_training_images_is_warned_of(tmp_path, monkeypatch, capsys):
    """With a line, and in JSON; one like them is not."""
    pixels = np.random.default_rng(0).integers(0, 50, (300, *SHAPE), np.uint8)
    path = tmp_path / "classifier.safetensors"
    save_classifier(path, replace(dark_or_light(), familiarity=fit_familiarity([pixels])))
    Image.fromarray(pixels[0, 0]).save(tmp_path / "alike.png")
    other = grey(tmp_path / "other.png", 100)
    run(monkeypatch, "--classifier", str(path), "--json", other, str(tmp_path / "alike.png"))
    out, error = capsys.readouterr()
    assert error == f"warning: {other}: looks like none of the training images; its class may mean nothing\n"
    assert [json.loads(line)["unfamiliar"] for line in out.splitlines()] == [True, False]


@pytest.mark.parametrize("size", [(8, 12), (60, 8), (8, 8)])
def test_a_page_of_any_proportions_is_warned_of(model, size, tmp_path, monkeypatch, capsys):
    """The black that pads a page to the shape doesn't hide that the page itself is light."""
    page = Image.new("L", size, 245)
    page.paste(20, (3, 3, 5, 5))
    page.save(tmp_path / "page.png")
    run(monkeypatch, "--classifier", model, str(tmp_path / "page.png"))
    assert "light and dark look swapped" in capsys.readouterr().err
    run(monkeypatch, "--classifier", model, "--invert", str(tmp_path / "page.png"))
    assert capsys.readouterr().err == ""


def test_inverted_is_never_said_without_a_known_mean():
    """`half` and `unit` don't know the training images' mean; one near the middle decides nothing."""
    white = np.full(SHAPE, 255, np.uint8)
    assert looks_inverted(described(), white)
    assert not looks_inverted(described(mean=0.45), white)
    assert not looks_inverted(described(mean=0.8), white)
    assert not looks_inverted(described(mean=0.0, method="unit"), white)


@pytest.mark.parametrize(("mean", "expected"), [(0.2, True), (0.85, False), (0.3, False)])
def test_colour_looks_inverted_only_next_to_a_clearly_dark_or_light_mean(mean, expected):
    """Yellow is light: swapped where training images are dark, but not where they are light or photographs."""
    yellow = np.broadcast_to(np.array([255, 255, 0], np.uint8)[:, None, None], (3, 4, 4))
    assert looks_inverted(described((3, 4, 4), mean), yellow) is expected


def test_standard_input_is_read(model, tmp_path, monkeypatch, capsys):
    """For a dash."""
    data = Path(grey(tmp_path / "white.png", 255)).read_bytes()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
    assert run(monkeypatch, "--classifier", model, "-") == 0
    assert capsys.readouterr().out == "-: light 100.0%\n"


def test_bad_files_are_named_and_do_not_stop_the_others(model, tmp_path, monkeypatch, capsys):
    """A missing file, a text, half a image and an empty folder: status 1, and the good one is classified."""
    white = grey(tmp_path / "white.png", 255)
    (tmp_path / "text.png").write_text("no image")
    noise = np.random.default_rng(0).integers(0, 256, (50, 50), np.uint8)
    Image.fromarray(noise).save(tmp_path / "half.png")
    (tmp_path / "half.png").write_bytes((tmp_path / "half.png").read_bytes()[:900])
    (tmp_path / "empty").mkdir()
    bad = [str(tmp_path / name) for name in ("missing.png", "text.png", "half.png", "empty")]
    assert run(monkeypatch, "--classifier", model, *bad, white) == 1
    out, error = capsys.readouterr()
    assert out == f"{white}: light 100.0%\n"
    lines = error.splitlines()[: len(bad)]
    for line, name in zip(lines, bad, strict=True):
        assert line.startswith(f"error: {name}: ")


@pytest.mark.parametrize("encoding", ["utf-8:strict", "cp1252"])
@pytest.mark.parametrize("options", [[], ["--json"]])
def test_names_that_cannot_be_printed_do_not_stop_the_others(model, tmp_path, encoding, options):
    """A file name that isn't UTF-8, on a terminal that is strict about it or has few characters."""
    odd = os.fsencode(tmp_path) + b"/caf\xe9 \xe3\x81\x8a.png"
    names = [os.fsdecode(odd), grey(tmp_path / "white.png", 255)]
    Image.new("L", (9, 7), 255).save(names[0])
    result = subprocess.run(
        [sys.executable, "-m", "commands.predict", "--classifier", model, *options, *names],
        capture_output=True, check=True, env=os.environ | {"PYTHONIOENCODING": encoding}, cwd=PROJECT,
    )  # fmt: skip
    lines = result.stdout.decode(encoding.split(":")[0]).splitlines()
    assert len(lines) == 2
    if options:
        assert [json.loads(line)["file"] for line in lines] == names
    else:
        assert "caf\\udce9" in lines[0]


def test_closed_standard_input_is_an_error(model, monkeypatch, capsys):
    """A line, not a traceback."""
    monkeypatch.setattr(sys, "stdin", None)
    assert run(monkeypatch, "--classifier", model, "-") == 1
    assert capsys.readouterr().err == "error: standard input: closed; expected an image\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "expected either image files or --test N"),
        (["a.png", "--test", "3"], "expected either image files or --test N"),
        (["--test", "0"], "'0' is not a whole number from 1 on"),
        (["a.png", "--top", "x"], "'x' is not a whole number from 1 on"),
        (["a.png", "--save", "b.png"], "--save, --data and --seed need --test N"),
        (["a.png", "--data", "b"], "--save, --data and --seed need --test N"),
        (["a.png", "--seed", "1"], "--save, --data and --seed need --test N"),
        (["--test", "3", "--invert"], "--invert is for image files"),
        (["--test", "3", "--save", "b"], "--save: 'b'; expected a name that ends in .png or .jpg"),
    ],
)
def test_wrong_arguments_end_with_status_2(arguments, message, capsys):
    """And say what was expected."""
    with pytest.raises(SystemExit) as end:
        predict.parse_arguments(arguments)
    assert end.value.code == 2
    assert message in capsys.readouterr().err


def test_help_does_not_import_torch():
    """It would take seconds."""
    code = "import sys; sys.argv = ['predict', '-h']\ntry: import commands.predict as p; p.main()\n" \
           "except SystemExit: assert 'torch' not in sys.modules and 'PIL' not in sys.modules"  # fmt: skip
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


@pytest.fixture
def normalized(tmp_path: Path) -> Path:
    """Twelve test images, labelled right but for the last, which is black and called `light`."""
    folder, info = tmp_path / "normalized", dark_or_light().dataset
    folder.mkdir()
    write_split(folder, "test", [PIXELS], LABELS, SHAPE)
    save_info(folder, info)
    return folder


def test_random_test_images_are_shown_with_their_labels(model, normalized, tmp_path, monkeypatch, capsys):
    """All twelve come once, each with its label, right or wrong, and the figure is written."""
    saved = tmp_path / "grid.png"
    arguments = ["--classifier", model, "--data", str(normalized)]
    assert run(monkeypatch, *arguments, "--test", "16", "--save", str(saved)) == 0
    out, error = capsys.readouterr()
    assert out.splitlines()[0] == "test image 0: label light, predicted light 100.0% (right)"
    assert out.splitlines()[-1] == "test image 11: label light, predicted dark 100.0% (wrong)"
    assert len(out.splitlines()) == 12
    assert out.count("(wrong)") == 1
    assert error == "warning: --test 16: the test split has 12 images\n"
    with Image.open(saved) as image:
        assert image.size == (570, 912), "three columns, four rows"


def test_the_seed_draws_the_test_images(model, normalized, monkeypatch, capsys):
    """The same images for the same seed; without one, others each time: ten draws of 3 of 12 are not all alike."""
    arguments = ["--classifier", model, "--data", str(normalized), "--test", "3", "--json"]

    def drawn(*seed: str) -> list[int]:
        run(monkeypatch, *arguments, *seed)
        return [json.loads(line)["image"] for line in capsys.readouterr().out.splitlines()]

    assert drawn("--seed", "1") == drawn("--seed", "1") != drawn("--seed", "2")
    assert len({tuple(drawn()) for _ in range(10)}) > 1


def test_another_datasets_test_split_is_refused(normalized):
    """Here, its training images had another mean. Only commands that have --data name it."""
    classifier = dark_or_light(described(mean=0.3))
    with pytest.raises(
        MnistryError, match=r"normalized: 3 classes of shape \(1, 4, 4\), standard, .*; run `dvc repro`$"
    ):
        load_test_split(classifier, normalized)
    with pytest.raises(MnistryError, match="run `dvc repro` or give its own dataset with --data FOLDER"):
        load_test_split(classifier, normalized, OWN_DATASET)


def test_the_dataset_is_the_one_that_dvc_lock_names(tmp_path):
    """Among the deps of its stage train."""
    lock = tmp_path / "dvc.lock"
    lock.write_text("stages:\n  train:\n    deps:\n    - path: src/params.py\n    - path: data/normalized/kmnist\n")
    assert trained_on(lock) == Path("data/normalized/kmnist")
    lock.write_text("stages: {}\n")
    with pytest.raises(MnistryError, match="give it with --data FOLDER"):
        trained_on(lock)


def test_probabilities_are_the_models_softmax():
    """Logits of a light image are -s, s and -100, s being the sum of its 16 normalized pixels."""
    pixels = np.full((1, *SHAPE), 53, np.uint8)
    s = 16 * (53 / 255 - 0.2) / 0.5
    expected = np.exp([-s, s, -100]) / np.exp([-s, s, -100]).sum()
    found = class_probabilities(dark_or_light().model, [torch.from_numpy(pixels)], 1)[0]
    assert found == pytest.approx(expected, abs=1e-6)


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> io.BytesIO:
    """The image as a file's content."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    file.seek(0)
    return file


def test_pictures_are_decoded_at_the_classifiers_size_and_channels():
    """Red is 76 in grey (Rec. 601); transparent parts are black; 16 bits are scaled; EXIF turns."""
    red = Image.new("RGB", (10, 10), (255, 0, 0))
    assert (decode_image(encoded(red), (1, 5, 5)) == 76).all()
    assert decode_image(encoded(red), (3, 2, 2))[:, 0, 0].tolist() == [255, 0, 0]
    assert (decode_image(encoded(Image.new("RGBA", (9, 9), (255, 255, 255, 0))), SHAPE) == 0).all()
    deep = Image.fromarray(np.full((8, 8), 128 * 257, np.uint16))
    assert (decode_image(encoded(deep), SHAPE) == 128).all()
    left = np.zeros((8, 8), np.uint8)
    left[:, :4] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # turned a quarter to the right
    turned = decode_image(encoded(Image.fromarray(left), exif=exif), (1, 2, 2))
    assert turned[0].tolist() == [[255, 255], [0, 0]]
