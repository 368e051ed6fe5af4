"""Packages that only perception needs."""

from functools import partial

from so101_robobase.base import extras

require = partial(extras.require, extra="perception", who="perception")
"""`require(module)`: the imported module; UserError that names the extra where it is missing."""
