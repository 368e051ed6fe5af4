"""A recorded episode once more, in simulation: the same commands, and how far the joints differ."""

from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from so101_robobase.arm.alignment import Alignment, from_plain
from so101_robobase.arm.joints import JOINTS
from so101_robobase.base.files import MARK, written_whole
from so101_robobase.robot.identify.tracking import Tracker, TrackingError
from so101_robobase.robot.recording.episode_log import EpisodeLog
from so101_robobase.sim.scene import SceneConfig, build_scene

_COMMANDED, _MEASURED, _SIMULATED = "#9d9d9d", "#4c78a8", "#e45756"


def replay(log: EpisodeLog, alignment: Alignment | None = None) -> np.ndarray:
    """Positions (T, 6) rad of a simulated arm that is sent `log`'s commands.

    Its servos are those of `alignment`, by default of the recording's own; the robot model's where
    neither was identified. The cube is where the recording says, else out of the way.
    """
    if alignment is None:
        recorded = log.meta.get("alignment")
        alignment = from_plain(recorded, "the recording's alignment") if recorded else Alignment()
    scene = build_scene(SceneConfig(servos=alignment.servos))
    return Tracker(scene).track(log)[0]


def tracking_error(log: EpisodeLog, simulated: np.ndarray) -> TrackingError:
    """Of `simulated` (T, 6) rad against what was measured."""
    return TrackingError.of([log.measured], [simulated])


def draw_curves(log: EpisodeLog, simulated: np.ndarray, path: Path) -> None:
    """A PNG with a panel per joint: commanded, measured and simulated angles, degrees over s."""
    figure = Figure(figsize=(13, 7), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    error = tracking_error(log, simulated).mean
    times = log.times - log.times[0]
    for joint, axes in enumerate(figure.subplots(2, 3, sharex=True).ravel()):
        for label, colour, values in (
            ("commanded", _COMMANDED, log.commanded),
            ("measured", _MEASURED, log.measured),
            ("simulated", _SIMULATED, simulated),
        ):
            # A command holds until the next one.
            style = "steps-post" if label == "commanded" else "default"
            angle = np.rad2deg(values[:, joint])
            axes.plot(times, angle, color=colour, lw=1.2, label=label, drawstyle=style)
        axes.set_title(f"{JOINTS[joint]}: {error[joint]:.2f}° mean error", fontsize=10)
        axes.grid(alpha=0.3)
        if joint >= 3:
            axes.set_xlabel("s")
        if joint % 3 == 0:
            axes.set_ylabel("degrees")
    figure.axes[0].legend(fontsize=8)
    with written_whole(path, own=True) as partial:
        figure.savefig(partial, format="png", metadata={"Software": MARK})
