"""The camera of a simulated scene, and frames as a camera of LeRobot's."""

import threading
import time

import numpy as np
import pytest

from robobase.errors import UserError
from so101_robobase.robot.simulated.scene_camera import SceneCamera
from so101_robobase.sim.gl_context import GLUnavailableError
from so101_robobase.sim.renderer import make_renderer
from so101_robobase.sim.scene import build_scene
from so101_robobase.tasks.lift.config import LiftConfig
from so101_robobase.tasks.lift.task import LiftTask
from so101_robobase.vision.observation import ClassId

SIZE = (64, 48)


@pytest.fixture(scope="module")
def task():
    task = LiftTask(LiftConfig(stage=3), num_envs=1, num_threads=1)
    task.seed([0])
    task.reset(np.array([0]))
    return task


@pytest.fixture
def camera(task):
    camera = SceneCamera(build_scene(), lambda: task.sim.qpos[0], SIZE)
    try:
        camera.open()
    except GLUnavailableError as error:
        pytest.skip(str(error))
    except UserError as error:
        pytest.skip(str(error))
    yield camera
    camera.close()


def test_frames_are_colours_in_opencv_order(task, camera):
    before = time.monotonic()
    exposed, frame = camera.grab()
    assert before <= exposed <= time.monotonic()
    assert frame.shape == (48, 64, 3)
    assert frame.dtype == np.uint8
    renderer = make_renderer("gl", task.sim.scene, 48, 64)
    np.testing.assert_array_equal(frame, renderer.render_rgb(task.sim.qpos)[0][..., ::-1])
    ids = renderer.render(task.sim.qpos)[0][0]
    renderer.close()
    blue, _, red = frame[ids == ClassId.CUBE].mean(axis=0)
    assert red > 2 * blue  # the cube is red


def test_shows_the_state_of_the_moment(task, camera):
    _, before = camera.grab()
    elsewhere = task.sim.qpos[0].copy()
    elsewhere[build_scene().cube_pos] += [0.02, 0.02, 0]
    camera._qpos = lambda: elsewhere
    _, after = camera.grab()
    assert (before != after).any()


def test_clock_of_the_loop(task):
    camera = SceneCamera(task.sim.scene, lambda: task.sim.qpos[0], SIZE, now=lambda: 12.5)
    camera._renderer = _Black()
    assert camera.grab()[0] == 12.5


class _Black:
    def render_rgb(self, qpos, looks=None):
        assert qpos.shape == (1, 13)
        return np.zeros((1, 48, 64, 3), np.uint8)


def test_rays_have_no_colours(task):
    camera = SceneCamera(task.sim.scene, lambda: task.sim.qpos[0], SIZE, "ray")
    with pytest.raises(UserError, match="no colours"):
        camera.open()
    camera.close()


def test_another_thread_is_told(camera):
    errors = []

    def use():
        for method in (camera.grab, camera.close):
            try:
                method()
            except RuntimeError as error:
                errors.append(str(error))

    thread = threading.Thread(target=use)
    thread.start()
    thread.join()
    assert len(errors) == 2
    assert all("in the thread that used it first" in error for error in errors)
    camera.grab()  # and the right one goes on


def test_works_in_a_thread_of_its_own(task):
    frames = []

    def look():
        camera = SceneCamera(task.sim.scene, lambda: task.sim.qpos[0], SIZE)
        try:
            frames.append(camera.grab()[1])
        except UserError:
            frames.append(None)
        camera.close()

    for _ in range(2):
        thread = threading.Thread(target=look)
        thread.start()
        thread.join()
    if frames[0] is None:
        pytest.skip("no OpenGL here")
    np.testing.assert_array_equal(frames[0], frames[1])


class TestFrameCamera:
    """Under LeRobot's own names and manners."""

    @pytest.fixture
    def sources(self):
        pytest.importorskip("lerobot")
        from so101_robobase.robot.so101_mujoco.frame_camera import SOURCES

        yield SOURCES
        SOURCES.pop("test", None)

    def make(self, **options):
        from lerobot.cameras.utils import make_cameras_from_configs

        from so101_robobase.robot.so101_mujoco import FrameCameraConfig

        config = FrameCameraConfig(source="test", fps=25, width=4, height=2, **options)
        return make_cameras_from_configs({"wrist": config})["wrist"]

    def test_lerobot_makes_and_reads_it(self, sources):
        bgr = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
        sources["test"] = lambda: (time.monotonic(), bgr)
        with self.make() as camera:
            for frame in (camera.read(), camera.async_read(), camera.read_latest()):
                np.testing.assert_array_equal(frame, bgr[..., ::-1])
        assert not camera.is_connected
        from lerobot.cameras.configs import ColorMode
        from lerobot.utils.errors import DeviceNotConnectedError

        with self.make(color_mode=ColorMode.BGR) as camera:
            np.testing.assert_array_equal(camera.read(), bgr)
        with pytest.raises(DeviceNotConnectedError):
            camera.read()

    def test_stale_and_misshapen_frames(self, sources):
        sources["test"] = lambda: (time.monotonic() - 3, np.zeros((2, 4, 3), np.uint8))
        with self.make() as camera, pytest.raises(TimeoutError, match="ms old"):
            camera.read_latest()
        sources["test"] = lambda: (time.monotonic(), np.zeros((4, 4, 3), np.uint8))
        with pytest.raises(RuntimeError, match="shape"):
            self.make().connect()

    def test_unknown_source(self, sources):
        with pytest.raises(ValueError, match="no source of frames is called 'test'"):
            self.make()
