"""The error that a user can fix, the choices that it names, and how a process ends with it."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from difflib import get_close_matches


class MnistryError(Exception):
    """Says what is wrong, what was expected and what to do; it is printed without a traceback."""


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
