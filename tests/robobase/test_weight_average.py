import itertools

import pytest
import torch
from nn_helpers import make_batch, make_drqv2, make_sac, observation_space

from robobase.errors import UserError

SPACE = observation_space()
BATCH = make_batch(SPACE)


def weights(module):
    return torch.cat([p.detach().flatten() for p in module.parameters()])


def mean_action(agent):
    observations = {key: BATCH[key] for key in SPACE.spaces}
    return agent.train(False).act(observations, step=1000, eval_mode=True)


def learn(agent, updates):
    for step in range(updates):
        agent.update(itertools.repeat(BATCH), step)
    return agent


@pytest.mark.parametrize("make", [make_drqv2, make_sac])
def test_the_average_follows_encoder_and_actor_by_its_decay(make):
    agent = learn(make(weight_average=0.9), 1)
    expected = {name: weights(getattr(agent, name)) for name in ("encoder", "actor")}
    for _ in range(3):
        learn(agent, 1)
        for name in expected:
            expected[name] = 0.9 * expected[name] + 0.1 * weights(getattr(agent, name))
    for name, average in expected.items():
        torch.testing.assert_close(weights(agent.average[name]), average)


def test_the_average_acts_in_evaluation_and_the_networks_in_training():
    agent = learn(make_drqv2(weight_average=0.9, stddev_schedule=0.0), 5)
    plain = learn(make_drqv2(stddev_schedule=0.0), 5)
    torch.testing.assert_close(weights(agent.actor), weights(plain.actor))  # learning is the same
    assert not torch.equal(mean_action(agent), mean_action(plain))
    for name in ("encoder", "actor"):
        getattr(plain, name).load_state_dict(agent.average[name].state_dict())
    torch.testing.assert_close(mean_action(agent), mean_action(plain))
    observations = {key: BATCH[key] for key in SPACE.spaces}
    exploring = agent.act(observations, step=1000, eval_mode=False)
    assert not torch.allclose(exploring, mean_action(agent))


def test_recurrent_states_of_the_averaged_actor_are_cleared_too():
    agent = make_drqv2(weight_average=0.9, frame_stack_on_channel=False).train(False)
    agent.set_eval_env_running(True)
    observations = {key: BATCH[key][:1] for key in SPACE.spaces}
    first = agent.act(observations, step=1000, eval_mode=True)
    second = agent.act(observations, step=1000, eval_mode=True)
    assert not torch.equal(first, second)
    agent.reset(0, [agent.num_train_envs])
    torch.testing.assert_close(agent.act(observations, step=1000, eval_mode=True), first)


@pytest.mark.parametrize("decay", [-0.1, 1.0])
def test_a_decay_that_cannot_be_is_named(decay):
    with pytest.raises(UserError, match=f"weight_average={decay}: give a number from 0 to below 1"):
        make_drqv2(weight_average=decay)
