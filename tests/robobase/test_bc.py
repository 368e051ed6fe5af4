import itertools

import pytest
import torch
from nn_helpers import A, make_batch, make_bc, observation_space

from robobase.errors import UserError

SPACE = observation_space()


def test_bc_learns_the_demonstrated_actions_from_images_alone():
    space = observation_space(low_dim=False)
    agent = make_bc(space)
    agent.logging = True
    batch = make_batch(space, size=8, sequence=2)
    encoder = agent.encoder.convs_per_view[0][0].weight.detach().clone()
    losses = [agent.update(itertools.repeat(batch), 0)["actor_loss"] for _ in range(80)]
    assert losses[-1] < losses[0] / 10
    assert not torch.equal(encoder, agent.encoder.convs_per_view[0][0].weight)


@pytest.mark.parametrize("on_channel", [True, False])
def test_bc_acts_with_sequences_within_the_bounds(on_channel):
    agent = make_bc(frame_stack_on_channel=on_channel)
    agent.update(itertools.repeat(make_batch(SPACE, sequence=2)), 0)
    agent.train(False)
    observations = {k: torch.as_tensor(v)[None].repeat_interleave(2, 0) for k, v in
                    SPACE.sample().items()}  # fmt: skip
    observations["low_dim_state"] = observations["low_dim_state"] * 100
    action = agent.act(observations, 0, eval_mode=False)
    assert action.shape == (2, 2, A)
    assert action.abs().max() <= 1
    agent.reset(0, [0])


def test_the_adaptive_rate_rises_and_falls():
    agent = make_bc(adaptive_lr=True, num_train_steps=200)
    agent.logging = True
    batch = make_batch(SPACE, size=2, sequence=2)
    rates = [agent.update(itertools.repeat(batch), 0)["lr"] for _ in range(200)]
    assert rates[49] == pytest.approx(5e-4)
    assert max(rates) == rates[99] == pytest.approx(1e-3)
    assert rates[149] == pytest.approx(5e-4)
    assert rates[-1] == pytest.approx(0.0)


def test_the_rate_is_part_of_the_training_state():
    agent = make_bc(adaptive_lr=True)
    for _ in range(5):
        agent.update(itertools.repeat(make_batch(SPACE, size=2, sequence=2)), 0)
    other = make_bc(adaptive_lr=True)
    other.load_training_state(agent.training_state())
    assert other.opt.param_groups[0]["lr"] == agent.opt.param_groups[0]["lr"] > 0


def test_an_adaptive_rate_needs_to_know_the_number_of_steps():
    with pytest.raises(UserError, match="num_pretrain_steps"):
        make_bc(adaptive_lr=True, num_train_steps=0)


def test_an_actor_of_another_sequence_length_is_a_user_error():
    actor = make_bc(sequence=2)
    from robobase.method.bc import Actor

    with pytest.raises(UserError, match="output_sequence_length"):
        Actor(make_bc(sequence=3).action_space, actor.actor.actor_model)


def test_pictures_are_shifted_in_learning_alone():
    agent = make_bc(use_augmentation=True)
    pixels = agent.extract_pixels(make_batch(SPACE, size=8, sequence=2))

    def losses(**settings):
        learner = make_bc(lr=0.0, **settings)
        learner.logging = True
        batch = make_batch(SPACE, size=8, sequence=2)
        return {learner.update(itertools.repeat(batch), 0)["actor_loss"] for _ in range(3)}

    assert len(losses()) == 1
    assert len(losses(use_augmentation=True)) > 1
    shifted, kept = agent.augment(pixels), agent.thin_out(pixels)
    assert shifted.shape == kept.shape
    assert not torch.equal(shifted, kept)


def test_a_shift_by_no_pixel_is_a_user_error():
    with pytest.raises(UserError, match="use_augmentation=false"):
        make_bc(augmentation_pixels=0)
