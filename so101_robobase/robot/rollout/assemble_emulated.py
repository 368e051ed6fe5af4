"""`--robot emulated`: LeRobot's driver on emulated servos, whose arm is simulated in real time."""

from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from robobase.errors import UserError
from so101_robobase.arm.alignment import Alignment
from so101_robobase.arm.control import CONTROL_PERIOD
from so101_robobase.arm.joints import NUM_JOINTS
from so101_robobase.robot.arm_parts import emulated_arm
from so101_robobase.robot.emulator.client import EmulatedBus
from so101_robobase.robot.emulator.faults import JOINT, Fault
from so101_robobase.robot.emulator.schedule import load_schedule
from so101_robobase.robot.rollout.parts import RolloutParts
from so101_robobase.robot.rollout.picture_stream import BackgroundPictures
from so101_robobase.robot.rollout.policy_camera import SimulatedPolicyCamera
from so101_robobase.robot.rollout.rollout_options import RolloutOptions
from so101_robobase.robot.simulated.body import Body
from so101_robobase.robot.simulated.faulty_camera import CameraFaults, FaultyPolicyCamera
from so101_robobase.tasks.config import TaskConfig

_CAMERA_INTERVAL = 1 / 30  # s, of a usual USB camera


def assemble(
    options: RolloutOptions,
    config: TaskConfig,
    alignment: Alignment,
    folder: Path,
    resources: ExitStack,
) -> RolloutParts:
    """The parts of a rollout on emulated servos."""
    faults = load_schedule(options.faults) if options.faults is not None else []
    arm, bus = emulated_arm(config, options.seed, alignment, folder, resources)
    mirror = Mirror(config)
    camera = SimulatedPolicyCamera(
        mirror.sim, mirror.config, arm.clock, partial(mirror.follow, bus)
    )
    faulty = FaultyPolicyCamera(camera, CameraFaults(bus.state))
    return RolloutParts(
        arm=arm,
        stream=BackgroundPictures(faulty, arm.clock, _CAMERA_INTERVAL),
        workcell=EmulatedWorkcell(bus, mirror, options.seed, faults),
        state=lambda: {"cube": bus.state().qpos[NUM_JOINTS:].tolist()},
    )


class Mirror(Body):
    """Where the emulated arm and its cube are, to be looked at; of the thread that looks."""

    def __init__(self, config: TaskConfig):
        super().__init__(config)
        self._next: int | None = None
        self._began = 0.0  # s of the emulator's physics

    def change(self, seed: int) -> None:
        """Have the looks of episode `seed` from the next `follow` on; may come from any thread."""
        self._next = seed

    def follow(self, bus: EmulatedBus) -> None:
        """Go where the emulated arm is."""
        state = bus.state()
        if (seed := self._next) is not None:
            self._next = None
            self.place_cube(seed)
            self._began = state.simulated
        self.sim.qpos[0] = state.qpos
        seconds = max(0.0, state.simulated - self._began)
        self.sim.steps[0] = int(seconds / CONTROL_PERIOD)


class EmulatedWorkcell:
    """The table in the emulator; cube positions are those of evaluation episodes from `seed`."""

    asks = False

    def __init__(self, bus: EmulatedBus, mirror: Mirror, seed: int, faults: Sequence[Fault] = ()):
        self._bus, self._mirror, self._seed = bus, mirror, seed
        self._faults = [one for one in faults if one.kind not in JOINT]  # from the first episode on
        if of_joints := [one for one in faults if one.kind in JOINT]:
            bus.inject(*of_joints)  # now, for the test of the joints is before that

    def prepare(self, episode: int) -> None:
        seed = self._seed + episode
        try:
            self._bus.place_cube(seed)
            self._bus.inject(*self._faults)
        except RuntimeError as error:  # it has died
            raise UserError(str(error)) from error
        self._mirror.change(seed)
        self._faults.clear()

    def succeeded(self) -> bool:
        return self._bus.state().succeeded
