"""What all figures share. They are drawn with matplotlib; the same input gives the same bytes.

All have a white background, so that they can be read on dark pages too, and colours that colour-blind people can
distinguish: Okabe and Ito's, https://jfly.uni-koeln.de/color, and shades of one blue.
"""

import unicodedata
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from importlib.resources import files
from itertools import accumulate
from pathlib import Path
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg, RendererAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import fontManager
from matplotlib.text import Text

BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "#777777"
DOTS_PER_INCH = 100
FONT_PACKAGES = ("noto_cjk_sans_jp_regular", "manimgx_fonts")
"""Noto's fonts for Chinese, Japanese and Korean, and for emoji and further scripts."""
MOST_CLASSES = 60
"""That there is room for by name in one figure; of more, a figure shows so many, or none by name."""


@cache
def font_families() -> list[str]:
    """The fonts that are asked for a character, in order: all come with packages, so every machine draws the same."""
    paths = [font for package in FONT_PACKAGES for font in Path(str(files(package))).iterdir()]
    families = []
    for path in sorted(path for path in paths if path.suffix in (".otf", ".ttf") and "Italic" not in path.name):
        fontManager.addfont(path)
        families.append(fontManager.ttflist[-1].name)
    return ["DejaVu Sans", *families]


def save(figure: Figure, path: Path) -> None:
    """Write the figure as its name says, PNG or JPEG, without anything in it that changes from run to run."""
    with _boxes_for_missing_glyphs():
        path.parent.mkdir(parents=True, exist_ok=True)
        for text in figure.findobj(Text):
            assert isinstance(text, Text)
            _set_font(text)
        _fit_titles(figure)
        metadata = {"Software": None} if path.suffix.lower() == ".png" else None
        figure.savefig(path, dpi=DOTS_PER_INCH, facecolor="white", metadata=metadata)


def save_all(figures: Iterable[tuple[str, Figure]], folder: Path) -> None:
    """Write each named figure into the folder, as PNG."""
    for name, figure in figures:
        save(figure, folder / f"{name}.png")


def shorten(name: str, width: int) -> str:
    """The name, cut to the width in columns with an ellipsis; a Chinese character takes two."""
    columns = [2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in name]
    if sum(columns) <= width:
        return name
    kept = sum(total < width for total in accumulate(columns))
    return name[:kept].rstrip() + "…"


def shorten_start(name: str, width: int) -> str:
    """The name, cut at its start: the end of a path says more."""
    return name if len(name) <= width else "…" + name[len(name) - width + 1 :]


def image_grid(
    images: np.ndarray,
    captions: Sequence[str],
    colours: Sequence[str] = (),
    columns: int = 4,
    size: float = 1.0,
    title: str = "",
) -> Figure:
    """Images in rows, each under its caption, all in one pair of axes: one for each image takes three times as long.

    images: uint8, shape (N, C, H, W). colours: of the captions; black by default. size: times the usual width. title:
    over all of them.
    """
    line, gap, width = 0.17, 0.12, 1.9 * size
    height = 1.7 * size * min(images.shape[2] / images.shape[3], 1)
    # Inches, from the top of the figure; the row's height is that of captions, image and gaps.
    top = (line * 1.2 * (title.count("\n") + 1) + gap) if title else 0.0
    row_height = height + line * (max(caption.count("\n") for caption in captions) + 1) + 2 * gap
    total = width * columns, top + row_height * -(-len(images) // columns)
    figure = Figure(figsize=total)
    renderer = FigureCanvasAgg(figure).get_renderer()  # type: ignore[no-untyped-call]
    axis = figure.add_axes((0, 0, 1, 1), xlim=(0, total[0]), ylim=(total[1], 0))
    axis.set_axis_off()
    half = height * images.shape[3] / images.shape[2] / 2
    with _boxes_for_missing_glyphs():
        if title:
            _fit(figure.suptitle(title, y=1 - gap / total[1]), figure.bbox.width, renderer)
        for i, (image, caption) in enumerate(zip(images, captions, strict=True)):
            row, column = divmod(i, columns)
            centre, bottom = (column + 0.5) * width, top + (row + 1) * row_height - gap
            show_image(axis, image, (centre - half, centre + half, bottom, bottom - height))
            place, colour = (centre, bottom - height - gap / 2), colours[i] if colours else "black"
            text = axis.text(*place, caption, ha="center", va="bottom", fontsize=10, color=colour)
            _fit(text, width * figure.dpi, renderer)
    return figure


def class_axis(class_names: Sequence[str]) -> tuple[Figure, Axes]:
    """A figure with a line for each class, the first on top."""
    size = len(class_names)
    figure = Figure(figsize=(7.5, max(2.5, 0.3 * size + 1.4)), layout="constrained")
    axis = figure.subplots()
    axis.set_yticks(range(size), [shorten(name, 24) for name in class_names])
    axis.set_ylim(size - 0.4, -0.6)
    return figure, axis


@contextmanager
def _boxes_for_missing_glyphs() -> Iterator[None]:
    """A character that none of the fonts has is drawn as a box, without a warning."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font", UserWarning)
        yield


def _set_font(text: Text) -> None:
    """Draw the text's characters as they are, by fonts that have them."""
    if not text.get_text().isascii():
        text.set_fontfamily(font_families())
    # Dollars in class names are not mathematics.
    text.set_parse_math(False)


def _fit_titles(figure: Figure) -> None:
    """Shrink titles that are wider than their column of the figure."""
    renderer = FigureCanvasAgg(figure).get_renderer()  # type: ignore[no-untyped-call]
    for axis in figure.axes:
        if places := axis.get_subplotspec():
            _fit(axis.title, figure.bbox.width / places.get_gridspec().ncols, renderer)


def _fit(text: Text, room: float, renderer: RendererAgg) -> None:
    """Draw the text in fonts that have its characters, and smaller where it is wider than the room, in dots."""
    _set_font(text)
    width = text.get_window_extent(renderer).width
    if width > 0.97 * room:
        text.set_fontsize(float(text.get_fontsize()) * 0.97 * room / width)


def show_image(axis: Axes, image: np.ndarray, extent: tuple[float, float, float, float] | None = None) -> None:
    """Draw the image, uint8 of shape (C, H, W), with its pixels as squares.

    extent: left, right, bottom and top of where it is drawn, among other things; by default, it is all that there is.
    """
    pixels = image[0] if len(image) == 1 else image.transpose(1, 2, 0)
    aspect: Literal["auto", "equal"] = "auto" if extent else "equal"
    axis.imshow(pixels, cmap="gray", vmin=0, vmax=255, interpolation="nearest", extent=extent, aspect=aspect)
