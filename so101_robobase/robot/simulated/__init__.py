"""A simulated arm and its wrist camera in place of the real ones."""
