import torch

from robobase.models.running_norm import CLIP, RunningNorm


def test_statistics_of_batches_are_those_of_all_samples():
    torch.manual_seed(0)
    samples = torch.randn(60, 3) * torch.tensor([1.0, 0.05, 20.0]) + torch.tensor([5.0, 0.2, 0.0])
    norm = RunningNorm(3)
    for batch in samples.split([1, 9, 30, 20]):
        norm.observe(batch.unsqueeze(0))
    torch.testing.assert_close(norm.mean, samples.mean(0), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(norm.variance, samples.var(0, correction=0), rtol=1e-4, atol=1e-6)
    scaled = norm(samples)
    torch.testing.assert_close(scaled.std(0, correction=0), torch.ones(3), rtol=1e-3, atol=1e-3)


def test_nothing_changes_before_the_first_sample():
    x = torch.randn(4, 3)
    torch.testing.assert_close(RunningNorm(3)(x), x)


def test_what_never_moved_in_training_is_clipped():
    norm = RunningNorm(1)
    norm.observe(torch.zeros(8, 1))
    assert norm(torch.tensor([[0.5]])).item() == CLIP


def test_statistics_are_saved():
    norm, other = RunningNorm(2), RunningNorm(2)
    norm.observe(torch.randn(5, 2))
    other.load_state_dict(norm.state_dict())
    x = torch.randn(3, 2)
    assert torch.equal(norm(x), other(x))


def test_what_hardly_moved_at_first_is_not_blown_up():
    norm = RunningNorm(1)
    norm.observe(torch.linspace(0.0149, 0.0151, 50).unsqueeze(1))  # m, a cube on the table
    assert norm(torch.tensor([[0.08]])).item() < CLIP
