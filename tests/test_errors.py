"""How errors show what others wrote."""

import pickle

import pytest

from src.errors import LONGEST_LINE, MnistryError, one_line, printable


@pytest.mark.parametrize("text", ["\x1b[2J", "\x9b31m", "a\rb", "\u202egnp.exe", "\udcff", "\u2028", "\0", "\x07"])
def test_no_text_steers_a_terminal(text):
    """Escape sequences, carriage returns and reversed text are shown as what they are."""
    shown = printable(text)
    assert shown.isascii()
    assert shown.isprintable()


def test_words_stay_as_they_are():
    """In any script, emoji and their joiners included."""
    assert printable("Größe お 👩\u200d🔬 हिन्दी") == "Größe お 👩\u200d🔬 हिन्दी"


@pytest.mark.parametrize("filler", ["x", "\x1b"])
def test_long_values_are_cut_in_every_error(filler):
    """However long they are, the beginning, which names the thing, and the end, which says what to do, are shown."""
    message = str(MnistryError(f"labels.csv:3: {filler * 50_000_000}; expected one class"))
    assert message.startswith("labels.csv:3: ")
    assert message.endswith("; expected one class")
    assert len(message) < LONGEST_LINE + 10


def test_value_cannot_add_a_line():
    """Lines are those that the error was made of; a line break in a value is escaped."""
    error = MnistryError("a\nb", "c")
    assert str(error) == "a\\nb\nc"
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


def test_short_line_is_whole():
    """Up to the limit, nothing is left out."""
    assert one_line("x" * LONGEST_LINE) == "x" * LONGEST_LINE
