"""Who watches the robot: keys, terminal, arguments."""
