"""The error that a user can fix, how what it shows is written, and how a process ends with it."""

import os
import sys
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from difflib import get_close_matches

LONGEST_LINE = 1200
"""Characters of a line that is shown; a line about ordinary files has fewer, the list of all datasets included."""
REORDERING = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Characters that let a terminal show the ones around them in another order."""


class MnistryError(Exception):
    """Says what is wrong, what was expected and what to do; it is printed without a traceback.

    Each of its lines is shown as `one_line` gives it, whatever file names, labels and other values are in it.
    """

    def __init__(self, *lines: str):
        super().__init__(*map(one_line, lines))

    def __str__(self) -> str:
        return "\n".join(self.args)


def printable(text: str) -> str:
    """The text on one line that any UTF-8 output takes, with escapes for whatever could steer a terminal."""
    return "".join(
        char.encode("unicode_escape").decode()
        if unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp") or char in REORDERING
        else char
        for char in text
    )


def is_text(value: str) -> bool:
    """Whether UTF-8 can hold it: half of a surrogate pair is none, nor is what Python makes of other bytes in names."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def one_line(text: str) -> str:
    """The printable text; of one that is too long, its beginning and its end, which says what to do."""
    start, end = LONGEST_LINE * 2 // 3, LONGEST_LINE // 3
    # Cut before it is escaped, too: it may have millions of characters.
    shown = printable(text if len(text) <= LONGEST_LINE else text[:start] + text[-end:])
    if len(text) <= LONGEST_LINE and len(shown) <= LONGEST_LINE:
        return shown
    return f"{shown[:start]} ... {shown[-end:]}"


def suggest(value: str, known: list[str]) -> str:
    """The nearest of the known names first, then all of them."""
    if len(known) == 1:
        return f"expected {known[0]}"
    near = get_close_matches(value, known, n=1, cutoff=0.5)
    return (f"did you mean {near[0]}? " if near else "") + f"expected one of {', '.join(sorted(known))}"


def describe_os_error(error: OSError) -> str:
    """The file that the system refused, and why."""
    return f"{error.filename or 'a file'}: {(error.strerror or str(error)).lower()}"


@contextmanager
def exit_on_error() -> Iterator[None]:
    """Exit with a line and status 1 where the block raises what a user can fix, and with 130 at Ctrl+C."""
    try:
        yield
    except MnistryError as error:
        sys.exit(f"error: {error}")
    except BrokenPipeError:
        # The reader of the output, `head` for one, had enough. Python would complain again when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        sys.exit(f"error: {describe_os_error(error)}")
    except KeyboardInterrupt:
        sys.exit(130)
