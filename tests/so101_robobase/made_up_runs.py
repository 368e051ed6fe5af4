"""Run folders as training leaves them, made up of a few lines each."""

import json
from pathlib import Path

HEADER = "env_steps,total_time,episode_success,episode_reward\n"
MP4 = b"\0\0\0\x18ftypmp42" + b"\0" * 500  # as far as anybody looks


def make_run(
    folder: Path,
    success=(0.0, 0.5, 1.0),
    status="finished",
    video: bytes | None = MP4,
    snapshots=(1000, 2000),
    **settings,
) -> Path:
    """A run with an evaluation every 1,000 env steps and every minute; the last one is the best."""
    settings = {"seed": 1, "task": "so101_lift", "version": "v11", "pixels": True, **settings}
    (folder / ".hydra").mkdir(parents=True)
    rows = [f"{1000 * k},{60 * k},{rate},{rate}" for k, rate in enumerate(success)]
    (folder / "eval.csv").write_text(HEADER + "".join(f"{row}\n" for row in rows))
    env = {"env_name": settings["task"], "reward_version": settings["version"]}
    config = {
        "seed": settings["seed"],
        "num_train_frames": 2000,
        "num_eval_episodes": 64,
        "pixels": settings["pixels"],
        "env": {**env, "observation": "seg_depth"},
        "snapshot_keeper": {"keep_every": settings.get("keep_every")},
    }
    (folder / "config.yaml").write_text(json.dumps(config))  # which is YAML too
    words = [f"env.reward_version={settings['version']}", f"seed={settings['seed']}"]
    (folder / ".hydra" / "overrides.yaml").write_text(json.dumps(words))
    record = {
        "status": status,
        "reason": None,
        "env_steps": 1000 * max(len(success) - 1, 0),
        "num_train_frames": 2000,
        "seconds": 120.0,
        "started": "2026-12-01T10:00:00+00:00",
        "updated": settings.get("updated", "2026-12-01T10:02:00+00:00"),
    }
    (folder / "run.json").write_text(json.dumps(record))
    versions = {"python": "3.11.7", "git": "0123456789abcdef", "packages": {"torch": "2.13.0"}}
    (folder / "versions.json").write_text(json.dumps(versions))
    if video is not None:
        (folder / "eval_videos").mkdir()
        (folder / "eval_videos" / "best.mp4").write_bytes(video)
    (folder / "snapshots").mkdir()
    for step in snapshots:
        (folder / "snapshots" / f"{step}_snapshot.pt").write_bytes(bytes(5000 + step))
    for name in ("best", "latest") if snapshots else ():
        newest = folder / "snapshots" / f"{max(snapshots)}_snapshot.pt"
        (folder / "snapshots" / f"{name}_snapshot.pt").hardlink_to(newest)
    return folder


def make_sweep(folder: Path, versions=("v11", "v19"), seeds=(1, 2)) -> Path:
    """Jobs of every version and seed; the later versions succeed more."""
    jobs = [(version, seed) for version in versions for seed in seeds]
    for number, (version, seed) in enumerate(jobs):
        top = (versions.index(version) + 1) / len(versions) - 0.05 * seed
        make_run(folder / str(number), (0.0, top / 2, top), version=version, seed=seed)
    (folder / "multirun.yaml").write_text("hydra: {}\n")
    return folder
