# ruff: noqa: E501, RUF001
"""Whatever is in a file from elsewhere, it is read or refused in words: `make fuzz`, or `python -m tests.fuzz 20000`.

A case is one file or folder, made by Hypothesis: a valid one with bytes flipped, cut, doubled or replaced, with values
of other types, with headers that announce what isn't there. It passes where the result is valid or a MnistryError, in
under ten seconds and a gigabyte.
"""

import contextlib
import faulthandler
import gzip
import io
import json
import resource
import struct
import sys
import tarfile
import tempfile
import time
import traceback
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
import yaml
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from PIL import Image

from src.checkpoints import METADATA_KEY, Classifier, load_classifier, save_classifier
from src.datasets import load_files, load_info, load_split, save_files, save_info, write_split
from src.decoding import decode_image, measure_image
from src.errors import MnistryError
from src.inference import class_probabilities
from src.models import build_model
from src.params import Params
from src.sources import open_source
from src.sources.digits import DigitsDescription
from src.sources.images import ImagesDescription
from src.sources.torchvision_classes import TorchvisionDescription
from src.yaml_files import read_yaml
from tests.conftest import completed_params, dataset_info
from tests.image_files import encoded, png, put

SECONDS = 10
MEMORY = 1 << 30
"""Bytes beyond what the process took before the case."""
UNIT = 1 if sys.platform == "darwin" else 1024
"""Of `ru_maxrss`, in bytes."""

Draw = Callable[[st.SearchStrategy], Any]
Target = tuple[st.SearchStrategy, Callable[[Any, Path], None]]

ODD_BYTES = [b"", b"\0", b"\xff" * 4, b"\x7f\xff\xff\xff", b"\0" * 8, b"\xff\xff\xff\xff\xff\xff\xff\x7f", b"\n", b"'"]
ODD_TEXT = [
    "", " ", "nan", "null", "-1", "1e400", "10" * 40, "-9223372036854775809", "\x1b[2J", "\u202e", "é", "e\u0301", "🙂",
    "..", "../x", "/etc/passwd", "a/b", "a\\b", "\r", "\n", '"', "'", ",", ";", "\t", "|", "train", "test", "label", "x" * 200,
    "[1, 2]", "{a: b}", "0001", "1.0", "١", "label,split", "0.png", "a/0.png", "con", "%s", "{0}",
]  # fmt: skip
ODD_YAML = [
    "", "~", "no", "0", "-1", "1e5", "1e400", ".inf", ".nan", "10" * 30, "0x" + "f" * 60, "12:30", "2024-05-01",
    "2024-99-99", "!!bool x", "!!timestamp x", "!!int ''", "!!float x", "!!binary aGk=", "!!binary '*'", "!!set {a}", "!!omap [a: 1]",
    "!!pairs [a: 1]", "!!python/name:os.system", "!x y", "[]", "[1]", "[[[[]]]]", "[1, 2]", "[10, 10]", "{}", "{a: 1}",
    "{1: a}", "{[a]: b}", "? [a]\n: b", "&a [*a]", "*a", "&a x", "<<", "=", '"\\ud800"', '"\\0"', '"\\e[2J"', "|\n  x", "a: b", "a\nb",
    "'", '"', "..", "/", "utf-16", "punycode", "base64", "cp949", "\u202e", "🙂",
]  # fmt: skip
ODD_JSON: list[Any] = [
    None, True, 0, -1, 1, 10**9, 10**30, -(10**19), 0.5, 1e308, float("nan"), float("inf"), "", "a", "\x1b[2J", "\ud800",
    [], [1], [10**9], [[]], ["a", "a"], {}, {"a": 1},
]  # fmt: skip


@st.composite
def mutated(draw: Draw, *seeds: bytes) -> bytes:
    """One of the seeds with up to six changes anywhere, the first kilobyte more often than the rest."""
    content = bytearray(draw(st.sampled_from(seeds)))
    for _ in range(draw(st.sampled_from((0, 0, 1, 1, 1, 2, 6)))):
        end = len(content) if draw(st.booleans()) else min(len(content), 1024)
        start = draw(st.integers(0, max(end - 1, 0)))
        kind = draw(st.sampled_from(("flip", "set", "odd", "cut", "remove", "double")))
        stop = min(start + draw(st.integers(1, 40)), len(content))
        if kind == "flip" and content:
            content[start] ^= 1 << draw(st.integers(0, 7))
        elif kind == "set" and content:
            content[start] = draw(st.integers(0, 255))
        elif kind == "odd":
            odd = draw(st.sampled_from(ODD_BYTES))
            content[start : start + len(odd)] = odd
        elif kind == "cut":
            del content[start:]
        elif kind == "remove":
            del content[start:stop]
        elif kind == "double":
            content[start:start] = content[start:stop]
    return bytes(content)


@st.composite
def with_odd_values(draw: Draw, content: Any, odd: Sequence[Any], rarity: int = 0) -> Any:
    """The nested lists and mappings with some values or keys exchanged for odd ones, left out or added.

    rarity: one value in so many is changed; drawn where it is 0.
    """
    rarity = rarity or draw(st.sampled_from((20, 100, 500)))
    # Hypothesis draws the ends of a range more often.
    middle = rarity // 2
    if draw(st.integers(0, rarity)) == middle:
        return draw(st.sampled_from(odd))
    if isinstance(content, dict):
        changed = {
            key: draw(with_odd_values(value, odd, rarity))
            for key, value in content.items()
            if draw(st.integers(0, rarity))
        }
        if draw(st.integers(0, rarity)) == middle:
            changed[draw(st.sampled_from([each for each in odd if isinstance(each, str)]))] = draw(st.sampled_from(odd))
        return changed
    if isinstance(content, (list, tuple)):
        return [draw(with_odd_values(value, odd, rarity)) for value in content] * draw(
            st.sampled_from([1] * rarity + [2])
        )
    return content


def flow(content: Any) -> str:
    """The content as YAML in one line, in which odd values are as they are."""
    if isinstance(content, dict):
        return "{" + ", ".join(f"{key}: {flow(value)}" for key, value in content.items()) + "}"
    if isinstance(content, list):
        return f"[{', '.join(map(flow, content))}]"
    return json.dumps(content) if isinstance(content, (bool, int, float)) or content is None else str(content)


def yaml_files(*contents: Any) -> st.SearchStrategy[bytes]:
    """YAML files: the contents with odd values, and mutated bytes."""
    odd = st.sampled_from(contents).flatmap(lambda content: with_odd_values(content, ODD_YAML)).map(flow)
    lines = [yaml.safe_dump(content, allow_unicode=True).encode() for content in contents]
    aliases = st.builds(
        lambda levels, width, kind: "".join(
            f"a{i}: &a{i} {kind % ', '.join([f'*a{i - 1}' if i else 'x'] * width)}\n" for i in range(levels)
        ).encode(),
        st.integers(1, 30), st.integers(1, 30), st.sampled_from(("[%s]", "{<<: [%s]}")),
    )  # fmt: skip
    return st.one_of(odd.map(lambda text: text.encode("utf-8", "surrogatepass")), mutated(*lines), aliases)


PARAMS: Any = yaml.safe_load(Path("params.yaml").read_text("utf-8"))
DESCRIPTIONS: Any = [
    {"image_size": [8, 8], "color": "grey", "class_names": ["a", "b"], "test_fraction": 0.2, "split_seed": 0,
     "root": ".", "class_level": 1, "encoding": "utf-8", "fit": "pad", "transparent": "auto"},
    {"torchvision": "MNIST", "arguments": {"split": "letters"}, "train": {"train": True}, "test": {"train": False},
     "class_names": ["a"], "first_label": 0, "transpose": False, "mirrors": ["/archives"]},
    {"scikit_learn": "digits", "md5": "0", "test_fraction": 0.2, "split_seed": 0},
]  # fmt: skip


def read_params_file(content: bytes, folder: Path) -> None:
    """params.yaml."""
    path = folder / "params.yaml"
    path.write_bytes(content)
    read_yaml(path, Params)


def read_description(content: bytes, folder: Path) -> None:
    """source.yaml, as each kind of source; as a user's own, with images next to it."""
    source = folder / "mine"
    path = put(source, "source.yaml", content)
    for section in (ImagesDescription, TorchvisionDescription, DigitsDescription):
        with contextlib.suppress(MnistryError):
            read_yaml(path, section)
    for i in range(8):
        put(source, f"{'ab'[i % 2]}/{i}.png", png(i))
    if not isinstance(open_source(source), type(open_source(folder))):
        return
    read_source(source)


def read_source(source: Path) -> None:
    """All that download and normalize do with a user's own folder."""
    raw = source.parent / "raw" / source.name
    raw.mkdir(parents=True)
    open_source(source).download(raw)
    read_raw(raw)


def read_raw(raw: Path) -> None:
    """All images of what download left."""
    scratch = raw.parent / "scratch"
    scratch.mkdir(exist_ok=True)
    with open_source(raw).read(scratch) as dataset:
        for split in dataset.splits.values():
            images = np.concatenate(list(split.chunks))
            assert images.shape == (len(split.labels), *dataset.shape)
            assert 0 <= split.labels.min() <= split.labels.max() < len(dataset.class_names)


@st.composite
def tables(draw: Draw) -> tuple[str, bytes]:
    """A table of labels: its name and content."""
    kind = draw(st.sampled_from(("labels.csv", "labels.tsv", "metadata.jsonl", "train.csv")))
    rows: list[list[Any]] = [["file_name", "label", "split"]]
    rows += [[f"{i}.png", "ab"[i % 2], ("train", "test")[i // 2 % 2]] for i in range(8)]
    changed = draw(with_odd_values(rows, ODD_JSON if kind.endswith("jsonl") else ODD_TEXT))
    if kind.endswith("jsonl"):
        lines = [json.dumps(dict(zip(("file_name", "label", "split"), row if isinstance(row, list) else [row], strict=False)))
                 for row in (changed if isinstance(changed, list) else [changed])[1:]]  # fmt: skip
        lines += draw(
            st.lists(st.sampled_from(["[" * 5000, "{}", '{"label": ' + "9" * 5000 + "}", "NaN", "", "\0"]), max_size=1)
        )
        text = "\n".join(lines)
    else:
        separator = draw(st.sampled_from(",;\t|"))
        text = "\n".join(separator.join(map(str, row)) if isinstance(row, list) else str(row) for row in changed)
    encoding = draw(st.sampled_from(("utf-8", "utf-8", "utf-8", "utf-16", "utf-32-le", "cp949", "latin-1")))
    content: bytes = text.encode(encoding, "replace")
    return kind, draw(mutated(content)) if draw(st.booleans()) else content


def read_labels(table: tuple[str, bytes], folder: Path) -> None:
    """A table of file names and labels."""
    source = folder / "mine"
    put(source, *table)
    for i in range(8):
        put(source, f"{i}.png", png(i))
    read_source(source)


@st.composite
def pixel_tables(draw: Draw) -> bytes:
    """A CSV file of pixels."""
    rows: list[list[Any]] = [["label", *(f"pixel{i}" for i in range(16))]]
    rows += [[i % 2, *range(i, i + 16)] for i in range(8)]
    changed = draw(with_odd_values(rows, ODD_TEXT))
    text = "\n".join(",".join(map(str, row)) if isinstance(row, list) else str(row) for row in changed)
    content: bytes = draw(mutated(text.encode()))
    return content


def read_pixels(content: bytes, folder: Path) -> None:
    """A table of pixels."""
    read_source(put(folder / "mine", "train.csv", content).parent)


def npy(array: np.ndarray, header: dict[str, Any] | None = None) -> bytes:
    """A .npy file, with other entries in its header than the array's."""
    described = {"descr": array.dtype.str, "fortran_order": False, "shape": array.shape} | (header or {})
    text = (repr(described) + " " * 20 + "\n").encode()
    return b"\x93NUMPY\x01\0" + struct.pack("<H", len(text)) + text + array.tobytes()


HEADERS: list[Any] = [
    None, {"shape": (10**12,)}, {"shape": (2**63, 2)}, {"shape": (-1, 4)}, {"shape": (8, 0)}, {"shape": (0, 10**18)}, {"shape": 8},
    {"shape": (8, 4, 4, 10**9)}, {"shape": ()}, {"shape": (True,)}, {"descr": "|O"}, {"descr": "<f8"}, {"descr": "<U9"}, {"descr": "<m8"},
    {"descr": [("a", "<i4")]}, {"descr": "x"}, {"descr": None}, {"descr": "<c16"}, {"descr": "|V1"}, {"descr": "|S0"}, {"fortran_order": 1},
    {"fortran_order": True}, {"extra": 1}, {"descr": "|b1"}, {"descr": "<U1000000000"},
]  # fmt: skip
ARRAYS = [
    np.arange(8 * 16, dtype=np.uint8).reshape(8, 4, 4), np.zeros((8, 16)), np.full((8, 4, 4, 3), 0.5, np.float32),
    np.array([np.nan, np.inf, -np.inf, 1e300] * 4).reshape(1, 4, 4), np.zeros((0, 4, 4)), np.zeros((8, 4, 4, 4, 4)),
    np.zeros((8, 3, 4, 4), "i8"), np.array(["a"] * 8), np.zeros((8, 4, 4), bool), np.zeros((8, 4, 4), "c8"), np.zeros(()),
    np.zeros((8, 4, 4), "M8[s]"),
]  # fmt: skip
LABELS = [
    np.arange(8) % 2, np.arange(8.0) % 2, np.array(list("abababab")), np.array([b"a", b"\xff"] * 4), np.eye(8),
    np.full(8, np.nan), np.full(8, 1e300), np.array(["", "nan"] * 4), np.zeros((8, 2)), np.zeros((8, 1), "i8"), np.array(5),
    np.array([["a", "b"]] * 8), np.array(["\ud800"] * 8), np.array([2**63, 1] * 4, "u8"), np.zeros(8, "M8[s]"), np.zeros(8, bool),
    np.array([-100, 1] * 4), np.zeros((8, 0)), np.array(["\0a", "a\nb"] * 4),
]  # fmt: skip


@st.composite
def array_folders(draw: Draw) -> dict[str, bytes]:
    """Files of arrays, loose or as an .npz."""
    images, labels = (
        draw(st.sampled_from((*ARRAYS[:1] * 4, *ARRAYS))),
        draw(st.sampled_from((*LABELS[:1] * 4, *LABELS))),
    )
    header = st.sampled_from([None] * 20 + HEADERS)
    arrays = {"x_train": npy(images, draw(header)), "y_train": npy(labels, draw(header))}
    if draw(st.booleans()):
        arrays |= {"x_test": npy(images), "y_test": npy(labels, draw(header))}
    if draw(st.booleans()):
        return {f"{name}.npy": draw(mutated(content)) for name, content in arrays.items()}
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", draw(st.sampled_from((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)))) as archive:
        for name, content in arrays.items():
            archive.writestr(f"{name}.npy", content)
    return {"data.npz": draw(mutated(file.getvalue()))}


def read_array_files(files: dict[str, bytes], folder: Path) -> None:
    """Arrays of images and labels."""
    for name, content in files.items():
        put(folder / "mine", name, content)
    read_source(folder / "mine")


@st.composite
def idx_folders(draw: Draw) -> dict[str, bytes]:
    """IDX files with headers of any sizes, compressed or not."""
    files = {}
    for split in ("train", "t10k"):
        for name, sizes in (("images-idx3-ubyte", (8, 4, 4)), ("labels-idx1-ubyte", (8,))):
            kind = draw(st.sampled_from([8] * 60 + [9, 0x0B, 0x0C, 0x0D, 0x0E, 7]))
            shape = [draw(st.sampled_from([size] * 60 + [0, 1, 2**31, 2**32 - 1])) for size in sizes]
            data = bytes(i % 2 for i in range(int(np.prod(sizes)))) * draw(st.sampled_from([1] * 30 + [8]))
            content = bytes((0, 0, kind, len(shape))) + b"".join(struct.pack(">I", size) for size in shape) + data
            content = draw(mutated(content)) if draw(st.booleans()) else content
            packed = gzip.compress(content, 1, mtime=0) if draw(st.booleans()) else content
            files[f"{split}-{name}"] = draw(mutated(packed)) if not draw(st.integers(0, 3)) else packed
    return files


MEMBERS = [
    "a/0.png", "b/1.png", "train/a/2.png", "labels.csv", "source.yaml", "a", "a/", "", "/", "//", ".", "..", "../x.png", "/x.png",
    "a/../b.png", "a\\b.png", "C:\\x.png", "\0", "a\0b.png", "x" * 300, "🙂/0.png", "é/1.png", "e\u0301/1.png", "a/0.png/b.png", "\x1b[2J/0.png",
    "a\n/1.png", " ", "a//b/c.png", "data.npz",
]  # fmt: skip


@st.composite
def archives(draw: Draw) -> tuple[str, bytes]:
    """An archive's name and content: good members, odd ones, links, devices, sparse or enormous ones."""
    names = [f"{'ab'[i % 2]}/{i}.png" for i in range(8)] + draw(st.lists(st.sampled_from(MEMBERS), max_size=3))
    file = io.BytesIO()
    if draw(st.booleans()):
        with zipfile.ZipFile(file, "w", draw(st.sampled_from((0, 8, 12, 14)))) as archive:
            for i, name in enumerate(names):
                member = zipfile.ZipInfo("x")
                member.filename = name
                member.external_attr = draw(st.sampled_from([0o644 << 16] * 20 + [0o120777 << 16, 0xFFFFFFFF]))
                with warnings.catch_warnings(action="ignore"):
                    archive.writestr(member, png(i % 8) if i < 8 else draw(st.sampled_from(ODD_BYTES)))
        content: bytes = draw(mutated(file.getvalue())) if draw(st.booleans()) else file.getvalue()
        return "mine.zip", content
    mode: Any = draw(st.sampled_from(("w:", "w:gz", "w:bz2", "w:xz")))
    with tarfile.open(fileobj=file, mode=mode) as tar:
        for i, name in enumerate(names):
            entry = tarfile.TarInfo(name)
            data = png(i % 8)
            entry.size = len(data)
            if i >= 8:
                entry.type = draw(st.sampled_from((*b"0123456789gxLKSV",))).to_bytes()
                entry.linkname = draw(st.sampled_from(MEMBERS))
                entry.size = draw(st.sampled_from((0, 1, len(data), 10**12, 2**60)))
            tar.addfile(entry, io.BytesIO(data + bytes(8)) if entry.size <= len(data) else None)
    content = draw(mutated(file.getvalue())) if draw(st.booleans()) else file.getvalue()
    return draw(st.sampled_from(("mine.tar", "mine.tar.gz", "mine.tgz", "mine.tar.xz"))), content


def read_archive(archive: tuple[str, bytes], folder: Path) -> None:
    """An archive of images."""
    put(folder / "mine", *archive)
    read_source(folder / "mine")
    assert not (folder.parent / "x.png").exists(), "a member was written outside"


def image_seeds() -> list[bytes]:
    """A small file of each format and mode."""
    seeds = []
    for mode in ("L", "RGB", "RGBA", "P", "1", "I;16", "LA", "CMYK"):
        image = Image.new("L", (40, 24), 90).convert(mode) if mode != "I;16" else Image.new(mode, (40, 24), 9)
        for kind in ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "JPEG2000", "PPM", "ICO", "AVIF"):
            with contextlib.suppress(OSError, ValueError):
                seeds.append(encoded(image, kind).getvalue())
    exif = Image.Exif()
    exif[0x0112] = 6
    seeds.append(encoded(Image.new("RGB", (40, 24)), "JPEG", exif=exif, progressive=True).getvalue())
    seeds.append(encoded(Image.new("RGB", (40, 24)), "TIFF", compression="tiff_lzw").getvalue())
    return seeds


def read_image(content: bytes, _: Path) -> None:
    """An image file."""
    with contextlib.suppress(MnistryError):
        measure_image(io.BytesIO(content), "x")
    for shape in ((1, 8, 8), (3, 5, 9)):
        codes = decode_image(io.BytesIO(content), shape, "x")
        assert codes.shape == shape
        assert codes.dtype == np.uint8


def classifier_file(name: str, **changes: Any) -> bytes:
    """The file of a small classifier."""
    recipe = getattr(completed_params().models, name).model_copy(update=changes)
    info = dataset_info("ab", (1, 4, 4))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "classifier.safetensors"
        save_classifier(path, Classifier(build_model(name, recipe, info), name, recipe, info))
        return path.read_bytes()


@st.composite
def classifiers(draw: Draw, *seeds: bytes) -> bytes:
    """A classifier's file with its bytes, header or metadata changed."""
    content: bytes = draw(st.sampled_from(seeds))
    how = draw(st.sampled_from(("bytes", "header", "metadata", "metadata")))
    if how == "bytes":
        changed: bytes = draw(mutated(content))
        return changed
    size = struct.unpack("<Q", content[:8])[0]
    header = json.loads(content[8 : 8 + size])
    if how == "header":
        header = draw(with_odd_values(header, ODD_JSON))
    else:
        metadata = draw(with_odd_values(json.loads(header["__metadata__"][METADATA_KEY]), ODD_JSON))
        header["__metadata__"][METADATA_KEY] = json.dumps(metadata)
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + content[8 + size :]


def read_classifier(content: bytes, folder: Path) -> None:
    """A classifier's file, and what it says of a black image."""
    path = put(folder, "classifier.safetensors", content)
    classifier = load_classifier(path)
    if np.prod(classifier.dataset.shape) < 10_000:
        codes = torch.zeros(1, *classifier.dataset.shape, dtype=torch.uint8)
        probabilities = class_probabilities(classifier.model, [codes], 1)
        assert probabilities.shape == (1, len(classifier.dataset.class_names))


def folder_files(folder: Path) -> dict[str, bytes]:
    """The content of each file in the folder."""
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def normalized_files() -> dict[str, bytes]:
    """A normalized dataset."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        images, labels = np.arange(8 * 16, dtype=np.uint8).reshape(8, 1, 4, 4), np.arange(8) % 2
        digests = {split: write_split(folder, split, [images], labels, (1, 4, 4)) for split in ("train", "test")}
        for split in digests:
            save_files(folder, split, [f"{i}.png" for i in range(8)])
        save_info(folder, replace(dataset_info("ab", (1, 4, 4)), sha256=digests))
        return folder_files(folder)


def raw_files() -> dict[str, bytes]:
    """What download makes of a user's images."""
    with tempfile.TemporaryDirectory() as name, contextlib.redirect_stdout(io.StringIO()):
        source, raw = Path(name) / "mine", Path(name) / "raw"
        for i in range(8):
            put(source, f"{'ab'[i % 2]}/{i}.png", png(i))
        raw.mkdir()
        open_source(source).download(raw)
        return folder_files(raw)


@st.composite
def damaged(draw: Draw, files: dict[str, bytes]) -> dict[str, bytes]:
    """The files, one or two of them with changes, or missing."""
    changed = dict(files)
    for _ in range(draw(st.integers(1, 2))):
        name = draw(st.sampled_from(sorted(files)))
        kind = draw(st.sampled_from(("bytes", "json", "header", "missing")))
        if kind == "json" and name.endswith(".json"):
            changed[name] = json.dumps(draw(with_odd_values(json.loads(files[name]), ODD_JSON))).encode()
        elif kind == "header" and name.endswith(".npy"):
            changed[name] = npy(np.frombuffer(files[name][128:], np.uint8), draw(st.sampled_from(HEADERS)))
        elif kind == "missing":
            changed.pop(name, None)
        else:
            changed[name] = draw(mutated(files[name]))
    return changed


def read_normalized(files: dict[str, bytes], folder: Path) -> None:
    """What the stages read of a normalized dataset."""
    for name, content in files.items():
        put(folder, name, content)
    with contextlib.suppress(FileNotFoundError):
        info = load_info(folder)
        for split in ("train", "test"):
            _, labels = load_split(folder, split, info)
            load_files(folder, split, len(labels))


def read_raw_files(files: dict[str, bytes], folder: Path) -> None:
    """What normalize reads of a user's images."""
    raw = folder / "raw" / "mine"
    raw.mkdir(parents=True)
    for name, content in files.items():
        put(raw, name, content)
    read_raw(raw)


def targets() -> dict[str, Target]:
    """What is fuzzed: how its cases are made, and what is done with each."""
    classifiers_of = [classifier_file("mlp", hidden_sizes=(3,)), classifier_file("cnn", channels=(2,)),
                      classifier_file("resnet", channels=(2, 2)), classifier_file("linear")]  # fmt: skip
    return {
        "params.yaml": (yaml_files(PARAMS), read_params_file),
        "source.yaml": (yaml_files(*DESCRIPTIONS), read_description),
        "tables of labels": (tables(), read_labels),
        "tables of pixels": (pixel_tables(), read_pixels),
        "npy and npz": (array_folders(), read_array_files),
        "IDX": (idx_folders(), read_array_files),
        "archives": (archives(), read_archive),
        "images": (mutated(*image_seeds()), read_image),
        "classifiers": (classifiers(*classifiers_of), read_classifier),
        "normalized datasets": (damaged(normalized_files()), read_normalized),
        "raw datasets": (damaged(raw_files()), read_raw_files),
    }


def peak_memory() -> int:
    """The most bytes that this process has taken so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * UNIT


def fuzz(target: Target, cases: int, derandomize: bool = False) -> Counter[str]:
    """Run the cases; how many were read and how many refused. Raises what a case raises that is no MnistryError."""
    strategy, check = target
    outcomes: Counter[str] = Counter()

    @settings(
        max_examples=cases,
        derandomize=derandomize,
        database=None,
        deadline=timedelta(seconds=SECONDS),
        phases=(Phase.generate,) if derandomize else (Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def run(case: Any) -> None:
        before, escapes = peak_memory(), 0
        with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
            try:
                check(case, Path(folder).resolve())
                outcomes["read"] += 1
            except MnistryError as error:
                escapes += "\x1b" in str(error)
                outcomes["refused"] += 1
        assert not escapes, "an error with an escape sequence"
        assert peak_memory() - before < MEMORY

    # Processes for eight images of one pixel would take most of the time.
    with patch("src.parallel.available_cores", lambda: 1):
        run()
    return outcomes


def main() -> int:
    """Fuzz all targets and print how many cases were read and refused; 1 where one failed."""
    total = int(sys.argv[1]) if len(sys.argv) > 1 else 11_000
    wanted = sys.argv[2:]
    failures, count, begin = 0, 0, time.perf_counter()
    chosen = {name: target for name, target in targets().items() if not wanted or name in wanted}
    for name, target in chosen.items():
        # A case that hangs inside of a library can't be interrupted otherwise.
        faulthandler.dump_traceback_later(6 * SECONDS + total // 10, exit=True)
        start, outcomes = time.perf_counter(), Counter[str]()
        try:
            outcomes = fuzz(target, -(-total // len(chosen)))
        except BaseException:
            failures += 1
            traceback.print_exc()
        faulthandler.cancel_dump_traceback_later()
        count += outcomes.total()
        print(
            f"{name}: {outcomes['read']} read, {outcomes['refused']} refused, {time.perf_counter() - start:.0f} s",
            flush=True,
        )
    print(f"{count} cases, {failures} targets with failures, {time.perf_counter() - begin:.0f} s")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
