import warnings

import numpy as np
import pytest
from PIL import Image

from src.evaluation import Evaluator
from src.plots.base import image_grid, save, shorten
from src.plots.dataset import class_counts, large_image
from src.plots.results import class_metrics, confusion_matrix, learning_curves, reliability_diagram

NAMES = ["plain", "お", "🙂", "$dollars_{and}$ ^carets"]
BINS = [{"confidence": 0.5, "accuracy": 0.4, "images": 10}, {"confidence": 0.9, "accuracy": 1.0, "images": 1}]
HISTORY = [{"epoch": 1.0, "train_loss": 0.5, "train_accuracy": 0.8}]


def drawings():
    """One of each kind, with class names of several scripts."""
    grey = np.random.default_rng(0).integers(0, 256, (5, 1, 8, 8), np.uint8)
    yield "grid", image_grid(grey[:4], NAMES, columns=3)
    yield "colour grid", image_grid(np.repeat(grey, 3, 1)[:4], NAMES)
    yield "large", large_image(grey[0], NAMES[1])
    yield "large in colour", large_image(np.repeat(grey, 3, 1)[0], NAMES[2])
    yield "counts", class_counts({"train": np.arange(4), "test": np.arange(4)}, NAMES)
    yield "metrics", class_metrics(np.array([0.0, 0.5, 1, 1]), np.array([1.0, 1, 1, 0.25]), NAMES)
    yield "confusion", confusion_matrix(np.arange(16).reshape(4, 4), NAMES, share_of_row=False)
    yield "shares of nothing", confusion_matrix(np.zeros((4, 4), np.int64), NAMES, share_of_row=True)
    yield "47 classes", confusion_matrix(np.eye(47, dtype=np.int64), [str(i) for i in range(47)], share_of_row=True)
    yield "reliability", reliability_diagram(BINS, 0.1)
    yield "curves", learning_curves(HISTORY)
    yield "curves with validation", learning_curves([HISTORY[0] | {"validation_loss": 0.6, "validation_accuracy": 0.7}])


@pytest.mark.parametrize("name", [name for name, _ in drawings()])
def test_figures_are_the_same_bytes_and_opaque_without_warnings(tmp_path, name):
    """Drawn twice; on a white ground; a character that no font has is no warning."""
    for path in (tmp_path / "first.png", tmp_path / "second.png"):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            save(dict(drawings())[name], path)
    assert (tmp_path / "first.png").read_bytes() == (tmp_path / "second.png").read_bytes()
    with Image.open(tmp_path / "first.png") as figure:
        rgba = np.asarray(figure.convert("RGBA"))
    assert (rgba[..., 3] == 255).all()
    assert rgba[0, 0].tolist() == [255, 255, 255, 255]
    assert len(np.unique(rgba.reshape(-1, 4), axis=0)) > 2


def test_captions_stay_within_their_column(tmp_path):
    """Capitals are wide: they are drawn smaller, and short captions aren't."""
    figure = image_grid(np.zeros((2, 1, 8, 8), np.uint8), ["WHOLEWHEAT MUFFIN: 43.8%", "one"], columns=4)
    save(figure, tmp_path / "grid.png")
    wide, short = figure.axes[0].texts
    assert wide.get_window_extent().width <= figure.bbox.width / 4
    assert short.get_fontsize() == 10


def test_jpeg_is_written_too(tmp_path):
    """As the name says."""
    save(learning_curves(HISTORY), tmp_path / "curves.jpg")
    with Image.open(tmp_path / "curves.jpg") as figure:
        assert figure.format == "JPEG"


def test_a_single_epoch_is_a_whole_number():
    """Its axis has no ticks between epochs."""
    for axis in learning_curves(HISTORY).axes:
        ticks = axis.xaxis.get_major_locator().tick_values(*axis.get_xlim())
        assert all(tick == round(tick) for tick in ticks)


def test_axis_of_precision_and_recall_ends_at_one():
    """It begins at 0.9 at most, so that tiny differences look tiny."""
    for values, left in (([1.0, 1.0, 0.999], 0.9), ([0.2, 0.5, 1.0], 0.12)):
        axis = class_metrics(np.array(values), np.array(values[::-1]), NAMES[:3]).axes[0]
        assert axis.get_xlim() == pytest.approx((left, 1))


def test_photograph_is_drawn_small_and_without_values():
    """Its figure stays within a screen, whatever its pixels."""
    figure = large_image(np.zeros((3, 3000, 4000), np.uint8), "title")
    assert max(figure.get_size_inches()) < 9
    assert not figure.axes[0].texts


def test_characters_of_many_scripts_have_glyphs(tmp_path):
    """Those without one would all be drawn as the same box."""
    characters = ["お", "漢", "汉", "한", "🐱", "👟", "ไ", "क"]
    for number, character in enumerate(characters):
        save(image_grid(np.zeros((1, 1, 8, 8), np.uint8), [character]), tmp_path / f"{number}.png")
    assert len({path.read_bytes() for path in tmp_path.iterdir()}) == len(characters)


@pytest.mark.parametrize(
    ("name", "width", "expected"),
    [
        ("Ankle boot", 10, "Ankle boot"),
        ("Ankle boots", 10, "Ankle boo…"),
        ("漢字かな", 8, "漢字かな"),
        ("漢字かな", 7, "漢字か…"),
        ("ab cd", 4, "ab…"),
    ],
)
def test_long_names_are_cut_to_columns(name, width, expected):
    """An ellipsis takes one column, a wide character two; no space is left before the ellipsis."""
    assert shorten(name, width) == expected


def test_pixel_values_are_written_in_the_large_image():
    """T5's: one number per pixel."""
    image = np.arange(6, dtype=np.uint8).reshape(1, 2, 3)
    (axis,) = large_image(image, "title").axes
    assert [text.get_text() for text in axis.texts] == ["0", "1", "2", "3", "4", "5"]


def test_confusion_matrix_writes_counts_and_shares():
    """Counts as they are, or the percentage of each actual class; zeros are left out."""
    counts = np.array([[3, 1], [0, 2]])
    texts = [
        [text.get_text() for text in confusion_matrix(counts, ["a", "b"], share_of_row=share).axes[0].texts]
        for share in (False, True)
    ]
    assert texts == [["3", "1", "2"], ["75.0", "25.0", "100.0"]]


@pytest.mark.parametrize("size", [300, 1000])
def test_figures_of_many_classes_stay_small(size):
    """Their sides don't grow with the classes: some are shown by name, or all without."""
    names, values = [f"class {i}" for i in range(size)], np.linspace(0, 1, size)
    figures = [
        class_counts({"train": np.arange(size), "test": np.arange(size)}, names),
        class_metrics(values, values, names),
        confusion_matrix(np.eye(size, dtype=np.int64), names, share_of_row=True),
    ]
    assert max(max(figure.get_size_inches()) for figure in figures) < 20
    for figure, title in zip(figures[:2], ("fewest training images", "lowest recall"), strict=True):
        (axis,) = figure.axes
        assert title in axis.get_title()
        assert [label.get_text() for label in axis.get_yticklabels()] == names[:60]
    assert not figures[2].axes[0].texts


def test_worst_mistakes_come_by_falling_probability():
    """Correct predictions are left out, and so is what exceeds the number asked for."""
    probabilities = np.array([[0.6, 0.4], [0.9, 0.1], [0.2, 0.8], [0.1, 0.9]])
    for most, expected in ((5, [1, 2, 0]), (2, [1, 2])):
        evaluator = Evaluator("ab", mistakes=most)
        evaluator.add(np.array([1, 1, 0, 1]), probabilities)
        assert evaluator.evaluation().mistakes.indices.tolist() == expected
