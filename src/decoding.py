"""From a picture file of any kind to the pixels that a classifier takes."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from src.errors import MnistryError

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "AVIF", "JPEG2000", "PPM", "ICO")
"""Without those that are programs to be run, as EPS is."""
TURNED = (5, 6, 7, 8)
"""EXIF orientations that exchange width and height."""


def decode_picture(file: Path | IO[bytes], shape: tuple[int, int, int], name: str | None = None) -> np.ndarray:
    """The picture, turned as its EXIF data say and resized, as uint8 of shape (C, H, W).

    shape: (C, H, W) with 1 channel (grey) or 3 (red, green, blue). name: the file's, for messages.
    Transparent parts become black. Raises MnistryError where the file is no picture that can be read.
    """
    channels, height, width = shape
    with _opened(file, name or str(file)) as opened:
        # A JPEG decodes at 1/2, 1/4 or 1/8 of its size in less time; at twice the size needed, resizing averages the
        # rest. Squared, since EXIF data may turn it.
        mode = "L" if channels == 1 else "RGB"
        opened.draft(mode, (2 * max(height, width),) * 2)
        picture = _converted(_flatten(_turned(opened)), mode)
        if picture.size != (width, height):
            # Averaging shrinks without aliasing; growing wants something smooth.
            averages = picture.width >= width and picture.height >= height
            picture = picture.resize((width, height), Image.Resampling.BOX if averages else Image.Resampling.BICUBIC)
        array = np.asarray(picture)
    return array[None] if channels == 1 else np.ascontiguousarray(array.transpose(2, 0, 1))


def measure_picture(file: Path | IO[bytes], name: str | None = None) -> tuple[int, int, int]:
    """The picture's own (C, H, W), with 1 channel where it is grey and 3 where it is in colour.

    All of the file is read, to be sure that it can be. Raises MnistryError where it can't.
    """
    with _opened(file, name or str(file)) as opened:
        turned = opened.getexif().get(ExifTags.Base.Orientation) in TURNED
        width, height = opened.size[::-1] if turned else opened.size
        # A JPEG at an eighth of its size takes less time, and all of its data are still read.
        if opened.draft(None, (1, 1)):
            opened.load()
            return len(_flatten(opened).getbands()), height, width
        picture = _flatten(_turned(opened))
        return len(picture.getbands()), picture.height, picture.width


@contextmanager
def _opened(file: Path | IO[bytes], name: str) -> Iterator[Image.Image]:
    """The picture before it is decoded; what goes wrong until the block ends is raised as MnistryError."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(file, formats=FORMATS) as opened:
                yield opened
    except UnidentifiedImageError:
        raise MnistryError(
            f"{name}: not a picture that can be read; expected PNG, JPEG or another common kind"
        ) from None
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        raise MnistryError(f"{name}: more than {Image.MAX_IMAGE_PIXELS:,} pixels; shrink it first") from None
    except Exception as error:
        # Pillow's decoders raise whatever a damaged file leads them to: RuntimeError for AVIF, SyntaxError for PNG.
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise MnistryError(f"{name}: {reason[:1].lower()}{reason[1:]}") from None


def _turned(picture: Image.Image) -> Image.Image:
    """The picture as its EXIF data say; itself where they say nothing, since Pillow would copy it."""
    # A PNG may have them after its pixels.
    picture.load()
    return picture if picture.getexif().get(ExifTags.Base.Orientation, 1) == 1 else ImageOps.exif_transpose(picture)


def _converted(picture: Image.Image, mode: str) -> Image.Image:
    return picture if picture.mode == mode else picture.convert(mode)


def _flatten(picture: Image.Image) -> Image.Image:
    """The picture in mode L where it is grey, else RGB, in 8 bits, with black behind its transparent parts."""
    if picture.mode in ("I", "F") or picture.mode.startswith("I;"):
        array = np.asarray(picture)
        if "transparency" in picture.info:
            # The one grey that a PNG file names.
            array = np.where(array == picture.info["transparency"], 0, array)
        return _from_16_bits(array)
    grey = picture.mode in ("1", "L", "LA", "La") or (picture.mode == "P" and _grey_palette(picture))
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, "black"), picture)
    return _converted(picture, "L" if grey else "RGB")


def _from_16_bits(array: np.ndarray) -> Image.Image:
    if array.dtype.kind == "f" or array.min() < 0 or array.max() > 65535:
        raise ValueError(f"pixels from {array.min()} to {array.max()} of type {array.dtype}; expected 8 or 16 bits")
    return Image.fromarray(np.rint(array / 257).astype(np.uint8))


def _grey_palette(picture: Image.Image) -> bool:
    colours = np.array(picture.getpalette("RGB") or [0, 0, 0]).reshape(-1, 3)
    return bool((colours == colours[:, :1]).all())
