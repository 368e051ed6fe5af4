"""Errors that a user can mend; command lines print them as one line without a traceback."""


class UserError(ValueError):
    """Bad input: the message says what was given, what is allowed and what to do."""


def one_line(text: object) -> str:
    """`text` for a terminal: on one line, without what would steer the terminal."""
    return "".join(c if c.isprintable() else "?" for c in " ".join(str(text).split()))


def first_line(error: BaseException) -> str:
    """What an error says first, or what it is; libraries explain at length."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def short(value: object) -> str:
    """A stranger's value for a message: one line, no control characters, not long."""
    text = repr(value)
    return text if len(text) <= 100 else f"{text[:100]} …"
