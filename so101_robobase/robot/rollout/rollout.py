"""The loop: start pose, episodes at a fixed rate, back to where the arm was found, torque off."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

import numpy as np

from so101_robobase.arm.control import CONTROL_PERIOD, make_controller
from so101_robobase.arm.kinematics import Kinematics
from so101_robobase.robot.loop.arm import Arm
from so101_robobase.robot.loop.arm_loop import RELEASE, ArmLoop, Ending, Watchdog
from so101_robobase.robot.person.hints import REAL_ARM, OperatorHints
from so101_robobase.robot.person.keys import Keys, no_keys
from so101_robobase.robot.recording.episode_logger import EpisodeLogger
from so101_robobase.robot.recording.records import EpisodeListener, PolicyTick, ticks_per_record
from so101_robobase.robot.rollout.picture import Picture
from so101_robobase.robot.rollout.picture_guard import PictureGuard
from so101_robobase.robot.rollout.picture_stream import PictureStream
from so101_robobase.robot.rollout.robot_policy import RobotPolicy
from so101_robobase.robot.rollout.self_test import self_test
from so101_robobase.robot.rollout.step_line import step_line
from so101_robobase.robot.rollout.workcell import Workcell


@dataclass(frozen=True)
class RolloutSettings:
    """How to run. Times in s."""

    num_episodes: int = 1
    episode_time: float = 4.0
    action_scale: float = 1.0  # of the policy's actions
    step: bool = False  # one action per key press
    tell_steps: bool = False  # a line for each step of the policy
    self_test: bool = False  # every joint, before the first episode
    on_stop: str = RELEASE  # or HOLD: what to do with the arm when a rollout is cut short


@dataclass(frozen=True)
class Outcome:
    """One episode."""

    success: bool | None  # None: nobody judged it
    length: float  # s
    reason: str  # why it ended


@dataclass
class Result(Ending):
    """A rollout."""

    outcomes: list[Outcome] = field(default_factory=list)
    bad_frames: dict[str, int] = field(default_factory=dict)  # what was wrong -> how many


class Rollout:
    """Runs `policy` on `arm`.

    Args:
        stream: the policy's pictures.
        workcell: the table in front of the arm.
        start: (6,) rad, where episodes begin.
        listeners: who records and shows.
        logger: keeps every control tick.
        start_watchdog: called before the arm is connected.
        say: prints a line for the person.
        hints: what that person is told to do with this arm.
    """

    def __init__(
        self,
        arm: Arm,
        stream: PictureStream,
        policy: RobotPolicy,
        workcell: Workcell,
        kinematics: Kinematics,
        start: np.ndarray,
        settings: RolloutSettings,
        listeners: Sequence[EpisodeListener] = (),
        logger: EpisodeLogger | None = None,
        start_watchdog: Callable[[], Watchdog] | None = None,
        keys: Keys = no_keys,
        say: Callable[[str], object] = print,
        hints: OperatorHints = REAL_ARM,
    ):
        self.arm, self.stream, self.policy, self.workcell = arm, stream, policy, workcell
        self._pictures = PictureGuard(stream, arm, hints)
        self.settings, self.start = settings, start
        self._listeners = list(listeners)
        self._logger = logger
        self._loop = ArmLoop(arm, settings.on_stop, start_watchdog, keys, hints)
        self._say = say
        config = policy.config
        self._controller = make_controller(
            config.control, kinematics, arm.safety.joint_range, 1, arm.safety.clearance
        )
        self._repeat = config.action_repeat
        self._told_every = ticks_per_record(config.action_repeat)
        self._asked_for_step = False
        self._acted_on: float | None = None  # when the frame of the last action was taken

    def run(self) -> Result:
        """All episodes. However it ends, the arm is released or held, and the log says which.

        Raises UserError where the rollout could not begin; nothing has moved by then.
        """
        result = Result(bad_frames=self._pictures.flawed)
        with ExitStack() as at_the_end:
            for listener in self._listeners:
                at_the_end.callback(listener.close)
            at_the_end.callback(self.stream.close)
            self.stream.start()
            self._pictures.await_good()
            self.policy.warm_up()
            self._loop.run(lambda: self._run_episodes(result), result)
        return result

    def _run_episodes(self, result: Result) -> None:
        tested = False
        while len(result.outcomes) < self.settings.num_episodes:
            self._loop.move_to(self.start)
            if self.settings.self_test and not tested and self.arm.accepts_commands:
                self_test(self._loop, self._say)
                tested = True
            episode = len(result.outcomes)
            self.workcell.prepare(episode)
            if self.workcell.asks and not self._wait_for_person(episode):
                return
            outcome = self._episode(episode)
            if outcome is not None:
                result.outcomes.append(outcome)
                verdict = {True: "success", False: "failure", None: "not judged"}[outcome.success]
                self._say(f"episode {episode + 1}: {verdict} ({outcome.reason})")
            if self._logger is not None and self._logger.failure is not None:
                result.stopped = self._logger.failure  # what cannot be kept need not be played
                return
            if outcome is not None and outcome.reason == "quit":
                return

    def _wait_for_person(self, episode: int) -> bool:
        """Hold until space is pressed; False to quit."""
        self._say(f"episode {episode + 1}: put the cube down, then press space (q to quit)")
        while True:
            self._loop.tick()
            if self._loop.key == " ":
                return True
            if self._loop.key == "q":
                return False

    def _episode(self, episode: int) -> Outcome | None:
        """Play one episode; None to play it again."""
        self.policy.begin()
        self._controller.reset(self.arm.command[None])
        self.arm.monitor.watch_frames(True)
        self._pictures.forget()
        prepared = self.arm.clock.now()
        while self._pictures.look().time < prepared:  # an older picture shows the table of before
            self._loop.tick()
        self._begin(episode)
        try:
            outcome, keep = self._play()
        except BaseException:
            self._end(None, False)
            raise
        self._end(outcome.success, keep)
        self.arm.events.add("episode_over", success=outcome.success, reason=outcome.reason)
        return outcome if keep else None

    def _begin(self, episode: int) -> None:
        self.arm.events.add("episode", number=episode)
        if self._logger is not None:
            self._logger.begin(episode)
        for listener in self._listeners:
            listener.begin(episode)

    def _end(self, success: bool | None, keep: bool) -> None:
        for listener in self._listeners:
            listener.end(success, keep)
        if self._logger is not None:
            self._logger.end(keep)

    def _play(self) -> tuple[Outcome, bool]:
        """The ticks of one episode; the outcome, and whether to keep it."""
        limit = round(self.settings.episode_time / CONTROL_PERIOD)
        ticks = 0  # control ticks that the policy has moved the arm in
        action: np.ndarray = np.zeros(self._controller.action_dim)
        value: float | None = None
        paused = False

        def over(success: bool | None, reason: str, keep: bool = True) -> tuple[Outcome, bool]:
            return Outcome(success, ticks * CONTROL_PERIOD, reason), keep

        while ticks < limit:
            may_move = self._loop.tick()
            match self._loop.key:
                case " ":
                    paused = not paused
                    self._say("paused; space goes on" if paused else "goes on")
                case "s":
                    return over(True, "judged")
                case "f":
                    return over(False, "judged")
                case "r":
                    return over(None, "again", keep=False)
                case "q":
                    return over(None, "quit")
            if self.workcell.succeeded():
                return over(True, "done")
            deciding = ticks % self._repeat == 0
            if deciding or not may_move:  # a hold ends with good pictures, wherever it began
                newest = self._pictures.look()
            if deciding:
                picture = newest
            if not may_move or paused:
                continue
            if deciding:
                if self.settings.step and ticks and self._loop.key != "n":
                    if self._loop.key is None and not self._asked_for_step:
                        self._say("n for the next action")
                        self._asked_for_step = True
                    continue
                self._asked_for_step = False
                if picture.time == self._acted_on:
                    self.arm.events.add("same_frame", time_taken=round(picture.time, 4))
                self._acted_on = picture.time
                decision = self.policy.act(picture.picture, self.arm.joint_pos, self.arm.joint_vel)
                action = decision.action * self.settings.action_scale
                value = decision.value
                self.arm.monitor.on_action(action)
            self._send(action)
            if self._logger is not None:
                self._logger.tick(self.arm.time, self.arm.joint_pos, self.arm.command)
            if deciding and self.settings.tell_steps:
                self._say_step(ticks // self._repeat + 1)
            if ticks % self._told_every == 0:
                self._tell(ticks, picture, action, value)
            ticks += 1
        # An arm that nothing was sent to has not failed.
        judged = self.workcell.asks or not self.arm.accepts_commands
        return self._judge_late(over(None if judged else False, "out of time"))

    def _judge_late(self, ended: tuple[Outcome, bool]) -> tuple[Outcome, bool]:
        """Where a person judges, hold until they have."""
        if not self.workcell.asks:
            return ended
        outcome, _ = ended
        self._say("out of time: s success, f failure, r again")
        while True:
            self._loop.tick()
            if self._loop.key in ("s", "f"):
                return Outcome(self._loop.key == "s", outcome.length, outcome.reason), True
            if self._loop.key == "r":
                return outcome, False
            if self._loop.key == "q":
                return Outcome(None, outcome.length, "quit"), True

    def _send(self, action: np.ndarray) -> None:
        if action.shape != (self._controller.action_dim,) or not np.isfinite(action).all():
            self.arm.events.add("bad_action", action=action.tolist())
            self.arm.wanted, self.arm.limited = self.arm.command, ("an action that is no number",)
            return  # the servos hold; the monitor counts
        if np.abs(action).max() > 1:
            self.arm.events.add("action_out_of_range", action=action.tolist())
        target = self._controller(action[None], self.arm.joint_pos[None])[0]
        self.arm.send(target)
        self._controller.target[0] = self.arm.command  # what safety held back is not owed

    def _say_step(self, step: int) -> None:
        arm, to_servo = self.arm, self.arm.units.to_servo
        wanted, sent = to_servo(arm.wanted), arm.servo_command
        self._say(
            step_line(step, arm.servo_pos, wanted, sent, arm.limited, not arm.accepts_commands)
        )

    def _tell(self, ticks: int, picture: Picture, action: np.ndarray, value: float | None) -> None:
        now = self.arm.clock.now()
        tick = PolicyTick(
            time=ticks * CONTROL_PERIOD,
            picture=picture.picture,
            frame=picture.frame,
            frame_age=now - picture.time,
            measured=self.arm.servo_pos,
            sent=self.arm.servo_command,
            joint_pos=self.arm.joint_pos.copy(),
            joint_target=self.arm.command,
            action=action,
            latency=now - self.arm.time,
            value=value,
        )
        for listener in self._listeners:
            listener.tick(tick)
