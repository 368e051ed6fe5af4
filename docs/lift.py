"""Makes docs/lift.gif: a policy in its own random scenes, and what it sees of them.

python docs/lift.py [--snapshot policies/robust_snapshot.pt] [--episodes 4] [--seed 2000000]

The first episodes from the seed that succeed are shown, up to a moment after the success. Needs
OpenGL; takes about a minute on two cores.
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from robobase.errors import UserError
from robobase.run_snapshot import locate
from so101_robobase.arm.control import CONTROL_PERIOD
from so101_robobase.evaluation.policy import load_policy
from so101_robobase.evaluation.recording import Track
from so101_robobase.evaluation.session import play
from so101_robobase.sim.scene import build_scene
from so101_robobase.sim.views import Views
from so101_robobase.vision import pictures

HERE = Path(__file__).parent
VIEW, EDGE = "iso", 384  # camera; px of its square, three panels stand beside it
EVERY = 2  # policy steps between two frames
AFTER, PAUSE = 0.5, 0.6  # s shown after the success, and the last picture of an episode stands
MOST_BYTES = 3_000_000
COLORS = 248  # of 256; one stands for what does not change


def main() -> None:
    """Plays, draws, writes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--snapshot", type=Path, default=HERE.parent / "policies/robust_snapshot.pt"
    )
    parser.add_argument("--episodes", type=int, default=4)
    parser.add_argument("--seed", type=int, default=2_000_000)
    parser.add_argument("--output", type=Path, default=HERE / "lift.gif")
    args = parser.parse_args()

    policy = load_policy(locate(args.snapshot))
    task = policy.task()
    episodes, recorder = play(policy, 2 * args.episodes, args.seed, num_tracks=args.episodes)
    shown = [e for e in episodes if e.index in recorder.tracks and e.time_to_lift is not None]
    if not shown:
        raise UserError(f"none of {len(episodes)} episodes from seed {args.seed} succeeds")
    tick = CONTROL_PERIOD * task.action_repeat  # s per policy step
    views = Views(build_scene(task.scene), (EDGE, EDGE), reduced=True)
    frames, durations = [], []
    for episode in shown:
        track = recorder.tracks[episode.index]
        last = min(round((episode.time_to_lift + AFTER) / tick), len(track.qpos) - 1)
        steps = range(last % EVERY, last + 1, EVERY)
        frames += [draw(views, track, t, task.observation) for t in steps]
        durations += [round(1000 * EVERY * tick)] * (len(steps) - 1) + [round(1000 * PAUSE)]
    views.close()
    write_gif(args.output, frames, durations)
    size = args.output.stat().st_size
    seeds = ", ".join(str(episode.seed) for episode in shown)
    print(f"{args.output}: {size / 1e6:.1f} MB, {len(frames)} frames, seeds {seeds}")
    if size > MOST_BYTES:
        raise UserError(f"that is more than {MOST_BYTES / 1e6:.0f} MB; give fewer --episodes")


def draw(views: Views, track: Track, t: int, observation: str) -> pictures.Image:
    """The scene, and in a column what the wrist camera shows and what the policy makes of it."""
    dressed = track.look, track.cube_half_size
    scene = views.render(track.qpos[t], [VIEW], *dressed)[VIEW]
    edge = EDGE // 3
    wrist = np.asarray(Image.fromarray(views.wrist(track.seen[t], *dressed)).resize((edge, edge)))
    tiles = [pictures.caption(wrist, "camera")]
    tiles += pictures.observation_panels(track.pictures[t], observation, edge)[:2]
    tiles += [np.full_like(tiles[0], 24)] * (3 - len(tiles))
    return np.hstack([scene, np.vstack(tiles)])


def write_gif(path: Path, frames: list[pictures.Image], durations: list[int]) -> None:
    """`durations` in ms. One palette for all frames: what stands still then costs nothing."""
    sample = Image.fromarray(np.vstack(frames[:: max(1, len(frames) // 12)]))
    palette = sample.quantize(COLORS, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    images = [
        Image.fromarray(frame).quantize(palette=palette, dither=Image.Dither.NONE)
        for frame in frames
    ]
    images[0].save(
        path, save_all=True, append_images=images[1:], duration=durations, loop=0, disposal=1
    )


if __name__ == "__main__":
    main()
