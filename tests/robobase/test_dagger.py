import numpy as np
import pytest
import torch
from learning import success_and_seconds
from tiny_task import TinyVectorEnv, tiny_config

from robobase.build import make_agent
from robobase.errors import UserError
from robobase.teaching import Teaching
from robobase.workspace import Workspace


class Half:
    """A method whose teacher acts in half of the environments."""

    def teacher_share(self, step):
        return 0.5


def test_the_teacher_acts_in_its_share_of_the_environments():
    teaching = Teaching(Half())
    teaching.listen({"teacher_action": np.full((4, 2), 7.0)})
    done, remembered = teaching.take_over(np.zeros((4, 1, 2)), step=0)
    assert done[:, 0, 0].tolist() == [7, 7, 0, 0]
    assert remembered[:, 0, 0].tolist() == [7, 7, 7, 7]


def test_environments_without_a_teacher_are_named(tmp_path):
    run = Workspace(tiny_config("launch=tiny_dagger", "env.teacher=false"), work_dir=tmp_path)
    with pytest.raises(UserError, match="DAgger imitates a teacher, but the environments give no"):
        run.train()


def test_the_replay_holds_the_teachers_answer_to_each_observation(tmp_path):
    settings = ["launch=tiny_dagger", "pixels=false", "method.teacher_share=0.0"]
    run = Workspace(tiny_config(*settings, "num_train_frames=120"), work_dir=tmp_path)
    run.train()
    batch = next(run.replay_buffer.batches(torch.device("cpu")))
    point, target = batch["low_dim_state"][:, -1].split(2, dim=-1)
    straight = ((target - point) / 0.2).clamp(-1, 1)
    torch.testing.assert_close(batch["action"][:, 0], straight, atol=1e-4, rtol=0)


def test_the_average_acts_in_evaluation_without_noise():
    cfg = tiny_config("launch=tiny_dagger", "method.noise=0.5")
    envs = TinyVectorEnv(4, 20, teacher=True)
    space = (envs.single_observation_space, envs.single_action_space)
    agent = make_agent(cfg, *space, torch.device("cpu"))
    observations = {key: torch.as_tensor(v) for key, v in envs.reset(seed=0)[0].items()}
    first, second = (agent.act(observations, 0, eval_mode=True) for _ in range(2))
    assert torch.equal(first, second)
    noisy = agent.act(observations, 0, eval_mode=False)
    assert not torch.equal(noisy, first)
    assert noisy.abs().max() <= 1


def test_recurrent_states_of_the_averaged_actor_are_cleared_too():
    cfg = tiny_config("launch=tiny_dagger", "frame_stack_on_channel=false")
    envs = TinyVectorEnv(1, 20)
    space = (envs.single_observation_space, envs.single_action_space)
    agent = make_agent(cfg, *space, torch.device("cpu"))
    agent.set_eval_env_running(True)
    observations = {key: torch.as_tensor(v) for key, v in envs.reset(seed=0)[0].items()}
    first, second = (agent.act(observations, 0, eval_mode=True) for _ in range(2))
    assert not torch.equal(first, second)
    agent.reset(0, [agent.num_train_envs])
    torch.testing.assert_close(agent.act(observations, 0, eval_mode=True), first)


@pytest.mark.slow
def test_dagger_reaches_the_target_from_pixels(tmp_path):
    settings = ["launch=tiny_dagger", "num_train_envs=8", "num_train_frames=8000", "batch_size=64"]
    run = Workspace(tiny_config(*settings, "eval_every_steps=4000"), work_dir=tmp_path)
    success, seconds = success_and_seconds(run)
    assert success >= 0.9
    assert seconds < 120
