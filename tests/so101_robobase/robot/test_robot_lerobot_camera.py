"""LeRobot's own camera class on a stand-in for the device below OpenCV; there is no camera here."""

import time

import cv2
import numpy as np
import pytest

from robobase.errors import UserError
from so101_robobase.robot.real import lerobot_camera
from so101_robobase.robot.real.check import check_camera
from so101_robobase.robot.real.lerobot_camera import LeRobotCamera

pytest.importorskip("lerobot")

LEROBOTS_THREAD = pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnhandledThreadExceptionWarning"  # it ends with an error
)
BLUE = (250, 10, 20)  # BGR
SIZE = {cv2.CAP_PROP_FRAME_WIDTH: 64.0, cv2.CAP_PROP_FRAME_HEIGHT: 48.0}


class Device:
    """A capture device. Class attributes say what kind of device is plugged in."""

    opens = True
    fixed: dict[int, float] = {}  # noqa: RUF012  # properties that cannot be changed
    rate = 30.0  # of the frames, whatever is promised
    frames = 10**9  # until it dies
    hangs = 0.0  # s, of each read after that
    frozen = black = False

    def __init__(self, source, backend):
        self.source = source
        self.properties = dict(SIZE) | {cv2.CAP_PROP_FPS: 30.0} | self.fixed
        self.count = 0

    def isOpened(self) -> bool:
        return self.opens

    def get(self, which: int) -> float:
        return self.properties.get(which, 0.0)

    def set(self, which: int, value: float) -> bool:
        if which in self.fixed:
            return self.fixed[which] == value
        self.properties[which] = value
        return True

    def read(self):
        time.sleep(1 / self.rate)
        self.count += 1
        if self.count > self.frames:
            time.sleep(self.hangs)
            return False, None
        size = int(self.get(cv2.CAP_PROP_FRAME_HEIGHT)), int(self.get(cv2.CAP_PROP_FRAME_WIDTH))
        frame = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
        frame[10, 10] = BLUE
        frame[0, 0] = 0 if self.frozen else self.count % 256
        if self.black:
            frame[:] = self.count % 2
        return True, frame

    def release(self) -> None:
        pass


@pytest.fixture
def plug(monkeypatch):
    """plug(**kind): a device is there."""

    def plugged(**kind) -> None:
        monkeypatch.setattr(cv2, "VideoCapture", type("VideoCapture", (Device,), kind))

    return plugged


def camera(**changes) -> LeRobotCamera:
    return LeRobotCamera(**{"source": 0, "width": 64, "height": 48, "fps": 30} | changes)


def test_frames_are_new_and_bgr_and_their_time_is_monotonic(plug):
    plug()
    eye = camera()
    eye.open()
    seen = []
    for _ in range(5):
        before = time.monotonic()
        came, frame = eye.grab()
        assert before - 1 < came <= time.monotonic()
        assert (frame.shape, frame.dtype) == ((48, 64, 3), np.uint8)
        assert tuple(frame[10, 10]) == BLUE
        seen.append((came, int(frame[0, 0, 0])))
    assert len(set(seen)) == 5  # no frame twice
    assert seen == sorted(seen)
    eye.close()
    eye.close()


def test_after_a_pause_the_newest_frame_comes(plug):
    plug()
    eye = camera()
    eye.open()
    eye.grab()
    time.sleep(0.5)
    came, _ = eye.grab()
    assert time.monotonic() - came < 0.3
    eye.close()


def test_a_missing_device_file_lists_what_there_is():
    with pytest.raises(
        UserError, match=r"camera /dev/video99 does not exist; (cameras here|there)"
    ):
        camera(source="/dev/video99").open()


def test_a_missing_index_is_said():
    with pytest.raises(UserError, match=r"camera 97 cannot be opened; (cameras here|there is no)"):
        camera(source="97").open()


@LEROBOTS_THREAD
@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ({"fixed": {cv2.CAP_PROP_FRAME_WIDTH: 128.0}}, "gives 128x48 pixels, not 64x48; choose"),
        ({"fixed": {cv2.CAP_PROP_FPS: 15.0}}, "gives 15 frames a second at 64x48, not 30; choose"),
        ({"rate": 12.0}, r"too slow: 1\d frames a second instead of 30; try"),
        ({"frames": 0}, r"camera 0 (gives no frames|has failed); check"),
        ({"frames": 0, "hangs": 60.0}, "camera 0 gives no frames; check"),
    ],
    ids=["size", "rate", "slow", "no frames", "hanging"],
)
def test_what_is_wrong_is_one_line_and_the_device_is_let_go(plug, kind, message):
    plug(**kind)
    eye = camera()
    with pytest.raises(UserError, match=message) as raised:
        eye.open()
    assert "\n" not in str(raised.value)
    with pytest.raises(UserError, match="not open"):
        eye.grab()


@LEROBOTS_THREAD
@pytest.mark.parametrize("hangs", [0.0, 60.0])
def test_a_camera_that_dies_is_an_error_soon_and_lets_itself_be_closed(plug, hangs):
    plug(frames=90, hangs=hangs)
    eye = camera()
    eye.open()
    came = time.monotonic()

    def watch() -> None:
        nonlocal came
        while time.monotonic() - came < 20:
            came, _ = eye.grab()

    with pytest.raises(UserError, match=r"camera 0 (gave no frame|has failed)"):
        watch()
    assert time.monotonic() - came < lerobot_camera.TIMEOUT + 2
    began = time.monotonic()
    eye.close()
    assert time.monotonic() - began < 3


def test_a_check_of_a_good_camera_measures_it(plug):
    plug()
    item = check_camera(camera())
    assert item.ok, item.text
    assert item.text.startswith("64x48, ")
    rate = float(item.text.split(" ")[1])
    assert 20 < rate < 31


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ({"black": True}, "pictures are black: take the lens cap off"),
        ({"frozen": True}, "gave the same picture 10 times"),
    ],
)
def test_a_check_looks_at_the_pictures_too(plug, kind, message):
    plug(**kind)
    item = check_camera(camera())
    assert not item.ok
    assert message in item.text


def test_a_check_of_a_missing_camera_says_so():
    item = check_camera(camera(source="/dev/video99"))
    assert not item.ok
    assert "does not exist" in item.text
