"""The factory: the spaces an agent sees, equal episodes everywhere, demonstrations in a buffer."""

import io
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from gymnasium import spaces
from hydra import compose, initialize_config_module
from omegaconf import DictConfig, OmegaConf

from robobase.envs.vector_compat import final_info, final_obs
from robobase.errors import UserError
from robobase.replay_buffer.uniform_replay_buffer import UniformReplayBuffer
from so101_robobase.arm.alignment import Alignment, CameraPose, save
from so101_robobase.arm.servos import ServoModel
from so101_robobase.envs.factory import SO101Factory
from so101_robobase.envs.vector_env import TaskVectorEnv
from so101_robobase.tasks.lift.config import LiftConfig


def composed(*overrides: str) -> DictConfig:
    with initialize_config_module("robobase.cfgs", version_base=None):
        return compose(
            "robobase_config", overrides=["env=so101_lift", "num_train_envs=2", *overrides]
        )


def test_the_agent_sees_stacked_frames_and_proprioception():
    env = SO101Factory().make_train_env(composed())
    assert env.single_observation_space["rgb"] == spaces.Box(0, 255, (3, 2, 84, 84), np.uint8)
    assert env.single_observation_space["low_dim_state"].shape == (3, 18)
    assert env.single_action_space.shape == (1, 6)
    _, infos = env.reset(seed=0)
    assert infos["demo"].tolist() == [0, 0]
    env.close()


def test_a_run_saves_what_its_files_say_and_not_where_they_are(tmp_path):
    confusion = [[float(i == j) for j in range(6)] for i in range(6)]
    figures = {"boundary": 1.25, "blobs": 3.5, "missing": 0.25, "confusion": confusion}
    report, arm = tmp_path / "parity.json", tmp_path / "arm.yaml"
    report.write_text(json.dumps({"corruption": figures}))
    camera = CameraPose((0.01, -0.05, 0.02), (0.4, 0.1, 3.0), 60.0)
    ones = (1.0,) * 6
    servos = ServoModel((1.1,) * 6, ones, ones, ones, latency=0.04)
    save(Alignment(camera=camera, servos=servos), arm)
    cfg = composed(f"env.corruption.report={report}", f"env.scene.alignment={arm}")
    wanted = LiftConfig.from_cfg(cfg)
    SO101Factory().complete_config(cfg)
    text = OmegaConf.to_yaml(cfg)
    assert str(tmp_path) not in text
    report.unlink()
    arm.unlink()
    got = LiftConfig.from_cfg(OmegaConf.create(text))
    assert got.corruption.measured().boundary == 1.25
    assert [list(row) for row in got.corruption.confusion] == confusion
    assert got.scene.camera_pos == camera.pos
    assert got.scene.camera_fovy == 60.0
    assert got.scene.servos == servos
    assert got.scene.cube_half_size == wanted.scene.cube_half_size
    with pytest.raises(UserError, match=r"parity\.json cannot be read"):
        SO101Factory().complete_config(composed(f"env.corruption.report={report}"))


def test_evaluations_may_start_from_another_stage_than_training():
    cfg = composed("pixels=false", "env.stage=3", "env.eval_stage=2")
    factory = SO101Factory()
    envs = {
        3: factory.make_train_env(cfg),
        2: factory.make_eval_vector_env(cfg, 2),
    }
    for stage, env in envs.items():
        assert env.reset(seed=0)[1]["stage"].tolist() == [stage, stage]
        env.close()


@pytest.mark.parametrize(
    "overrides",
    [
        ("env.observation=seg_depth",),
        ("env.observation=seg",),
        pytest.param(("env.observation=rgb",), marks=pytest.mark.opengl),
        ("pixels=false", "action_sequence=2", "execution_length=2"),
        ("pixels=false", "use_onehot_time_and_no_bootstrap=true"),
    ],
)
def test_one_environment_and_many_play_the_same_evaluation_episode(overrides):
    cfg = composed(*overrides, "env.episode_length=8", "env.hold_steps=5", "env.stage=0")
    factory = SO101Factory()
    many, single = factory.make_eval_vector_env(cfg, 2), factory.make_eval_env(cfg)
    assert many.single_observation_space == single.observation_space
    assert many.single_action_space == single.action_space
    seen, _ = many.reset(seed=[0, 6])
    expected, _ = single.reset(seed=6)
    rng = np.random.default_rng(0)
    over = False
    while not over:
        for key in expected:
            np.testing.assert_array_equal(seen[key][1], expected[key], err_msg=key)
        action = rng.uniform(-1, 1, many.action_space.shape).astype(np.float32)
        seen, rewards, terminated, truncated, infos = many.step(action)
        expected, reward, *ends, info = single.step(action[1])
        assert (terminated[1], truncated[1]) == tuple(ends)
        np.testing.assert_allclose(rewards[1], reward, rtol=1e-12)
        over = any(ends)
    last = final_obs(infos, 1)
    for key in expected:
        np.testing.assert_array_equal(last[key], expected[key], err_msg=key)
    assert {"task_success", "cube_z", "demo"} <= info.keys()
    many.close()
    single.close()


def test_a_saved_training_environment_continues_with_its_stacked_frames():
    factory, cfg = SO101Factory(), composed("env.episode_length=8", "env.hold_steps=5")
    env, other = factory.make_train_env(cfg), factory.make_train_env(cfg)
    env.reset(seed=0)
    actions = np.random.default_rng(0).uniform(-1, 1, (6, *env.action_space.shape))
    env.step(actions[0])
    file = io.BytesIO()
    torch.save(env.state_dict(), file)
    file.seek(0)
    other.load_state_dict(torch.load(file, weights_only=True))
    for action in actions:  # through the end of an episode
        expected, got = env.step(action), other.step(action)
        for key in expected[0]:
            np.testing.assert_array_equal(expected[0][key], got[0][key])
        np.testing.assert_array_equal(expected[1], got[1])
    env.close()
    other.close()


def test_overlapping_action_sequences_are_evaluated_one_environment_at_a_time():
    cfg = composed("pixels=false", "action_sequence=4", "execution_length=2")
    factory = SO101Factory()
    assert factory.make_eval_vector_env(cfg, 2) is None
    env = factory.make_eval_env(cfg)
    env.reset(seed=0)
    *_, info = env.step(np.zeros((4, 6), np.float32))
    assert info["action_sequence_mask"].tolist() == [1, 1, 0, 0]
    env.close()


@pytest.mark.parametrize("stage", [0, 3])
def test_demonstrations_load_into_replay_buffers_of_the_training_spaces(stage):
    cfg = composed("demos=3", f"env.stage={stage}")
    factory = SO101Factory()
    factory.collect_or_fetch_demos(cfg, cfg.demos)
    env = factory.make_train_env(cfg)
    for _ in range(2):  # as into a replay and a demonstration buffer
        buffer = UniformReplayBuffer(
            batch_size=8,
            replay_capacity=2000,
            nstep=3,
            action_shape=env.single_action_space.shape,
            observation_elements=env.single_observation_space,
            extra_replay_elements=spaces.Dict({"demo": spaces.Box(0, 1, (), np.uint8)}),
        )
        factory.load_demos_into_replay(cfg, buffer, is_demo_buffer=True)
        steps = sum(len(demo) - 1 for demo in factory._demos)
        assert len(buffer) == steps > 30
        batch = buffer.sample()
        assert batch["rgb"].shape == (8, 3, 2, 84, 84)
        assert batch["action"].shape == (8, 1, 6)
        assert batch["demo"].all()
        assert np.abs(batch["action"]).max() <= 1
        buffer.shutdown()
    env.close()


def test_a_demonstration_replayed_from_its_seed_succeeds_again():
    cfg = composed("pixels=false", "env.stage=4")
    factory = SO101Factory()
    factory.collect_or_fetch_demos(cfg, 1)
    (demo,) = factory._demos
    env = TaskVectorEnv(replace(LiftConfig.from_cfg(cfg), starts="demonstrations"))
    env.reset(seed=0)
    for _, reward, terminated, truncated, info in demo[1:]:
        _, again, ended, cut, infos = env.step(info["demo_action"][None])
        assert (again[0], ended[0], cut[0]) == (reward, terminated, truncated)
    assert final_info(infos, 0)["task_success"] == 1
    env.close()


def test_demonstrations_do_not_repeat_and_seeds_have_none_in_common():
    begun = []
    for seed in (1, 2):
        cfg = composed("pixels=false", f"seed={seed}", "env.stage=3")
        factory = SO101Factory()
        factory.collect_or_fetch_demos(cfg, 12)
        begun.append({demo[0][0]["low_dim_state"].tobytes() for demo in factory._demos})
    assert [len(starts) for starts in begun] == [12, 12]
    assert not begun[0] & begun[1]


@pytest.mark.parametrize(
    ("overrides", "demos", "message"),
    [
        ((), -1, "demos=-1 asks for all"),
        (("norm_obs=true",), 1, "norm_obs=true is not available"),
        (
            ("env.lift_height=0.4", "env.episode_length=40"),
            1,
            "the scripted expert succeeded in 0 of",
        ),
    ],
)
def test_demonstrations_that_cannot_be_had_are_refused(overrides, demos, message):
    cfg = composed("pixels=false", *overrides)
    with pytest.raises(UserError, match=message):
        SO101Factory().collect_or_fetch_demos(cfg, demos)
