"""`so101_robobase robot align …`: how this arm and its camera differ from the model."""

SUBCOMMANDS = {  # name: (module, summary)
    "joints": (
        "so101_robobase.robot.align.align_joints_command",
        "measure joint zeros, directions and the gripper in a few poses set by hand",
    ),
    "camera": (
        "so101_robobase.robot.align.align_camera_command",
        "lay the simulated wrist view over the real one, and fit the camera's pose",
    ),
}
