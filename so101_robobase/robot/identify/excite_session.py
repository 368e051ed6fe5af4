"""One recording of excitations from the command line: check, assemble, ask, run, report."""

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from robobase.errors import UserError
from so101_robobase.arm import alignment as alignments
from so101_robobase.arm.alignment import Alignment, check_same_arm
from so101_robobase.arm.control import CONTROL_PERIOD
from so101_robobase.evaluation.report import prepare_output
from so101_robobase.robot.arm_parts import ArmParts, emulated_arm, real_arm, simulated_arm
from so101_robobase.robot.identify.excite import Excite, Excited
from so101_robobase.robot.identify.fit import excitation
from so101_robobase.robot.loop.arm import assemble_arm
from so101_robobase.robot.loop.events import EventLog, meanings
from so101_robobase.robot.person.arm_arguments import REAL, SIM
from so101_robobase.robot.person.hints import OperatorHints
from so101_robobase.robot.person.keys import has_keys, no_keys, terminal_keys
from so101_robobase.robot.recording.disk_space import check_disk_space
from so101_robobase.robot.recording.episode_logger import EpisodeLogger
from so101_robobase.robot.rollout.rollout_report import ask_to_begin, tell_what_went_wrong
from so101_robobase.robot.simulated.body import Body
from so101_robobase.sim.scene import SceneConfig, build_scene
from so101_robobase.tasks.lift.config import LiftConfig


@dataclass(frozen=True)
class RecordOptions:
    """What `robot identify --record` is asked for; `identify_command` says what each means."""

    record: Path
    output: Path
    robot: str
    port: str | None
    calibration: Path | None
    num_episodes: int
    duration: float  # s
    seed: int
    on_stop: str
    yes: bool


def record(options: RecordOptions, alignment: Alignment) -> bool:
    """Records `options.num_episodes` excitations into `options.record`; whether all are there.

    Args:
        alignment: of the arm; a simulated one has its servos.

    Raises:
        UserError: an argument that cannot be used, an arm that is not as it should be; nothing has
            moved by then.
    """
    if options.robot == REAL:
        assert options.calibration  # `identify_command` sees to it
        check_same_arm(alignment, options.output, options.calibration)
    physics = build_scene().model
    joint_range = physics.actuator_ctrlrange.copy()
    excitations = [
        excitation(joint_range, options.duration, seed=options.seed + number)
        for number in range(options.num_episodes)
    ]
    folder = prepare_output(options.record)
    check_disk_space(folder)
    with ExitStack() as resources:
        events = resources.enter_context(EventLog(folder / "events.jsonl"))
        parts = _assemble(options, alignment, folder, resources)
        _announce(options, parts)
        keys = resources.enter_context(terminal_keys()) if options.robot == REAL else no_keys
        excite = Excite(
            assemble_arm(parts.driver, physics, parts.clock, events, parts.alignment),
            excitations,
            EpisodeLogger(
                folder,
                {
                    "alignment": alignments.to_plain(parts.alignment),
                    "control_period": CONTROL_PERIOD,
                    "source": f"excitation, {options.robot}",
                },
            ),
            on_stop=options.on_stop,
            start_watchdog=parts.start_watchdog,
            keys=keys,
            hints=parts.hints,
        )
        result = excite.run()
    _report(folder, result, events, parts.hints)
    return result.episodes == options.num_episodes and not (result.stopped or result.unconfirmed)


def _assemble(
    options: RecordOptions, alignment: Alignment, folder: Path, resources: ExitStack
) -> ArmParts:
    if options.robot == REAL:
        assert options.port
        assert options.calibration
        return real_arm(options.port, options.calibration, alignment, folder)
    config = LiftConfig(stage=0, scene=SceneConfig(servos=alignment.servos))
    if options.robot == SIM:
        return simulated_arm(Body(config), alignment)
    return emulated_arm(config, 0, alignment, folder, resources)[0]


def _announce(options: RecordOptions, parts: ArmParts) -> None:
    print(f"arm: {parts.what}")
    print(
        f"{options.num_episodes} episodes of {options.duration:g} s: the arm goes slowly to a pose "
        "ahead, 0.13 m up, and moves every joint by up to 20 degrees around it, partly fast; then "
        "back to where it is now"
    )
    print(f"recordings and log: {options.record}; a fault or Esc: {options.on_stop} the arm")
    if options.robot != REAL:
        return
    print("keys: q quit slowly, Esc stop at once")
    if not options.yes:
        if not has_keys():
            raise UserError("nobody can be asked here; add --yes if a person watches the arm")
        ask_to_begin(
            parts.hints, "Clear half a metre around the arm, take the cube out of its gripper"
        )


def _report(folder: Path, result: Excited, events: EventLog, hints: OperatorHints) -> None:
    timing = result.timing
    ticks = f" in {timing.ticks} ticks, {timing.missed} left out" if timing else ""
    print(f"{result.episodes} episodes recorded to {folder}{ticks}")
    print(meanings(events.counts))
    tell_what_went_wrong(result, events, hints)
