"""The error that a user can mend."""


class MnistryError(Exception):
    """Says what is wrong, what was expected and what to do; stages print it without a traceback."""
