"""`so101_robobase robot …`: the arm, real, simulated or emulated."""

SUBCOMMANDS = {  # name: (module, summary)
    "rollout": (
        "so101_robobase.robot.rollout.rollout_command",
        "run a snapshot on the arm, on a simulated one or on emulated servos",
    ),
    "check": (
        "so101_robobase.robot.real.check_command",
        "look at port, servos, calibration, camera and directions, each with its fix",
    ),
    "align": (
        "so101_robobase.robot.align.align_command",
        "measure how this arm and its camera differ from the model",
    ),
    "replay": (
        "so101_robobase.robot.identify.replay_command",
        "replay a recorded episode in simulation and show the tracking error",
    ),
    "identify": (
        "so101_robobase.robot.identify.identify_command",
        "fit the model's servos to recorded episodes",
    ),
    "emulator": (
        "so101_robobase.robot.emulator.emulator_command",
        "servos that speak the real protocol, on a pseudo-terminal",
    ),
}
