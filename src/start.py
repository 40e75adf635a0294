"""What a stage or a command sets up before it imports anything that takes long; stages/ and commands/ import it first.

Nothing happens where another program imports them, as pytest does.
"""

import sys
from types import TracebackType

from src.signals import end_on_signals, end_with_dvc


def start_process() -> None:
    """End with a line at signals, with DVC, and where memory runs out while libraries are loaded."""
    end_on_signals()
    end_with_dvc()
    sys.excepthook = _print_exception


def _print_exception(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    from src.errors import print_exception

    print_exception(kind, error, trace)


# So it is while Python looks for the module that it was started with, by `python -m stages.train`.
if sys.argv[:1] == ["-m"]:
    start_process()
