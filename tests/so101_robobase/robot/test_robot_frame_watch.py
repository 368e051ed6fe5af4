"""Pictures that cannot be believed: told from good ones, held at, and a reason to stop."""

from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from robobase.errors import UserError
from so101_robobase.arm.kinematics import Kinematics
from so101_robobase.robot.emulator.faults import CAMERA
from so101_robobase.robot.loop.arm import assemble_arm
from so101_robobase.robot.rollout.frame_watch import FrameWatch, flaw_of
from so101_robobase.robot.rollout.picture import Flaw, Picture
from so101_robobase.robot.rollout.picture_stream import PromptPictures
from so101_robobase.robot.rollout.policy_camera import RealPolicyCamera
from so101_robobase.robot.rollout.robot_policy import PolicyAction
from so101_robobase.robot.rollout.rollout import Rollout, RolloutSettings
from so101_robobase.robot.rollout.start_pose import start_pose
from so101_robobase.robot.rollout.workcell import SimulatedWorkcell
from so101_robobase.robot.safety.monitor import MonitorLimits
from so101_robobase.robot.simulated.body import Body
from so101_robobase.robot.simulated.faulty_camera import CameraFaults, FaultyPolicyCamera
from so101_robobase.robot.simulated.simulated_driver import SimulatedDriver
from so101_robobase.tasks.lift.config import LiftConfig
from so101_robobase.vision.observation import ClassId

FRAME = (480, 640, 3)


def photograph(seed=0, brightness=120.0, contrast=60.0, noise=2.0):
    """A soft scene with a sensor's noise, (480, 640, 3) uint8."""
    rng = np.random.default_rng(seed)
    scene = cv2.resize(rng.normal(brightness, contrast, (6, 8, 3)), FRAME[1::-1])
    return np.clip(scene + rng.normal(0, noise, FRAME), 0, 255).astype(np.uint8)


def spoilt(part, value):
    frame = photograph()
    frame[part] = value
    return frame


BAD = {
    "black": (np.zeros(FRAME, np.uint8), Flaw.BLACK),
    "lens cap": (photograph(0, 8, 0, 4), Flaw.BLACK),
    "white": (np.full(FRAME, 255, np.uint8), Flaw.WHITE),
    "against the light": (photograph(0, 300, 20), Flaw.WHITE),
    "one colour": (np.full(FRAME, (0, 135, 0), np.uint8), Flaw.FLAT),
    "grey noise": (photograph(0, 120, 0, 3), Flaw.FLAT),
    "half green": (spoilt(np.s_[240:], (0, 135, 0)), Flaw.TORN),
    "upper half green": (spoilt(np.s_[:240], (0, 135, 0)), Flaw.TORN),
    "right half grey": (spoilt(np.s_[:, 320:], 128), Flaw.TORN),
    "an eighth green": (spoilt(np.s_[415:], (0, 135, 0)), Flaw.TORN),
    "half black": (spoilt(np.s_[240:], 0), Flaw.TORN),
    "stuck rows": (spoilt(np.s_[200:], photograph()[200]), Flaw.TORN),
}
GOOD = {
    "a picture": photograph(),
    "in the evening": photograph(1, 40, 25),
    "in the sun": photograph(2, 200, 80),
    "without noise": photograph(3, noise=0),
    "as MJPG": cv2.imdecode(
        cv2.imencode(".jpg", photograph(4), [cv2.IMWRITE_JPEG_QUALITY, 20])[1], cv2.IMREAD_COLOR
    ),
    "bars above and below": spoilt(np.s_[[*range(60), *range(420, 480)]], 0),
    "a white sheet": spoilt(np.s_[100:400, 100:600], 255),
    "small": cv2.resize(photograph(5), (64, 48)),
}


@pytest.mark.parametrize(("frame", "flaw"), BAD.values(), ids=BAD)
def test_what_is_wrong_with_a_frame_is_named(frame, flaw):
    assert flaw_of(frame) is flaw


@pytest.mark.parametrize("frame", GOOD.values(), ids=GOOD)
def test_pictures_as_cameras_give_them_are_good(frame):
    assert flaw_of(frame) is None


def test_the_same_pixels_are_noticed_whoever_owns_them():
    watch, frame = FrameWatch(), photograph()
    same = [
        watch.note(Picture(time, np.zeros((3, 8, 8), np.uint8), frame)).same_since
        for time in (1.0, 2.0)
    ]
    frame[0, 0] += 1  # a camera that writes into the same memory again
    watched = watch.note(Picture(3.0, np.zeros((3, 8, 8), np.uint8), frame))
    assert [*same, watched.same_since] == [1.0, 1.0, 3.0]


class Nodding:
    """A policy that moves the arm to and fro, or not at all."""

    def __init__(self, config, strength=1.0):
        self.config, self._strength, self.acted_on = config, strength, []

    def begin(self):
        self._step = 0

    def warm_up(self):
        pass

    def act(self, picture, joint_pos, joint_vel):
        self._step += 1
        self.acted_on.append(picture.copy())
        return PolicyAction(
            self._strength * np.sin(self._step / np.array([3, 4, 5, 4, 3, 4])), None
        )


class Glance:
    """Eyes that see a table and two fingers; where the table ends depends on where the arm is."""

    def __init__(self, body, clock):
        self._body, self._clock = body, clock

    def open(self):
        pass

    def look(self):
        pose = self._body.joint_pos
        ids = np.full((84, 84), ClassId.TABLE, np.uint8)
        ids[: 20 + int(20 * pose[1] + 10 * pose[0])] = ClassId.BACKGROUND
        slope = np.arange(84)[:, None] // 4 + np.arange(84)
        ids[slope < 40], ids[slope > 90] = ClassId.STATIC_FINGER, ClassId.MOVING_FINGER
        tilt = 3 + pose @ [0.3, 0.5, 0.7, 1.1, 1.3, 0.2]
        disparity = (np.arange(84)[:, None] * tilt % 250 + slope % 5).astype(np.uint8)
        channels = [ids] if self._body.config.observation == "seg" else [ids, disparity]
        return Picture(self._clock.now(), np.stack(channels), None)

    def close(self):
        pass


@pytest.fixture
def make():
    """make(observation, strength, eyes) -> a rollout on the simulated arm, whose camera may fail.

    `rollout.camera` has what the emulator's state says of it.
    """

    def build(observation="seg_depth", strength=1.0, eyes=Glance):
        config = LiftConfig(stage=0, observation=observation)
        body = Body(config)
        driver = SimulatedDriver(body)
        physics = body.sim.scene.model
        arm = assemble_arm(driver, physics, driver.clock)
        camera = SimpleNamespace(camera=0, camera_every=1)
        rollout = Rollout(
            arm=arm,
            stream=PromptPictures(
                FaultyPolicyCamera(eyes(body, driver.clock), CameraFaults(lambda: camera))
            ),
            policy=Nodding(config, strength),
            workcell=SimulatedWorkcell(body, 0),
            kinematics=Kinematics.from_model(physics),
            start=start_pose(config),
            settings=RolloutSettings(episode_time=2.0),
            say=lambda line: None,
        )
        rollout.camera, rollout.body = camera, body
        return rollout

    return build


def spoil_after(rollout, seconds, kind, every=1):
    """Let the camera fail that long after the policy's first step; returns when, as a list."""
    began = []
    act = rollout.policy.act

    def spy(*seen):
        now = rollout.arm.clock.now()
        began.append(now)
        if now >= began[0] + seconds and not rollout.camera.camera:
            rollout.camera.camera = list(CAMERA).index(kind) + 1
            rollout.camera.camera_every = every
            began[0] = now
            began.append(None)
        return act(*seen)

    rollout.policy.act = spy
    return began


CASES = [
    *((kind, "seg_depth", 1) for kind in CAMERA),
    ("camera_torn", "seg_depth", 2),
    ("camera_black", "seg", 1),
    ("camera_frozen", "seg", 1),
    ("camera_torn", "seg", 3),  # every 0.12 s
]


@pytest.mark.parametrize(("kind", "observation", "every"), CASES)
def test_a_camera_that_fails_holds_the_arm_and_then_stops_it_as_soon_as_a_silent_one(
    make, kind, observation, every
):
    rollout = make(observation)
    began = spoil_after(rollout, 0.4, kind, every)
    result = rollout.run()
    events = rollout.arm.events.events
    assert result.stopped is not None
    assert "the camera's pictures are" in result.stopped
    assert rollout.body.limp.all()
    halts = [event for event in events if event["kind"] in ("hold", "stop")]
    assert [event["kind"] for event in halts] == ["hold", "stop"], halts
    late = rollout.arm.clock.now() - began[0]
    slower = 0.04 * every if kind != "camera_frozen" else 0.1 if observation == "seg_depth" else 0.5
    assert 0.4 < late < MonitorLimits().frame_stop + 0.06 + slower
    (flaw,) = result.bad_frames
    assert result.bad_frames[flaw] == rollout.arm.events.counts["bad_frame"] >= 1
    assert {event["flaw"] for event in events if event["kind"] == "bad_frame"} == {flaw}


@pytest.mark.parametrize("kind", ["camera_black", "camera_torn"])
def test_the_policy_does_not_act_on_bad_pictures(make, kind):
    rollout = make()
    spoil_after(rollout, 0.2, kind)
    rollout.run()
    for picture in rollout.policy.acted_on:
        assert picture[:, 42:].any()
        assert len(np.unique(picture[0])) > 1


def test_one_bad_picture_in_ten_does_not_even_hold_the_arm(make):
    rollout = make()
    spoil_after(rollout, 0.0, "camera_torn", every=10)
    result = rollout.run()
    assert result.stopped is None
    holds = [event for event in rollout.arm.events.events if event["kind"] == "hold"]
    assert holds == []
    assert 3 <= result.bad_frames[Flaw.TORN] <= 6


@pytest.mark.parametrize("strength", [0.0, 0.02, 1.0])
def test_a_simulated_camera_that_shows_the_same_of_an_arm_at_rest_is_no_fault(make, strength):
    rollout = make(strength=strength)
    result = rollout.run()
    assert result.stopped is None
    assert result.bad_frames == {}


def test_a_camera_that_is_black_from_the_start_is_told_before_anything_moves(make):
    rollout = make()
    rollout.camera.camera = list(CAMERA).index("camera_black") + 1
    with pytest.raises(UserError, match="pictures are black: take the lens cap off"):
        rollout.run()
    assert "connected" not in rollout.arm.events.counts


class Photographs:
    """A real camera, as far as anybody can see: its frames are new each time, or `frozen`."""

    def __init__(self, clock):
        self._clock, self.count, self.frozen = clock, 0, 10**9
        self._scene = photograph()

    def open(self):
        pass

    def grab(self):
        self.count = min(self.count + 1, self.frozen)
        return self._clock.now(), np.roll(self._scene, self.count, axis=1)

    def close(self):
        pass


def test_a_camera_whose_frames_freeze_is_found_out(make):
    cameras = []

    def eyes(body, clock):
        cameras.append(Photographs(clock))
        return RealPolicyCamera(cameras[-1], body.config, None, None)

    rollout = make("rgb", eyes=eyes)
    assert rollout.run().stopped is None
    rollout = make("rgb", eyes=eyes)
    cameras[-1].frozen = 30
    result = rollout.run()
    assert "pictures are frozen" in result.stopped
