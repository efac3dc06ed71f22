"""Tells Arrow's errors about data from those of the system below it."""


def may_pass(error: Exception) -> bool:
    """Whether it is an error of the operating system, or of a store, and not of the data.

    Arrow's own have neither a number nor a class of their own.
    """
    return isinstance(error, OSError) and (error.errno is not None or type(error) is not OSError)
