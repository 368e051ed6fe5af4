"""Errors that a user can mend; command lines print them as one line without a traceback."""


class UserError(ValueError):
    """Bad input: the message says what was given, what is allowed and what to do."""
