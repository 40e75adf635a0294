import io
import zlib

import numpy as np
import pytest
from PIL import Image, ImageOps

from src.decoding import Decoding, decode_image, decode_padded, decoding_bytes, measure_image
from src.errors import MnistryError
from tests.image_files import encoded


def ramp(mode="L"):
    """4x3 pixels of twelve values."""
    return Image.fromarray(np.arange(0, 240, 20, dtype=np.uint8).reshape(3, 4)).convert(mode)


@pytest.mark.parametrize("kind", ["PNG", "BMP", "GIF", "TIFF", "WEBP"])
def test_lossless_kinds_give_their_exact_pixels(kind):
    """Of a grey image; GIF through its palette."""
    pixels = decode_image(encoded(ramp(), kind, **({"lossless": True} if kind == "WEBP" else {})), (1, 3, 4))
    assert pixels.dtype == np.uint8
    np.testing.assert_array_equal(pixels[0], np.arange(0, 240, 20).reshape(3, 4))


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_jpeg_is_near_its_pixels(mode):
    """It loses a little."""
    colours: dict[str, tuple[float, ...]] = {"L": (100,), "RGB": (10, 200, 90), "CMYK": (255, 0, 0, 0)}
    flat = Image.new(mode, (16, 16), colours[mode])
    expected = {"L": (100, 100, 100), "RGB": (10, 200, 90), "CMYK": (0, 255, 255)}[mode]
    pixels = decode_image(encoded(flat, "JPEG", quality=95), (3, 16, 16))
    assert np.abs(pixels.mean((1, 2)) - expected).max() < 4


def test_16_bits_are_scaled_to_8():
    """65535 is white."""
    image = Image.fromarray(np.array([[0, 257 * 100, 65535]], dtype=np.uint16))
    assert decode_image(encoded(image, "PNG"), (1, 1, 3)).ravel().tolist() == [0, 100, 255]


def test_transparent_grey_of_16_bits_shows_black():
    """The one that the file names."""
    image = Image.fromarray(np.array([[0, 257 * 100, 65535]], dtype=np.uint16))
    buffer = encoded(image, "PNG", transparency=65535)
    assert decode_image(buffer, (1, 1, 3)).ravel().tolist() == [0, 100, 0]


def test_transparency_shows_black():
    """In grey and in colour."""
    image = Image.new("RGBA", (2, 1), (255, 255, 255, 0))
    image.putpixel((0, 0), (255, 255, 255, 255))
    assert decode_image(encoded(image, "PNG"), (1, 1, 2)).ravel().tolist() == [255, 0]


def test_exif_orientation_is_followed():
    """6: the camera was turned, so the image is higher than wide."""
    exif = Image.Exif()
    exif[0x0112] = 6
    assert measure_image(encoded(ramp(), "TIFF", exif=exif)).shape == (1, 4, 3)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
@pytest.mark.parametrize(
    ("orientation", "turned"),
    [
        (1, lambda array: array),
        (2, np.fliplr),
        (3, lambda array: np.rot90(array, 2)),
        (4, np.flipud),
        (5, np.transpose),
        (6, lambda array: np.rot90(array, -1)),
        (7, lambda array: np.rot90(array, 2).T),
        (8, np.rot90),
    ],
)
def test_every_exif_orientation_gives_its_exact_pixels(kind, orientation, turned):
    """Turned and mirrored as the standard says of each; the measure agrees."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    expected = turned(np.asarray(ramp()))
    buffer = encoded(ramp(), kind, exif=exif)
    assert measure_image(buffer).shape == (1, *expected.shape)
    np.testing.assert_array_equal(decode_image(buffer, (1, *expected.shape))[0], expected)


def test_palette_gives_its_colours():
    """With a transparent one, which shows black."""
    image = Image.new("P", (3, 1))
    image.putpalette([10, 20, 30, 200, 100, 50, 1, 2, 3])
    image.putdata([0, 1, 2])
    pixels = decode_image(encoded(image, "PNG", transparency=2), (3, 1, 3))
    assert pixels[:, 0].T.tolist() == [[10, 20, 30], [200, 100, 50], [0, 0, 0]]
    assert measure_image(encoded(image, "GIF")).shape[0] == 3


def test_16_bits_a_channel_of_colour():
    """The upper eight; a PNG file made by hand, since Pillow writes none."""

    def chunk(name, content):
        checked = name + content
        return len(content).to_bytes(4, "big") + checked + zlib.crc32(checked).to_bytes(4, "big")

    header = (1).to_bytes(4, "big") * 2 + bytes([16, 2, 0, 0, 0])
    pixels = zlib.compress(bytes([0, 0xFF, 0xFF, 0x80, 0x01, 0, 0]))
    content = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    assert decode_image(io.BytesIO(content), (3, 1, 1)).ravel().tolist() == [255, 128, 0]


@pytest.mark.parametrize(("mode", "channels"), [("1", 1), ("L", 1), ("LA", 1), ("P", 1), ("RGB", 3), ("RGBA", 3)])
def test_colour_is_distinguished_from_grey(mode, channels):
    """By the mode, and by the palette's colours where there is one."""
    image = ramp().quantize(16) if mode == "P" else ramp(mode)
    assert measure_image(encoded(image, "PNG")).shape == (channels, 3, 4)


def test_first_frame_of_an_animation():
    """The others are left out."""
    frames = [Image.new("L", (2, 2), value) for value in (7, 200)]
    buffer = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert decode_image(buffer, (1, 2, 2)).ravel().tolist() == [7] * 4


def test_shrinking_averages():
    """Antialiased: each pixel is the mean of those that it replaces."""
    image = Image.fromarray(np.tile(np.array([[0, 200], [200, 0]], dtype=np.uint8), (4, 4)))
    assert (decode_image(encoded(image, "PNG"), (1, 4, 4)) == 100).all()


@pytest.mark.parametrize("content", [b"", b"GIF89a", b"\x89PNG\r\n\x1a\n"])
def test_what_is_not_an_image_is_named(content):
    """Empty, or a header alone."""
    with pytest.raises(MnistryError, match=r"^x\.png: "):
        decode_image(io.BytesIO(content), (1, 2, 2), "x.png")


def test_program_for_a_printer_is_not_run():
    """Pillow would have Ghostscript draw it."""
    program = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 2 2\n%%EndComments\nshowpage\n"
    with pytest.raises(MnistryError, match=r"^x\.png: not an image that can be read"):
        measure_image(io.BytesIO(program), "x.png")


def photograph(size=(1604, 1200)):
    """Smooth colours in a JPEG file of 1604x1200 pixels."""
    coarse = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)


@pytest.mark.parametrize("orientation", [1, 6])
def test_photographs_are_what_decoding_them_whole_gives(orientation):
    """Though they are decoded at a fraction of their size, which the measure doesn't show."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    buffer = encoded(photograph(), "JPEG", quality=95, exif=exif)
    assert measure_image(buffer).shape == ((3, 1200, 1604) if orientation == 1 else (3, 1604, 1200))
    with Image.open(buffer) as opened:
        whole = ImageOps.exif_transpose(opened).resize((40, 30), Image.Resampling.BOX)
    stretched = Decoding(fit="stretch")
    pixels = decode_image(buffer, (3, 30, 40), decoding=stretched).astype(int)
    assert np.abs(pixels - np.asarray(whole).transpose(2, 0, 1)).mean() < 1.5
    grey = decode_image(buffer, (1, 30, 40), decoding=stretched).astype(int)
    assert np.abs(grey - np.asarray(whole.convert("L"))).mean() < 1.5


def test_photograph_turned_to_nearly_square_keeps_its_sides():
    """At an eighth of its size it would be square."""
    exif = Image.Exif()
    exif[0x0112] = 8
    assert measure_image(encoded(photograph((15, 9)), "JPEG", exif=exif)).shape == (3, 15, 9)


def test_dark_16_bits_stay_dark():
    """The scale is the format's, not that of the values in the file."""
    image = Image.fromarray(np.array([[0, 200]], dtype=np.uint16))
    assert decode_image(encoded(image, "PNG"), (1, 1, 2)).ravel().tolist() == [0, 1]


def test_floating_point_pixels_are_refused():
    """Nobody knows which value is white."""
    image = Image.fromarray(np.array([[0, 0.5]], dtype=np.float32))
    with pytest.raises(MnistryError, match=r"^x\.tif: pixels from 0\.0 to 0\.5 of type float32; expected 8 or 16 bits"):
        measure_image(encoded(image, "TIFF"), "x.tif")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF"])
def test_half_an_image_is_refused(kind):
    """Of every kind, by both functions."""
    content = encoded(photograph((640, 480)), kind).getvalue()
    for read in (lambda file: measure_image(file, "x"), lambda file: decode_image(file, (3, 480, 640), "x")):
        with pytest.raises(MnistryError, match=r"^x: "):
            read(io.BytesIO(content[: len(content) // 2]))


@pytest.mark.parametrize("kind", ["PNG", "BMP"])
def test_zero_size_is_refused(kind):
    """A width of 0 in the header."""
    content = bytearray(encoded(ramp(), kind).getvalue())
    start, width = {"PNG": (16, 4), "BMP": (18, 4)}[kind]
    content[start : start + width] = bytes(width)
    with pytest.raises(MnistryError, match=r"^x: "):
        measure_image(io.BytesIO(content), "x")


@pytest.mark.parametrize("width", [12, 25])
def test_image_of_too_many_pixels_is_refused(monkeypatch, width):
    """By its size, before it is decoded: above the limit, from which Pillow only warns, and above twice the limit."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    assert measure_image(encoded(Image.new("L", (10, 10)))).shape == (1, 10, 10)
    for read in (measure_image, lambda file, name: decode_image(file, (1, 2, 2), name)):
        with pytest.raises(MnistryError, match=r"^x: more than 100 pixels; shrink it first"):
            read(encoded(Image.new("L", (width, 10))), "x")


@pytest.mark.parametrize(
    ("fit", "expected"),
    [
        ("pad", [[0, 0, 0, 0], [50, 50, 200, 200], [50, 50, 200, 200], [0, 0, 0, 0]]),
        ("crop", [[50, 50, 200, 200]] * 4),
        ("stretch", [[50, 50, 200, 200]] * 4),
    ],
)
def test_proportions_are_kept_as_the_fit_says(fit, expected):
    """An image twice as wide as high, its left half dark, in a square: padded, cut at both ends, or stretched."""
    wide = np.full((4, 8), 50, np.uint8)
    wide[:, 4:] = 200
    buffer = encoded(Image.fromarray(wide), "PNG")
    assert decode_image(buffer, (1, 4, 4), decoding=Decoding(fit)).tolist() == [expected]


def test_crop_takes_the_middle():
    """Of a high image, what is above and below it is lost."""
    high = np.repeat(np.array([0, 100, 200, 0], np.uint8), 2)[:, None].repeat(4, 1)
    found = decode_image(encoded(Image.fromarray(high), "PNG"), (1, 4, 4), decoding=Decoding("crop"))
    assert found[0, :, 0].tolist() == [100, 100, 200, 200]


def test_padding_is_black_in_inverted_images_too():
    """Light and dark are swapped before."""
    white = Image.new("L", (8, 4), 255)
    found, _ = decode_padded(encoded(white, "PNG"), (1, 4, 4), invert=True)
    assert (found == 0).all()
    found, _ = decode_padded(encoded(Image.new("L", (8, 4)), "PNG"), (1, 4, 4), invert=True)
    assert found[0, :, 0].tolist() == [0, 255, 255, 0]


@pytest.mark.parametrize(
    ("fit", "size", "unpadded"),
    [("pad", (8, 4), (2, 4)), ("pad", (4, 12), (4, 1)), ("pad", (6, 6), (4, 4)), ("crop", (8, 4), (4, 4))],
)
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_what_is_not_padding_is_known(fit, size, unpadded, mode):
    """All of a white image is white there, and only there."""
    shape = (len(mode), 4, 4)
    codes, inner = decode_padded(encoded(Image.new(mode, size, "white"), "PNG"), shape, decoding=Decoding(fit))
    assert inner.shape == (len(mode), *unpadded)
    assert (inner == 255).all()
    assert np.count_nonzero(codes) == inner.size


def ink(colour):
    """A stroke of the colour on a transparent ground."""
    image = Image.new("RGBA", (6, 6), (*colour, 0))
    image.paste((*colour, 255), (2, 1, 4, 5))
    return encoded(image, "PNG")


def test_transparent_parts_are_what_is_asked_for():
    """Black ink on black vanishes, and is known to; on white it is seen."""
    black, white = (Decoding(transparent=ground) for ground in ("black", "white"))
    assert decode_image(ink((0, 0, 0)), (1, 6, 6), decoding=black).max() == 0
    assert np.unique(decode_image(ink((0, 0, 0)), (1, 6, 6), decoding=white)).tolist() == [0, 255]
    assert measure_image(ink((0, 0, 0))).plain == {"black"}
    assert measure_image(ink((255, 255, 255))).plain == {"white"}
    assert measure_image(ink((255, 0, 0))).plain == set()
    assert measure_image(encoded(Image.new("L", (6, 6)), "PNG")).plain == set()


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "I;16", "L", "RGB"])
def test_large_images_are_decoded_band_by_band(monkeypatch, mode):
    """Which takes less memory, and gives the same pixels; here, bands of two rows and one of the last."""
    pixels = np.random.default_rng(0).integers(0, 256, (7, 10, 4), np.uint8)
    image = (
        Image.fromarray(pixels).convert(mode)
        if mode != "I;16"
        else Image.fromarray(pixels[..., 0].astype(np.uint16) * 257)
    )
    file = encoded(image)
    whole = decode_image(file, (3, 7, 10), "x"), measure_image(file, "x")
    monkeypatch.setattr("src.decoding.BAND_PIXELS", 20)
    np.testing.assert_array_equal(decode_image(file, (3, 7, 10), "x"), whole[0])
    assert measure_image(file, "x") == whole[1]


@pytest.mark.parametrize(
    ("mode", "kind", "options", "bytes_per_pixel"),
    [
        ("L", "PNG", {}, 1),
        ("RGB", "PNG", {}, 4),
        ("RGBA", "PNG", {}, 8),
        ("RGB", "JPEG", {}, 1 / 16),
        ("RGB", "JPEG", {"progressive": True}, 3 + 1 / 16),
    ],
)
def test_memory_of_decoding_goes_by_the_kind_of_image(mode, kind, options, bytes_per_pixel):
    """An eighth of a JPEG's size is enough to look at it, unless all of it must be kept until its end."""
    file = encoded(Image.new(mode, (80, 160)), kind, **options)
    assert decoding_bytes(file) == 80 * 160 * bytes_per_pixel
    assert decoding_bytes(file, side=160) >= 80 * 160 * bytes_per_pixel


def test_memory_of_what_is_no_image_is_not_known():
    """Decoding it will say what is wrong."""
    assert decoding_bytes(io.BytesIO(b"damaged")) == 0
