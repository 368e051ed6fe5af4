"""What is kept and shown of an episode: logs, LeRobot datasets, Rerun."""
