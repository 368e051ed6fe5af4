"""Tasks as Gymnasium and RoboBase environments."""
