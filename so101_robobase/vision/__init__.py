"""What a policy sees, made by the same functions in simulation and on the robot."""
