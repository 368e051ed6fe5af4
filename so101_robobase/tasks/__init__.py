"""What is to be done, and when it is done: one folder per task, here what they share.

`entry.py` says what a task's folder holds, CONTRIBUTING how another one is added.
"""

import pkgutil


def names() -> list[str]:
    """The tasks there are, by the names of their folders."""
    return [folder.name for folder in pkgutil.iter_modules(__path__) if folder.ispkg]
