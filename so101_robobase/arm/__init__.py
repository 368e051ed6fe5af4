"""One SO-101, simulated or real: joints, kinematics, control, alignment, servos."""
