"""A snapshot that is a stranger's or damaged is refused in one line, or continued; nothing else."""

import copy
import os

import pytest
import torch
from hostile_runs import FORMS, KEPT, OPTIMISER
from tiny_task import tiny_config

from robobase import snapshot
from robobase.errors import UserError
from robobase.workspace import Workspace

SETTINGS = [
    "pixels=false",
    "snapshot_replay=true",
    "num_train_frames=160",
    "num_explore_steps=40",
    "replay_size_before_train=40",
    "replay.size=2000",
    "eval_every_steps=0",
    "num_eval_episodes=0",
    "update_every_steps=8",
    "method.actor_model.mlp_nodes=[8]",
    "method.critic_model.mlp_nodes=[8]",
]
RUN = {  # what the config's changes, and what the run has learnt by then, do not matter for
    "no score",
    "no config",
    "a config that is a number",
    "a config with code",
    "a replay that is empty",
}


@pytest.fixture(scope="module")
def state(tmp_path_factory):
    """What a run saved, with tensors in memory."""
    folder = tmp_path_factory.mktemp("run")
    Workspace(tiny_config(*SETTINGS), work_dir=folder).train()
    return copy.deepcopy(snapshot.read(folder / "snapshots" / "latest_snapshot.pt"))


def resume(state, change, tmp_path, *overrides):
    """Continue for a few steps from `state` with the change."""
    state = copy.deepcopy(state)
    change(state)
    path = tmp_path / "old" / "snapshots" / "160_snapshot.pt"
    snapshot.write(path, state)
    settings = [*SETTINGS, "num_train_frames=200", f"resume_from={path}", *overrides]
    Workspace(tiny_config(*settings), work_dir=tmp_path / "new").train()


def refused(state, change, tmp_path):
    with pytest.raises(UserError) as caught:
        resume(state, change, tmp_path)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 700
    assert not (tmp_path / "new").exists()


def optimiser(change):
    def changed(state):
        change(next(iter(state["training"]["learners"].values())))

    return changed


def test_the_state_itself_is_continued(state, tmp_path):
    resume(state, lambda state: None, tmp_path)
    assert (tmp_path / "new" / "snapshots" / "200_snapshot.pt").exists()


QUICK = [*list(FORMS)[::6], "a credit without end", "links that lead away", "rewards of nan"]


@pytest.mark.parametrize("name", sorted(set(QUICK) - RUN))
def test_what_is_no_run_is_refused(state, tmp_path, name):
    refused(state, FORMS[name], tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(FORMS.keys() - set(QUICK) - RUN))
def test_whatever_is_no_run_is_refused(state, tmp_path, name):
    refused(state, FORMS[name], tmp_path)


@pytest.mark.parametrize("name", sorted(RUN))
def test_what_does_not_matter_is_passed_over(state, tmp_path, name):
    resume(state, FORMS[name], tmp_path)


@pytest.mark.parametrize("name", OPTIMISER)
def test_an_optimiser_that_is_none_is_refused(state, tmp_path, name):
    refused(state, optimiser(OPTIMISER[name]), tmp_path)


@pytest.mark.parametrize("name", KEPT)
def test_an_optimisers_settings_are_the_runs_own(state, tmp_path, name):
    resume(state, optimiser(KEPT[name]), tmp_path)
    saved = snapshot.read(tmp_path / "new" / "snapshots" / "latest_snapshot.pt")
    group = next(iter(saved["training"]["learners"].values()))["param_groups"][0]
    assert group["lr"] == pytest.approx(1e-4)
    assert "more" not in group


def test_weights_of_another_network_name_the_first_that_differs(state, tmp_path):
    with pytest.raises(UserError, match="does not fit this method's networks"):
        resume(state, lambda s: s["agent"].update(more=torch.zeros(1)), tmp_path)


def test_tables_beside_the_snapshot_may_be_anything(state, tmp_path, capsys):
    old = tmp_path / "old"
    (old / "snapshots").mkdir(parents=True)
    os.mkfifo(old / "pipe.csv")
    (old / "folder.csv").mkdir()
    (old / "bytes.csv").write_bytes(b"\xff\x00step\n1\n")
    (old / "train.csv").write_text("step,a\n1,2\nx,3\n" + "9" * 6000 + ",4\n2\n-1,5\n100,6\n")
    resume(state, lambda state: None, tmp_path)
    assert "left behind" in capsys.readouterr().out
    assert (tmp_path / "new" / "train.csv").read_text().splitlines()[1].startswith("1,2")
    assert not (tmp_path / "new" / "pipe.csv").exists()


def test_changed_settings_do_not_steer_the_terminal(state, tmp_path, capsys):
    resume(state, lambda s: s.update(cfg='seed: "\\e[2J"\n'), tmp_path)
    told = capsys.readouterr().out
    assert "changed settings" in told
    assert "\x1b[2J" not in told
