"""Names of the SO-101's joints and the order in which every array of joints is written."""

JOINTS = (
    "shoulder_pan",
    "shoulder_lift",
    "elbow_flex",
    "wrist_flex",
    "wrist_roll",
    "gripper",
)
"""Order of `qpos[:, :6]`, of `ctrl`, of 6-D actions and of LeRobot's SO-101 driver."""

NUM_JOINTS = len(JOINTS)

TCP_SITE = "gripperframe"
"""Site of the robot model: the tool centre point, between the fingertips."""
