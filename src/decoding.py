"""From a picture file of any kind to the pixels that a classifier takes."""

import warnings
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from src.errors import MnistryError


def decode_picture(file: Path | BinaryIO, shape: tuple[int, int, int], name: str | None = None) -> np.ndarray:
    """The picture, turned as its EXIF data say and resized, as uint8 of shape (C, H, W).

    shape: (C, H, W) with 1 channel (grey) or 3 (red, green, blue). name: the file's, for messages.
    Transparent parts become black. Raises MnistryError where the file is no picture that can be read.
    """
    channels, height, width = shape
    name = name or str(file)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(file) as opened:
                picture = ImageOps.exif_transpose(opened)
                picture = _flatten(picture).convert("L" if channels == 1 else "RGB")
                picture = picture.resize((width, height), Image.Resampling.BOX if _shrinks(picture, width, height)
                                         else Image.Resampling.BICUBIC)  # fmt: skip
    except UnidentifiedImageError:
        raise MnistryError(
            f"{name}: not a picture that can be read; expected PNG, JPEG or another common kind"
        ) from None
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        raise MnistryError(f"{name}: more than {Image.MAX_IMAGE_PIXELS:,} pixels; shrink it first") from None
    except (OSError, ValueError, SyntaxError, EOFError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise MnistryError(f"{name}: {reason[:1].lower()}{reason[1:]}") from None
    array = np.asarray(picture)
    return array[None] if channels == 1 else np.ascontiguousarray(array.transpose(2, 0, 1))


def _shrinks(picture: Image.Image, width: int, height: int) -> bool:
    return picture.width >= width and picture.height >= height


def _flatten(picture: Image.Image) -> Image.Image:
    """The picture in 8 bits a channel, with black behind its transparent parts."""
    if picture.mode in ("I", "F") or picture.mode.startswith("I;"):
        array = np.asarray(picture, dtype=np.float64)
        # 16 bits a pixel is what such files hold, unless nothing in them exceeds 8.
        return Image.fromarray(np.clip(array / (257 if array.max() > 255 else 1), 0, 255).astype(np.uint8))
    if not picture.has_transparency_data:
        return picture
    picture = picture.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", picture.size, "black"), picture)
