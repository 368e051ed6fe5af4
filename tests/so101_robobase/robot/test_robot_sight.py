"""Pictures for the policy: the same as in the simulator, and never waited for."""

import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from robobase.errors import UserError
from so101_robobase.envs.observer import make_observer
from so101_robobase.robot.loop.clock import RealClock, SimulatedClock
from so101_robobase.robot.rollout.picture import Picture
from so101_robobase.robot.rollout.picture_stream import BackgroundPictures, PromptPictures
from so101_robobase.robot.rollout.policy_camera import RealPolicyCamera, SimulatedPolicyCamera
from so101_robobase.robot.simulated.scene_camera import SceneCamera
from so101_robobase.sim.gl_context import GLUnavailableError
from so101_robobase.sim.sight import SightConfig
from so101_robobase.tasks.lift.config import LiftConfig
from so101_robobase.tasks.lift.task import LiftTask
from so101_robobase.vision.observation import rgb, seg, seg_depth

PERCEPTION = Path(__file__).parents[1] / "perception"

ONLY = np.array([0])
LONG = 20.0  # s, for a busy machine


class Frames:
    """Eyes whose frames come when the test lets them."""

    def __init__(self, clock=None):
        self.clock = clock or RealClock()
        self.let = threading.Semaphore(0)
        self.count = self.closed = 0
        self.opened = False
        self.error = None
        self.threads = set()

    def open(self):
        self.opened = True

    def look(self):
        self.threads.add(threading.get_ident())
        self.let.acquire()
        if self.error is not None:
            raise self.error
        self.count += 1
        return Picture(self.clock.now(), np.full((1, 2, 2), self.count, np.uint8), None)

    def close(self):
        self.threads.add(threading.get_ident())
        self.closed += 1


@pytest.fixture
def frames():
    frames = Frames()
    yield frames
    frames.let.release(1000)


@pytest.fixture
def sight(frames):
    sight = BackgroundPictures(frames, RealClock())
    frames.let.release()
    sight.start()
    yield sight
    frames.let.release(1000)
    sight.close()


def until(condition):
    ends = time.monotonic() + LONG
    while not condition():
        assert time.monotonic() < ends
        time.sleep(0.002)


def test_the_newest_wins_and_the_one_before_lasts_until_then(sight, frames):
    assert sight.latest().picture[0, 0, 0] == 1
    frames.let.release(3)
    until(lambda: frames.count == 4)
    until(lambda: sight.latest().picture[0, 0, 0] == 4)
    assert sight.latest() is sight.latest()


def test_latest_never_waits_for_a_slow_camera(sight, frames):
    first = sight.latest()  # the next frame does not come
    before = time.monotonic()
    for _ in range(1000):
        assert sight.latest() is first
    assert time.monotonic() - before < 1.0
    assert first.time <= before  # and so its age grows


def test_one_thread_does_all_and_it_is_another(sight, frames):
    frames.let.release(1000)
    sight.close()
    assert frames.closed == 1
    assert len(frames.threads) == 1
    assert threading.get_ident() not in frames.threads


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (UserError("camera 0 has failed"), "^camera 0 has failed$"),
        (OSError("no such device"), "pictures stopped: OSError: no such device"),
    ],
)
def test_an_error_reaches_whoever_asks_and_the_camera_is_closed(sight, frames, error, expected):
    frames.error = error
    frames.let.release()
    until(lambda: frames.closed == 1)
    for _ in range(2):
        with pytest.raises(UserError, match=expected):
            sight.latest()


def test_an_error_at_the_start_reaches_the_starter(frames):
    def broken():
        raise UserError("camera 9 does not exist")

    frames.open = broken
    sight = BackgroundPictures(frames, RealClock())
    with pytest.raises(UserError, match="camera 9 does not exist"):
        sight.start()
    sight.close()
    until(lambda: frames.closed == 1)


def test_start_gives_up_on_a_camera_without_frames(frames):
    sight = BackgroundPictures(frames, RealClock(), patience=0.2)
    with pytest.raises(UserError, match=r"no picture within 0\.2 s"):
        sight.start()
    frames.let.release(1000)
    sight.close()


def test_start_may_be_repeated(sight, frames):
    sight.start()
    assert sight.latest().picture[0, 0, 0] == 1


def test_close_does_not_wait_for_a_camera_that_hangs(sight, frames):
    before = time.monotonic()
    sight.close()
    assert time.monotonic() - before < 10.0
    assert frames.closed == 0
    frames.let.release(1000)
    sight.close()


def test_a_quick_source_is_asked_at_most_once_per_interval(frames):
    frames.let.release(10**6)
    sight = BackgroundPictures(frames, RealClock(), interval=0.05)
    began = time.monotonic()
    sight.start()
    time.sleep(0.5)
    sight.close()
    assert 2 <= frames.count <= (time.monotonic() - began) / 0.05 + 2


def test_prompt_sight_looks_when_asked(frames):
    sight = PromptPictures(frames)
    frames.let.release(10)
    sight.start()
    assert frames.opened
    assert frames.count == 0
    assert [sight.latest().picture[0, 0, 0] for _ in range(3)] == [1, 2, 3]
    assert frames.threads == {threading.get_ident()}
    frames.opened = False
    sight.start()
    assert not frames.opened
    sight.close()
    assert frames.closed == 1


@pytest.fixture(scope="module")
def task():
    task = LiftTask(LiftConfig(stage=3), num_envs=1, num_threads=1)
    task.seed([0])
    task.reset(ONLY)
    return task


def observed(task, **changes):
    """The simulator's own picture; skips where there is no OpenGL."""
    task.config = replace(task.config, renderer="gl", **changes)
    try:
        observer = make_observer(task.sim, task.config)
    except GLUnavailableError as error:
        pytest.skip(str(error))
    picture = observer.observe(ONLY)["rgb"][0]
    observer.close()
    return picture


@pytest.mark.parametrize("kind", ["seg_depth", "seg", "rgb"])
def test_simulated_eyes_see_what_training_sees(task, kind):
    expected = observed(task, observation=kind, sight=SightConfig())
    updates = []
    clock = SimulatedClock(lambda seconds: None)
    clock.wait_until(3.0)
    eyes = SimulatedPolicyCamera(task.sim, task.config, clock, lambda: updates.append(1))
    eyes.open()
    picture = eyes.look()
    np.testing.assert_array_equal(picture.picture, expected)
    assert picture.time == 3.0
    assert picture.frame is None
    assert updates == [1]
    eyes.close()
    eyes.close()


@pytest.fixture(scope="module")
def networks(tmp_path_factory):
    """Checkpoint and folder of a segmentation and a depth network with random weights."""
    pytest.importorskip("segmentation_models_pytorch")
    pytest.importorskip("timm")
    pytest.importorskip("transformers")
    sys.path.insert(0, str(PERCEPTION))
    import torch
    from tiny_depth import save_tiny_depth

    from so101_robobase.perception.segmentation import checkpoint
    from so101_robobase.perception.segmentation.model import ModelSpec, SegmentationNetwork

    folder = tmp_path_factory.mktemp("networks")
    torch.manual_seed(0)
    small = {"decoder_pyramid_channels": 32, "decoder_segmentation_channels": 32}
    network = SegmentationNetwork(ModelSpec("fpn", "tu-efficientvit_b0", (64, 96), small)).eval()
    checkpoint.save(folder / "best.pt", network, {"iou": 0.5})
    return str(folder / "best.pt"), str(save_tiny_depth(folder / "depth"))


@pytest.mark.parametrize("kind", ["seg_depth", "seg"])
def test_camera_eyes_see_what_training_sees_through_the_same_networks(task, networks, kind):
    segmentation, depth = networks
    sight = SightConfig(segmentation, depth if kind == "seg_depth" else "scene", (160, 120))
    expected = observed(task, observation=kind, sight=sight)
    camera = SceneCamera(task.sim.scene, lambda: task.sim.qpos[0], (160, 120))
    eyes = RealPolicyCamera(camera, task.config, segmentation, depth)
    before = time.monotonic()
    eyes.open()
    seen = eyes.look()
    eyes.close()
    np.testing.assert_array_equal(seen.picture, expected)
    assert len(np.unique(expected[0])) > 1
    assert before <= seen.time <= time.monotonic()
    assert seen.frame.shape == (120, 160, 3)


class Still:
    """A camera with one frame of noise."""

    def __init__(self):
        self.frame = np.random.default_rng(0).integers(0, 256, (120, 160, 3), np.uint8)
        self.is_open = False

    def open(self):
        self.is_open = True

    def grab(self):
        assert self.is_open
        return 1.5, self.frame

    def close(self):
        self.is_open = False


@pytest.mark.parametrize("kind", ["rgb", "seg", "seg_depth"])
def test_camera_eyes_make_pictures_with_the_functions_of_observation(request, kind):
    camera, names = Still(), (None, None)
    if kind != "rgb":
        names = request.getfixturevalue("networks")
    eyes = RealPolicyCamera(camera, LiftConfig(observation=kind), *names)
    eyes.open()
    seen = eyes.look()
    if kind == "rgb":
        expected = rgb(camera.frame[..., ::-1])
    else:
        from so101_robobase.perception.depth import DepthInference
        from so101_robobase.perception.segmentation.inference import SegmentationInference

        ids = SegmentationInference(names[0]).predict(camera.frame)
        disparity = DepthInference(names[1]).predict(camera.frame)
        expected = seg(ids) if kind == "seg" else seg_depth(ids, disparity)
    np.testing.assert_array_equal(seen.picture, expected)
    assert seen.picture.dtype == np.uint8
    assert seen.picture.shape == ({"rgb": 3, "seg": 1, "seg_depth": 2}[kind], 84, 84)
    assert seen.time == 1.5
    assert seen.frame is camera.frame
    eyes.close()
    assert not camera.is_open


@pytest.mark.parametrize(
    ("kind", "names", "expected"),
    [
        ("seg", (None, None), "--segmentation"),
        ("seg_depth", (None, "x"), "--segmentation"),
        ("seg_depth", ("best.pt", None), "--depth"),
        ("seg_depth", ("best.pt", "scene"), "--depth"),
        ("seg_depth", ("best.pt", "simulated"), "--depth"),
    ],
)
def test_networks_that_are_needed_must_be_named(kind, names, expected):
    with pytest.raises(UserError, match=expected):
        RealPolicyCamera(Still(), LiftConfig(observation=kind), *names)


LEFT_RUNNING = """
import sys
from so101_robobase.tasks.lift.config import LiftConfig
from so101_robobase.robot.simulated.body import Body
from so101_robobase.robot.loop.clock import RealClock
from so101_robobase.robot.rollout.picture_stream import BackgroundPictures
from so101_robobase.robot.rollout.policy_camera import SimulatedPolicyCamera

clock = RealClock()
body = Body(LiftConfig())
sight = BackgroundPictures(SimulatedPolicyCamera(body.sim, body.config, clock), clock)
sight.start()
print(sight.latest().picture.shape, flush=True)
raise RuntimeError("something else")
"""


def test_a_sight_that_nobody_closes_does_not_disturb_the_end_of_the_process():
    done = subprocess.run(
        [sys.executable, "-c", LEFT_RUNNING], capture_output=True, text=True, timeout=120
    )
    assert done.stdout == "(2, 84, 84)\n"
    assert done.returncode == 1  # of the error, not of a crash in OpenGL
    assert done.stderr.count("Traceback") == 1
