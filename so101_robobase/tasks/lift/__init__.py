"""Lift the cube and hold it."""
