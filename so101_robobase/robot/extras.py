"""Packages that only the real arm needs."""

from functools import partial

from so101_robobase.base import extras

require = partial(extras.require, extra="robot", who="the real arm")
"""`require(module)`: the imported module; UserError that names the extra where it is missing."""
