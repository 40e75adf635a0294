"""From an image file of any format to the pixels that a classifier takes."""

import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal

import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from src.errors import MnistryError
from src.signatures import describe_start

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "AVIF", "JPEG2000", "PPM", "ICO")
"""Without formats that are programs to be run, such as EPS."""
DECODER_ERRORS = (
    OSError, EOFError, SyntaxError, ValueError, TypeError, RuntimeError, LookupError, ArithmeticError, AttributeError,
    MemoryError, struct.error, zlib.error,
)  # fmt: skip
"""What Pillow's decoders raise for damaged files: RuntimeError for AVIF, SyntaxError for PNG, and so on."""
BAND_PIXELS = 1 << 20
TURNED = (5, 6, 7, 8)
"""EXIF orientations that exchange width and height."""
GROUNDS = ("black", "white")
"""What may be put behind transparent parts."""


MOST_PIXELS = 10**8
"""Of an image, however it was made: Pillow reads fewer, and source.yaml can ask for no more."""


def check_shape(shape: tuple[int, int, int]) -> tuple[int, int, int]:
    """The shape (C, H, W); ValueError where no image can have it."""
    channels, height, width = shape
    if channels not in (1, 3) or min(height, width) < 1 or height * width > MOST_PIXELS:
        raise ValueError(f"images of shape {shape}")
    return shape


Content = Literal["characters", "objects"]
"""What images show, where it decides how they may be changed in training: a mirrored character may be another."""


@dataclass(frozen=True)
class Decoding:
    """How images are brought to a dataset's shape.

    fit: what is done where their proportions differ from the shape's: pad (with black), crop (from the middle) or
    stretch. transparent: what is behind their transparent parts.
    """

    fit: Literal["pad", "crop", "stretch"] = "pad"
    transparent: Literal["black", "white"] = "black"


def decode_image(
    file: Path | IO[bytes], shape: tuple[int, int, int], name: str | None = None, decoding: Decoding = Decoding()
) -> np.ndarray:
    """The image, turned as its EXIF data say and resized, as uint8 of shape (C, H, W).

    shape: (C, H, W) with 1 channel (grey) or 3 (red, green, blue). name: the file's, for messages. Raises MnistryError
    where the file is not an image that can be read.
    """
    return decode_padded(file, shape, name, decoding)[0]


def decode_padded(
    file: Path | IO[bytes],
    shape: tuple[int, int, int],
    name: str | None = None,
    decoding: Decoding = Decoding(),
    invert: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """The image as `decode_image` gives it, and the part of it that isn't padding, a view of shape (C, h, w).

    invert: whether light and dark are swapped; padding stays black. Raises MnistryError as `decode_image` does.
    """
    channels, height, width = shape
    with _opened(file, name or str(file)) as opened:
        # A JPEG decodes faster at 1/2, 1/4 or 1/8 of its size. It is decoded at twice the size needed, and resizing
        # averages the rest. The draft is square, since EXIF data may turn it.
        mode = "L" if channels == 1 else "RGB"
        opened.draft(mode, (2 * max(height, width),) * 2)
        image = _converted(_flatten(_turned(opened), decoding.transparent), mode)
        # Before padding, which is black in either case.
        image = ImageOps.invert(image) if invert else image
        fitted, (left, top, right, bottom) = _fitted(image, (width, height), decoding.fit)
        array = np.asarray(fitted)
    codes = array[None] if channels == 1 else np.ascontiguousarray(array.transpose(2, 0, 1))
    return codes, codes[:, top:bottom, left:right]


def image_size(file: Path | IO[bytes], name: str | None = None) -> tuple[int, int]:
    """The image's width and height, as its header says. Raises MnistryError where it can't be read."""
    with _opened(file, name or str(file)) as opened:
        return opened.size


@dataclass(frozen=True)
class Measurement:
    """What an image file holds.

    shape: the image's own (C, H, W), with 1 channel where it is grey and 3 where it is in colour. plain: the grounds,
    black or white, on which it is of one colour; none where it isn't transparent.
    """

    shape: tuple[int, int, int]
    plain: frozenset[str] = frozenset()


def measure_image(file: Path | IO[bytes], name: str | None = None) -> Measurement:
    """Read the whole file, to be sure that it can be. Raises MnistryError where it can't."""
    with _opened(file, name or str(file)) as opened:
        turned = opened.getexif().get(ExifTags.Base.Orientation) in TURNED
        width, height = opened.size[::-1] if turned else opened.size
        # A JPEG decodes faster at an eighth of its size, and all of its data are still read.
        if opened.draft(None, (1, 1)):
            opened.load()
            return Measurement((len(_flatten(opened).getbands()), height, width))
        transparent = opened.has_transparency_data
        image = _turned(opened)
        shape = len(_flatten(image).getbands()), image.height, image.width
        grounds = GROUNDS if transparent else ()
        return Measurement(shape, frozenset(ground for ground in grounds if _is_plain(_flatten(image, ground))))


def _is_plain(image: Image.Image) -> bool:
    """Whether the image is of one colour."""
    return all(low == high for low, high in np.reshape(image.getextrema(), (-1, 2)))


@contextmanager
def _opened(file: Path | IO[bytes], name: str) -> Iterator[Image.Image]:
    """The image before it is decoded; what goes wrong until the block ends is raised as MnistryError."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(file, formats=FORMATS) as opened:
                yield opened
    except UnidentifiedImageError:
        looks = describe_start(_start(file))
        expected = f"it is {looks}" if looks else "expected PNG, JPEG or another common format"
        raise MnistryError(f"{name}: not an image that can be read; {expected}") from None
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        raise MnistryError(f"{name}: more than {Image.MAX_IMAGE_PIXELS:,} pixels; shrink it first") from None
    except DECODER_ERRORS as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise MnistryError(f"{name}: {reason[:1].lower()}{reason[1:]}") from None


def _start(file: Path | IO[bytes]) -> bytes:
    """The file's first bytes."""
    if isinstance(file, Path):
        with file.open("rb") as opened:
            return opened.read(140)
    file.seek(0)
    return file.read(140)


def _turned(image: Image.Image) -> Image.Image:
    """The image as its EXIF data say; the same object where they say nothing, since Pillow would copy it."""
    # A PNG may have them after its pixels.
    image.load()
    return image if image.getexif().get(ExifTags.Base.Orientation, 1) == 1 else ImageOps.exif_transpose(image)


def _converted(image: Image.Image, mode: str) -> Image.Image:
    return image if image.mode == mode else image.convert(mode)


def _fitted(image: Image.Image, size: tuple[int, int], fit: str) -> tuple[Image.Image, tuple[int, int, int, int]]:
    """The image at the size (width, height), as `Decoding` says, and the box in it that isn't padding."""
    everything = (0, 0, *size)
    if image.size == size:
        return image, everything
    if fit == "stretch":
        return _resized(image, size), everything
    across, down = (target / side for target, side in zip(size, image.size, strict=True))
    scale = max(across, down) if fit == "crop" else min(across, down)
    if fit == "crop":
        width, height = (min(round(target / scale), side) for target, side in zip(size, image.size, strict=True))
        left, top = (image.width - width) // 2, (image.height - height) // 2
        return _resized(image.crop((left, top, left + width, top + height)), size), everything
    width, height = (min(max(round(side * scale), 1), target) for target, side in zip(size, image.size, strict=True))
    left, top = (size[0] - width) // 2, (size[1] - height) // 2
    whole = Image.new(image.mode, size)
    whole.paste(_resized(image, (width, height)), (left, top))
    return whole, (left, top, left + width, top + height)


def _resized(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    # Averaging shrinks without aliasing; enlarging needs something smooth.
    averages = image.width >= size[0] and image.height >= size[1]
    return image.resize(size, Image.Resampling.BOX if averages else Image.Resampling.BICUBIC)


def _flatten(image: Image.Image, ground: str = "black") -> Image.Image:
    """The image in mode L where it is grey, else RGB, in 8 bits, with the ground behind its transparent parts.

    Band by band: copies of the whole image in other types took 1.7 GB for 88 megapixels, and take 0.7 GB.
    """
    rows = max(BAND_PIXELS // image.width, 1)
    if image.mode in ("L", "RGB") or image.height <= rows:
        return _flatten_band(image, ground)
    tops = range(0, image.height, rows)
    bands = ((top, image.crop((0, top, image.width, min(top + rows, image.height)))) for top in tops)
    whole: Image.Image | None = None
    for top, band in bands:
        flat = _flatten_band(band, ground)
        whole = whole or Image.new(flat.mode, image.size)
        whole.paste(flat, (0, top))
    assert whole is not None, "an image has rows"
    return whole


def _flatten_band(image: Image.Image, ground: str) -> Image.Image:
    if image.mode in ("I", "F") or image.mode.startswith("I;"):
        array = np.asarray(image)
        if "transparency" in image.info:
            # The one grey that a PNG file names.
            array = np.where(array == image.info["transparency"], 65535 if ground == "white" else 0, array)
        return _from_16_bits(array)
    grey = image.mode in ("1", "L", "LA", "La") or (image.mode == "P" and _grey_palette(image))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, ground), image)
    return _converted(image, "L" if grey else "RGB")


def _from_16_bits(array: np.ndarray) -> Image.Image:
    if array.dtype.kind == "f" or array.min() < 0 or array.max() > 65535:
        raise ValueError(f"pixels from {array.min()} to {array.max()} of type {array.dtype}; expected 8 or 16 bits")
    return Image.fromarray(np.rint(array / 257).astype(np.uint8))


def _grey_palette(image: Image.Image) -> bool:
    colours = np.array(image.getpalette("RGB") or [0, 0, 0]).reshape(-1, 3)
    return bool((colours == colours[:, :1]).all())
