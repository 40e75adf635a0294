"""From a picture file of any kind to the pixels that a classifier takes."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from src.errors import MnistryError


def decode_picture(file: Path | IO[bytes], shape: tuple[int, int, int], name: str | None = None) -> np.ndarray:
    """The picture, turned as its EXIF data say and resized, as uint8 of shape (C, H, W).

    shape: (C, H, W) with 1 channel (grey) or 3 (red, green, blue). name: the file's, for messages.
    Transparent parts become black. Raises MnistryError where the file is no picture that can be read.
    """
    channels, height, width = shape
    with _opened(file, name or str(file)) as picture:
        picture = picture.convert("L" if channels == 1 else "RGB")
        if picture.size != (width, height):
            # Averaging shrinks without aliasing; growing wants something smooth.
            averages = picture.width >= width and picture.height >= height
            picture = picture.resize((width, height), Image.Resampling.BOX if averages else Image.Resampling.BICUBIC)
        array = np.asarray(picture)
    return array[None] if channels == 1 else np.ascontiguousarray(array.transpose(2, 0, 1))


def measure_picture(file: Path | IO[bytes], name: str | None = None) -> tuple[int, int, int]:
    """The picture's own (C, H, W), with 1 channel where it is grey and 3 where it is in colour.

    All of it is decoded, to be sure that it can be. Raises MnistryError where it can't.
    """
    with _opened(file, name or str(file)) as picture:
        return 1 if picture.mode == "L" else 3, picture.height, picture.width


@contextmanager
def _opened(file: Path | IO[bytes], name: str) -> Iterator[Image.Image]:
    """The picture upright, in 8 bits a channel, mode L or RGB."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(file) as opened:
                yield _flatten(ImageOps.exif_transpose(opened))
    except UnidentifiedImageError:
        raise MnistryError(
            f"{name}: not a picture that can be read; expected PNG, JPEG or another common kind"
        ) from None
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        raise MnistryError(f"{name}: more than {Image.MAX_IMAGE_PIXELS:,} pixels; shrink it first") from None
    except (OSError, ValueError, SyntaxError, EOFError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise MnistryError(f"{name}: {reason[:1].lower()}{reason[1:]}") from None


def _flatten(picture: Image.Image) -> Image.Image:
    """The picture in mode L where it is grey, else RGB, with black behind its transparent parts."""
    if picture.mode in ("I", "F") or picture.mode.startswith("I;"):
        array = np.asarray(picture, dtype=np.float64)
        # 16 bits a pixel is what such files hold, unless nothing in them exceeds 8.
        return Image.fromarray(np.clip(array / (257 if array.max() > 255 else 1), 0, 255).astype(np.uint8))
    grey = picture.mode in ("1", "L", "LA", "La") or (picture.mode == "P" and _grey_palette(picture))
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, "black"), picture)
    return picture.convert("L" if grey else "RGB")


def _grey_palette(picture: Image.Image) -> bool:
    colours = np.array(picture.getpalette("RGB") or [0, 0, 0]).reshape(-1, 3)
    return bool((colours == colours[:, :1]).all())
