"""Images as numbers, without image files: NumPy's .npz and .npy, IDX files, and CSV tables of pixels.

They are the MNIST family's second form: Keras's mnist.npz, MedMNIST, Kaggle's digit recognizer, sign-language MNIST.
What can't be read for sure is refused with what would settle it; nothing is ever unpickled.
"""

import gzip
import io
import re
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import isqrt, prod
from pathlib import Path

import numpy as np
from PIL import Image

from src.array_files import ARRAY_ERRORS, array_reason, check_size, read_npy
from src.errors import MnistryError, is_text
from src.signatures import describe_start
from src.sources.archives import ARCHIVE_ERRORS, check_growth
from src.sources.findings import Findings, flow_list
from src.sources.listing import (
    NO_LABEL,
    TABLE_SUFFIXES,
    Ignored,
    ImageFile,
    all_files,
    image_files,
    is_ignored,
)
from src.sources.pixel_tables import FEWEST, is_pixel_table, read_pixel_table
from src.sources.split_names import split_of

IMAGE_WORDS = {"x", "image", "images", "img", "imgs", "data", "features", "pixels", "digits"}
LABEL_WORDS = {"y", "label", "labels", "target", "targets", "class", "classes", "annotations"}
DARK = 32
"""Numbers up to this one of 255 are said to be nearly black; scikit-learn's digits go to 16."""
IDX_TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
"""NumPy's names of the types in an IDX file's header (Y. LeCun, http://yann.lecun.com/exdb/mnist)."""


@dataclass(frozen=True)
class ArrayImages:
    """A split's images and labels as they are in a file.

    split: train, validation or test; empty where it is to be drawn. name: of the file, or of the array in it. origins:
    the names of all files that they come from. images: numbers of shape
    (N, H, W, C) with 1, 3 or 4 channels. highest: of the numbers, or 0 without images. factor: what makes 8-bit codes
    of them, 1 or 255. labels: one per image.
    """

    split: str
    name: str
    origins: tuple[str, ...]
    images: np.ndarray
    highest: float
    factor: int
    labels: list[str]

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of an image without transparency."""
        height, width, channels = self.images.shape[1:]
        return min(channels, 3), height, width

    def files(self) -> list[ImageFile]:
        """The images as files that are still to be written, in their order."""
        return [ImageFile(self.split, label, f"{self.name}/{i}") for i, label in enumerate(self.labels)]

    def contents(self) -> Iterator[bytes]:
        """Each image as a file of its own: in netpbm's formats, which hold the pixels as they are, or as PNG."""
        channels, height, width = self.shape
        header = b"%b\n%d %d\n255\n" % (b"P5" if channels == 1 else b"P6", width, height)
        for image in self.images:
            codes = (
                image
                if image.dtype == np.uint8 and self.factor == 1
                else np.rint(image * np.float32(self.factor)).astype(np.uint8)
            )
            yield _png(codes) if codes.shape[2] == 4 else header + codes.tobytes()


def _png(codes: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(codes)).save(file, "PNG", compress_level=1)
    return file.getvalue()


def find_array_files(folder: Path, ignored: Ignored = is_ignored) -> list[Path]:
    """The files in the folder that hold images as numbers, by their names and beginnings, sorted.

    Where there are none, those in the folders in it, unless image files are there as well.
    """
    own = [path for path in sorted(folder.iterdir()) if not ignored(path) and path.is_file() and _kind(path)]
    if own or any(path.parent != folder for path in image_files(folder, ignored)):
        return own
    return [path for path in sorted(all_files(folder, ignored)) if path.is_file() and _kind(path)]


def _kind(path: Path) -> str:
    """npz, npy, idx or csv, or empty where the file holds no images as numbers."""
    name = path.name.lower()
    if name.endswith((".npz", ".npy")):
        return name[-3:]
    if name.endswith(TABLE_SUFFIXES):
        return "csv" if is_pixel_table(path) else ""
    return "idx" if _idx_header(path) else ""


def _describe(path: Path, reason: str) -> str:
    """What the file looks like, where its first bytes say it; else the reason for which it can't be read."""
    with path.open("rb") as file:
        return describe_start(file.read(140)) or reason


def read_arrays(
    folder: Path,
    files: list[Path],
    shape: tuple[int, int] | None,
    scratch: Path,
    findings: Findings,
    label_column: str = "",
) -> list[ArrayImages]:
    """The images in the files, split by split; what is wrong with them is added to the findings.

    shape: height and width of images that are stored as rows of numbers, where the user says so. scratch: a folder for
    temporary files. label_column: of tables, where the user names it.
    """
    found: list[ArrayImages] = []
    loose: dict[str, np.ndarray] = {}
    for path in files:
        try:
            kind = _kind(path)
            if kind == "csv":
                parts = read_pixel_table(path, scratch, label_column)
                if not parts:
                    findings.warn(f"{path.name}: pixels without labels; passed over")
                for split, (images, labels) in parts.items():
                    split = split or split_of(path.stem) or ""
                    found.append(_array_images(split, path.name, (path.name,), images, labels, shape))
            elif kind == "npz":
                found += _pairs(_load_npz(path), path, shape, findings)
            elif kind == "npy":
                loose[path.name] = read_npy(path, "r")
            else:
                loose[path.name] = _read_idx(path)
        except MnistryError as error:
            findings.problem(str(error))
        except (*ARRAY_ERRORS, *ARCHIVE_ERRORS, NotImplementedError, RuntimeError) as error:
            findings.problem(f"{path.name}: not an array that can be read ({_describe(path, array_reason(error))})")
    if loose:
        try:
            found += _pairs(loose, folder, shape, findings)
        except MnistryError as error:
            findings.problem(str(error))
    if not found and not findings.problems:
        findings.problem(f"{', '.join(path.name for path in files[:5])}: pixels, but no labels; expected one per image")
    _check_together(found, findings)
    return found


def _check_together(found: list[ArrayImages], findings: Findings) -> None:
    """Add what is wrong with the splits' arrays next to each other."""
    splits = [each.split for each in found]
    if len(set(splits)) < len(splits):
        findings.problem(
            f"{', '.join(each.name for each in found)}: several arrays for one split; keep one of them, or "
            f"name the others in source.yaml, such as exclude: {flow_list(_superfluous(found))}"
        )
    elif "" in splits and len(splits) > 1:
        name = found[splits.index("")].name
        findings.problem(f"{name}: which split is it? others are named so: call it train, validation or test, too")
    # What is black has no scale.
    bright = [each for each in found if each.highest > 0]
    if len({each.factor for each in bright}) > 1:
        ranges = ", ".join(f"{each.name} has numbers up to {each.highest:g}" for each in bright)
        findings.problem(f"{ranges}: is white 1 or 255? bring all splits to the same scale")
    elif bright and bright[0].factor == 1 and 1 < (highest := max(each.highest for each in bright)) < DARK:
        findings.warn(
            f"{bright[0].name}: no number above {highest:g}, of 255: the images are nearly black; if {highest:g} is "
            "white, bring them to 0 to 255, or to fractions, first"
        )


def _superfluous(found: list[ArrayImages]) -> list[str]:
    """The files to leave out for one array per split, none of which holds another split's only array if that can be."""
    for order in (found, found[::-1]):
        kept = {each.split: each.origins for each in reversed(order)}
        others = dict.fromkeys(file for each in order if each.origins != kept[each.split] for file in each.origins)
        if not others.keys() & {file for origins in kept.values() for file in origins}:
            break
    return list(others)


def _load_npz(path: Path) -> dict[str, np.ndarray]:
    with zipfile.ZipFile(path) as archive:
        check_growth(path, sum(member.file_size for member in archive.infolist()))
        return {
            member.filename.removesuffix(".npy"): _load_member(archive, member)
            for member in archive.infolist()
            if member.filename.endswith(".npy")
        }


def _load_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> np.ndarray:
    with archive.open(member) as file:
        check_size(file, member.file_size)
    with archive.open(member) as file:
        array: np.ndarray = np.lib.format.read_array(file, allow_pickle=False)
    return array


def _pairs(
    arrays: dict[str, np.ndarray], origin: Path, shape: tuple[int, int] | None, findings: Findings
) -> list[ArrayImages]:
    """Images and labels of each split, matched by the arrays' names; raises MnistryError.

    origin: the file that holds the arrays, or the folder of files with their names.
    """
    images, labels = (_by_split(arrays, words) for words in (IMAGE_WORDS, LABEL_WORDS))
    missing = [name for split in images if split not in labels for name in [images[split][0]]]
    if not images or not labels or (missing and not set(images) & set(labels)):
        raise MnistryError(
            f"{origin.name}: arrays {', '.join(arrays)}; expected images and labels under names such as x_train and "
            "y_train, train_images and train_labels, or X and y"
        )
    for split in images.keys() ^ labels.keys():
        name, what = (images[split][0], "labels") if split in images else (labels[split][0], "images")
        findings.note(f"{name}: without {what}; passed over")
    return [
        _array_images(
            split,
            images[split][0],
            (images[split][0], labels[split][0]) if origin.is_dir() else (origin.name,),
            _not_planar(*images[split]),
            _labels(*labels[split]),
            shape,
        )
        for split in images
        if split in labels
    ]


def _not_planar(name: str, array: np.ndarray) -> np.ndarray:
    """The array; MnistryError where its rows may be pixel by pixel or colour by colour."""
    if array.ndim == 2 and isqrt(array.shape[1]) ** 2 != array.shape[1]:
        side = isqrt(array.shape[1] // 3)
        if 3 * side * side == array.shape[1]:
            raise MnistryError(
                f"{name}: {array.shape[1]} numbers per image: {side}x{side} in colour, pixel by pixel or colour by "
                f"colour? save them with shape (N, {side}, {side}, 3) or (N, 3, {side}, {side})"
            )
    return array


def _by_split(arrays: dict[str, np.ndarray], words: set[str]) -> dict[str, tuple[str, np.ndarray]]:
    """The arrays whose names have one of the words, each by its split, with their names."""
    found: dict[str, tuple[str, np.ndarray]] = {}
    for name, array in arrays.items():
        if words & set(re.findall("[a-z]+", name.lower())):
            split = "test" if name.lower().startswith("t10k") else split_of(name) or ""
            if split in found:
                raise MnistryError(f"{name} and {found[split][0]}: which of them is meant? keep one")
            found[split] = name, array
    return found


def _labels(name: str, array: np.ndarray) -> list[str]:
    """Labels as text: numbers, text, one column of them, or one column per class with a single 1."""
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim == 2:
        if not (np.isin(array, (0, 1)).all() and (array.sum(1) == 1).all()):
            raise MnistryError(f"{name}: {array.shape[1]} labels per image; expected one class per image")
        array = array.argmax(1)
    if array.ndim != 1:
        raise MnistryError(f"{name}: labels of shape {array.shape}; expected one per image")
    if array.dtype.kind == "f":
        if not np.isfinite(array).all():
            raise MnistryError(f"{name}: {int((~np.isfinite(array)).sum())} images have no label (NaN)")
        if (array == np.rint(array)).all() and np.abs(array).max(initial=0) < 2**53:
            array = array.astype(np.int64)
    if array.dtype.kind not in "iufbUS":
        raise MnistryError(f"{name}: labels of type {array.dtype}; expected numbers or text")
    try:
        labels = [each.decode() if isinstance(each, bytes) else str(each) for each in array.tolist()]
    except ValueError:
        raise MnistryError(f"{name}: labels that are no text; expected numbers, or text in UTF-8") from None
    if not all(map(is_text, labels)):
        raise MnistryError(f"{name}: labels that are no text; expected numbers, or text in UTF-8")
    if missing := [label for label in labels if not label.strip() or label.lower() in NO_LABEL]:
        raise MnistryError(f"{name}: {len(missing)} images have no label ({missing[0]!r})")
    return labels


def _array_images(
    split: str,
    name: str,
    origins: tuple[str, ...],
    images: np.ndarray,
    labels: list[str],
    shape: tuple[int, int] | None,
) -> ArrayImages:
    shaped = _as_images(name, images, shape)
    if len(shaped) != len(labels):
        raise MnistryError(f"{name}: {len(shaped)} images and {len(labels)} labels; expected one label per image")
    return ArrayImages(split, name, origins, shaped, *_scale(name, shaped), labels)


def _as_images(name: str, array: np.ndarray, shape: tuple[int, int] | None) -> np.ndarray:
    """The array as (N, H, W, C); raises MnistryError where its shape can be read in no way, or in two."""
    if array.ndim == 2:
        height, width, channels = _square(name, array.shape[1], shape)
        return array.reshape(-1, height, width, channels)
    if array.ndim == 3 and 1 in array.shape[1:] and max(array.shape[1:]) >= FEWEST:
        # Rows of numbers, with a dimension more.
        return _as_images(name, array.reshape(len(array), -1), shape)
    if array.ndim == 3:
        return array[..., None]
    if array.ndim == 4:
        last, first = array.shape[3] in (1, 3, 4), array.shape[1] in (1, 3, 4)
        if last and (not first or array.shape[1] == array.shape[2]):
            return array
        if first and not last:
            return array.transpose(0, 2, 3, 1)
    raise MnistryError(
        f"{name}: images of shape {array.shape}; expected (N, H, W), (N, H, W, C) or (N, C, H, W), C being 1, 3 or 4"
    )


def _square(name: str, numbers: int, shape: tuple[int, int] | None) -> tuple[int, int, int]:
    """Height, width and channels of images that are rows of so many numbers."""
    if shape is not None:
        if numbers in (prod(shape), 3 * prod(shape)):
            return *shape, numbers // prod(shape)
        raise MnistryError(f"{name}: {numbers} numbers per image, and image_size {list(shape)} needs {prod(shape)}")
    for channels in (1, 3):
        side = isqrt(numbers // channels)
        if side * side * channels == numbers:
            return side, side, channels
    raise MnistryError(
        f"{name}: {numbers} numbers per image, which is no square; state height and width in source.yaml, "
        "such as image_size: [28, 28]"
    )


def _scale(name: str, images: np.ndarray) -> tuple[float, int]:
    """The highest of the numbers, and what makes 8-bit codes of them; raises MnistryError.

    That is 1 for numbers from 0 to 255, and 255 for fractions and for 0 and 1 alone.
    """
    if not images.size:
        return 0, 1
    if images.dtype.kind == "b":
        return float(images.max()), 255
    if images.dtype.kind not in "iuf":
        raise MnistryError(f"{name}: images of type {images.dtype}; expected numbers")
    low, high = float(images.min()), float(images.max())
    if images.dtype == np.uint8:
        # Black and white may be 0 and 1.
        return high, 255 if high == 1 else 1
    if not np.isfinite([low, high]).all():
        raise MnistryError(f"{name}: numbers that are not finite (NaN or infinite); expected 0 to 255, or 0 to 1")
    whole = images.dtype.kind != "f" or all((chunk == np.rint(chunk)).all() for chunk in np.array_split(images, 100))
    if low >= 0 and 1 < high <= 255 and whole:
        return high, 1
    if low >= 0 and high <= 1:
        return high, 255
    raise MnistryError(f"{name}: numbers from {low:g} to {high:g}; expected 0 to 255, or fractions from 0 to 1")


def _opener(path: Path) -> Callable[..., object]:
    with path.open("rb") as file:
        return gzip.open if file.read(2) == b"\x1f\x8b" else open


def _idx_header(path: Path) -> tuple[np.dtype, tuple[int, ...]] | None:
    """Type and shape of an IDX file; None where it is none."""
    try:
        with _opener(path)(path, "rb") as file:  # type: ignore[attr-defined]
            start = file.read(4)
            if len(start) < 4 or start[:2] != b"\0\0" or start[2] not in IDX_TYPES or not 1 <= start[3] <= 4:
                return None
            sizes = file.read(4 * start[3])
    except (OSError, EOFError, zlib.error):
        return None
    if len(sizes) < 4 * start[3]:
        return None
    return np.dtype(IDX_TYPES[start[2]]), tuple(np.frombuffer(sizes, ">u4").tolist())


def _read_idx(path: Path) -> np.ndarray:
    header = _idx_header(path)
    assert header is not None, "it was recognized by its header"
    dtype, shape = header
    size = prod(shape) * dtype.itemsize
    check_growth(path, size)
    plain = _opener(path) is open
    if plain and size != path.stat().st_size - 4 - 4 * len(shape):
        raise MnistryError(f"{path.name}: damaged: its header announces {size:,} bytes; get it again")
    with _opener(path)(path, "rb") as file:  # type: ignore[attr-defined]
        file.read(4 + 4 * len(shape))
        # One byte more than announced, to notice what follows.
        content = file.read(size + 1)
    if len(content) != size:
        raise MnistryError(f"{path.name}: damaged: its header announces {size:,} bytes; get it again")
    return np.frombuffer(content, dtype).reshape(shape)
