"""Methods that see: the precision in which their encoder learns."""

import itertools

import pytest
import torch
from nn_helpers import make_batch, make_drqv2, observation_space

from robobase.compute import has_fast_bfloat16
from robobase.errors import UserError

SPACE = observation_space()


@pytest.fixture
def pixels():
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (4, 1, 6, 21, 21), generator=generator, dtype=torch.uint8)


def test_the_encoder_learns_in_bfloat16_and_acts_in_float32(pixels):
    exact, rounded = make_drqv2(), make_drqv2(encoder_precision="bfloat16")
    learnt = rounded.encode(pixels)
    assert learnt.dtype == torch.float32
    assert not torch.equal(learnt, exact.encode(pixels))
    torch.testing.assert_close(learnt, exact.encode(pixels), rtol=0.05, atol=0.05)
    exact.train(False), rounded.train(False)
    assert torch.equal(rounded.encode(pixels), exact.encode(pixels))


def test_a_bfloat16_update_leaves_parameters_in_float32():
    agent = make_drqv2(encoder_precision="bfloat16")
    before = [p.clone() for p in agent.encoder.parameters()]
    agent.update(itertools.repeat(make_batch(SPACE)), 0)
    after = list(agent.encoder.parameters())
    assert all(p.dtype == torch.float32 and p.grad.dtype == torch.float32 for p in after)
    assert all(not torch.equal(old, new) for old, new in zip(before, after, strict=True))


def test_auto_follows_the_processor():
    agent = make_drqv2(encoder_precision="auto")
    assert agent.learns_in_bfloat16 == has_fast_bfloat16(torch.device("cpu"))


def test_unknown_precision_names_the_known_ones():
    with pytest.raises(UserError, match=r"float16.*float32, bfloat16, auto"):
        make_drqv2(encoder_precision="float16")
