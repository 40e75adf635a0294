"""What the user-facing commands share: how they end."""

import io
import os
import sys
from collections.abc import Callable

from src.errors import MnistryError


def run_command(main: Callable[[], int]) -> None:
    """Exit with the status that `main` returns; a mistake that the user can mend ends with its message and status 1."""
    # File and class names may hold what the terminal's encoding lacks. Standard error escapes that by itself.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        sys.exit(main())
    except MnistryError as error:
        sys.exit(f"error: {error}")
    except BrokenPipeError:
        # The reader, `head` for one, had enough. Python would complain again when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        sys.exit(f"error: {error.filename or 'a file'}: {(error.strerror or str(error)).lower()}")
    except KeyboardInterrupt:
        sys.exit(130)


def warn(message: str, kind: str = "warning") -> None:
    """Print a line on standard error at once."""
    print(f"{kind}: {message}", file=sys.stderr, flush=True)
