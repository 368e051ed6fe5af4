"""Videos hold what was rendered, and appear only when complete."""

import imageio.v3 as iio
import numpy as np
import pytest
from gymnasium.vector import VectorEnv

from robobase.video import VideoRecorder


class Camera:
    """Renders frames of one brightness that grows with every call."""

    def __init__(self, shape=(64, 48, 3)):
        self.shape = shape
        self.calls = 0

    def render(self):
        self.calls += 1
        return np.full(self.shape, 20 * self.calls, np.uint8)


class VectorCamera(VectorEnv):
    def render(self):
        return np.full((8, 8, 3), 1, np.uint8), np.full((8, 8, 3), 2, np.uint8)


def test_a_video_holds_the_rendered_frames(tmp_path):
    recorder, camera = VideoRecorder(tmp_path / "videos", render_size=64, fps=10), Camera()
    recorder.init(camera)
    for _ in range(4):
        recorder.record(camera)
    recorder.save("100.mp4")
    frames = iio.imread(tmp_path / "videos" / "100.mp4")
    assert frames.shape == (5, 64, 48, 3)
    np.testing.assert_allclose(frames.mean(axis=(1, 2, 3)), [20, 40, 60, 80, 100], atol=4)
    assert iio.immeta(tmp_path / "videos" / "100.mp4")["fps"] == 10
    assert [file.name for file in (tmp_path / "videos").iterdir()] == ["100.mp4"]


@pytest.mark.parametrize(
    ("shape", "saved"), [((84, 84, 3), (252, 252, 3)), ((301, 203, 3), (302, 204, 3))]
)
def test_small_frames_are_enlarged_and_odd_sizes_padded(tmp_path, shape, saved):
    recorder = VideoRecorder(tmp_path)
    recorder.init(Camera(shape))
    assert recorder.frames[0].shape == shape
    recorder.save("a.mp4")
    assert iio.imread(tmp_path / "a.mp4").shape[1:] == saved


def test_init_starts_over():
    recorder = VideoRecorder(None)
    recorder.init(Camera())
    assert recorder.frames == []


@pytest.mark.parametrize("enabled", [True, False])
def test_nothing_is_rendered_when_recording_is_off(tmp_path, enabled):
    camera = Camera()
    recorder = VideoRecorder(None if enabled else tmp_path)
    recorder.init(camera, enabled=enabled)
    recorder.record(camera)
    recorder.save("a.mp4")
    assert camera.calls == 0
    assert not (tmp_path / "a.mp4").exists()


def test_of_a_vector_environment_the_first_is_recorded(tmp_path):
    recorder = VideoRecorder(tmp_path)
    recorder.init(VectorCamera())
    assert recorder.frames[0].shape == (8, 8, 3)
    assert recorder.frames[0].max() == 1


def test_a_failed_save_leaves_no_file(tmp_path):
    recorder = VideoRecorder(tmp_path)
    recorder.init(Camera())
    recorder.frames.append(np.zeros((3, 3), np.uint8))  # no colour axis
    with pytest.raises(ValueError, match="broadcast"):
        recorder.save("a.mp4")
    assert list(tmp_path.iterdir()) == []
