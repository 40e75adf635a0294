"""The error that a user can fix, and the choices that it names."""

from difflib import get_close_matches


class MnistryError(Exception):
    """Says what is wrong, what was expected and what to do; stages print it without a traceback."""


def suggest(value: str, known: list[str]) -> str:
    """The nearest of the known names first, then all of them."""
    if len(known) == 1:
        return f"expected {known[0]}"
    near = get_close_matches(value, known, n=1, cutoff=0.5)
    return (f"did you mean {near[0]}? " if near else "") + f"expected one of {', '.join(sorted(known))}"
