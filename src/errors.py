"""The error that a user can fix, and how a process ends with it."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager


class MnistryError(Exception):
    """Says what is wrong, what was expected and what to do; it is printed without a traceback."""


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
        sys.exit(f"error: {error.filename or 'a file'}: {(error.strerror or str(error)).lower()}")
    except KeyboardInterrupt:
        sys.exit(130)
