"""The error that a user can fix, how what it shows is written, and how a process ends with it."""

import errno
import os
import re
import sys
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from types import TracebackType

from src.resources import free_memory, in_words

OUT_OF_MEMORY = (
    "can't allocate memory", "Cannot allocate memory", "out of memory", "failed to map segment", "STATUS_ALLOC_FAILED"
)  # fmt: skip
"""What torch, CUDA's libraries and the system's loader say when memory runs out."""
ASKED = re.compile(r"tried to allocate (\d+) bytes|(?:Unable|Tried) to allocate ([\d.]+ \w+)")
"""How much was asked for, as torch and numpy say it."""
FREE_THERE = re.compile(r"of which ([\d.]+ \w+) is free")
"""How much is free on an accelerator, as torch says it."""
MORE_MEMORY = "close other programs, raise the limit, or make the work smaller: its batches, its images or its model"

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


@contextmanager
def exit_on_error() -> Iterator[None]:
    """Exit with a line and status 1 where the block raises what a user can fix, and with 130 at Ctrl+C."""
    try:
        yield
    except BrokenPipeError:
        # The reader of the output, `head` for one, had enough. Python would complain again when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        line = describe_error(error)
        if line is None:
            raise
        sys.exit(f"error: {line}")


def describe_error(error: BaseException) -> str | None:
    """What a user can do something about, in words; None for a fault of ours, which needs its traceback."""
    if isinstance(error, MnistryError):
        return str(error)
    if is_out_of_memory(error):
        return _describe_memory(error)
    if isinstance(error, OSError):
        return f"{error.filename or 'a file'}: {reason(error)}"
    return None


def reason(error: OSError) -> str:
    """What the system says, without the file's name."""
    return (error.strerror or str(error)).lower()


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out, for Python, numpy, torch or the system that was to load a library."""
    if isinstance(error, MemoryError) or getattr(error, "errno", None) == errno.ENOMEM:
        return True
    # torch, which is slow to import, has a class of its own for accelerators alone.
    return isinstance(error, (RuntimeError, ImportError)) and any(words in str(error) for words in OUT_OF_MEMORY)


def _describe_memory(error: BaseException) -> str:
    asked, there, here = ASKED.search(str(error)), FREE_THERE.search(str(error)), free_memory()
    parts = [f"{in_words(int(asked[1])) if asked[1] else asked[2]} was asked for at once"] if asked else []
    if there:
        parts.append(f"{there[1]} is free on the accelerator")
    elif here is not None and not any(word in str(error) for word in ("CUDA", "CUBLAS", "CUDNN")):
        parts.append(f"{in_words(here)} is free")
    return f"not enough memory: {', and '.join(parts) or 'it is all in use'}; {MORE_MEMORY}"


def print_exception(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Print an exception that nothing caught: a line where there is one for it, else the traceback."""
    line = describe_error(error)
    if line is None:
        sys.__excepthook__(kind, error, trace)
    else:
        print(f"error: {line}", file=sys.stderr, flush=True)
