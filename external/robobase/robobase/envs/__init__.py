"""Environments: the factory interface, demonstrations and wrappers."""
