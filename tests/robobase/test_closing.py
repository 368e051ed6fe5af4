"""Claims about the end of a run: what it shows, and what it says to do next."""

import imageio.v2 as imageio
import pytest
import torch
from tiny_task import tiny_config

from robobase.evaluator import Evaluator
from robobase.snapshot import read
from robobase.workspace import Workspace

SHORT = ("num_train_frames=240", "eval_every_steps=120", "num_eval_episodes=2", "num_gpus=0")
VIDEOS = ("log_eval_video=true", "log_eval_video_every_n_evals=5")


@pytest.fixture
def commands(monkeypatch):
    """A factory that says how to evaluate; the videos' fill is the weight of the policy."""
    name = "robobase.envs.env.EnvFactory.evaluation_command"
    monkeypatch.setattr(name, lambda self, snapshot: ["measure", str(snapshot), "it's"])


def _run(folder, *overrides, scores=(0.0, 1.0, 0.5)):
    run = Workspace(tiny_config(*SHORT, *VIDEOS, *overrides), work_dir=folder)
    remaining = list(scores)

    def ranked(metrics):
        return (remaining.pop(0), 0.0)

    run.snapshots._ranking = ranked
    run.train()
    return run


def test_best_and_last_policy_are_shown_and_the_agent_is_left_as_it_was(tmp_path, monkeypatch):
    shown = []
    film = Evaluator.film

    def noted(self, agent, step, name):
        shown.append((name, _weights(agent)))
        return film(self, agent, step, name)

    monkeypatch.setattr(Evaluator, "film", noted)
    run = _run(tmp_path)
    videos = {path.stem for path in (tmp_path / "eval_videos").iterdir()}
    assert {"best", "last"} <= videos
    assert len(imageio.mimread(tmp_path / "eval_videos" / "best.mp4")) > 1
    best, latest = (
        read(tmp_path / "snapshots" / f"{name}_snapshot.pt")["agent"] for name in ("best", "latest")
    )
    assert [name for name, _ in shown] == ["last", "best"]
    assert torch.equal(shown[0][1], _flat(latest))
    assert torch.equal(shown[1][1], _flat(best))
    assert not torch.equal(_flat(best), _flat(latest))
    assert torch.equal(_weights(run.agent), _flat(latest))


def _weights(agent):
    return _flat(agent.state_dict())


def _flat(state):
    return torch.cat([value.detach().float().flatten() for value in state.values()])


def test_where_the_last_is_the_best_both_names_show_it(tmp_path):
    _run(tmp_path, scores=(0.0, 0.5, 1.0))
    best, last = ((tmp_path / "eval_videos" / f"{n}.mp4").read_bytes() for n in ("best", "last"))
    assert best == last


@pytest.mark.parametrize("off", ["log_eval_video=false", "log_eval_video_every_n_evals=null"])
def test_without_videos_nothing_is_recorded(tmp_path, off):
    _run(tmp_path, off)
    assert not list(tmp_path.glob("eval_videos/*.mp4"))


def test_the_end_names_the_best_snapshot_and_the_command_that_measures_it(
    tmp_path, commands, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    _run(tmp_path / "run", "log_eval_video=false")
    lines = capsys.readouterr().out.splitlines()
    best = "run/snapshots/best_snapshot.pt"
    assert f"best snapshot, of 120 env steps: {best}" in lines
    assert f"""to measure it: measure {best} 'it'"'"'s'""" in lines


def test_without_a_command_the_best_snapshot_is_named_alone(tmp_path, capsys):
    _run(tmp_path, "log_eval_video=false")
    text = capsys.readouterr().out
    assert "best snapshot, of 120 env steps" in text
    assert "to measure it" not in text
