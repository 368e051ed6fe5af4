"""Carry the cube onto a marked square and let go."""
