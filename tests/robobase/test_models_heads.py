import pytest
import torch
from torch import nn

from robobase import models
from robobase.errors import UserError
from robobase.models.core import get_activation_fn_from_str, get_normalization_fn_from_str
from robobase.models.utils import from_categorical, to_categorical
from robobase.utils import uniform_weight_init

SEQUENCES = {"low_dim_obs": (3, 4), "fused_view_feats": (3, 7)}
VECTORS = {"low_dim_obs": (4,), "fused_view_feats": (7,), "actions": (2,)}


def head(cls=models.MLPWithBottleneckFeatures, shapes=None, **overrides):
    keys = {
        "keys_to_bottleneck": ["fused_view_feats", "low_dim_obs"],
        "bottleneck_size": 5,
        "norm_after_bottleneck": True,
        "tanh_after_bottleneck": True,
        "mlp_nodes": [16, 12],
        "input_shapes": VECTORS if shapes is None else shapes,
        "output_shape": 2,
        "num_envs": 3,
        "num_rnn_layers": 1,
        "rnn_hidden_size": 6,
    }
    return cls(**(keys | overrides))


def vectors(batch=4):
    low_dim, feats = torch.randn(batch, 4), torch.randn(batch, 7)
    return {"low_dim_obs": low_dim, "fused_view_feats": feats, "action": torch.randn(batch, 2)}


def sequences(batch):
    return {"low_dim_obs": torch.randn(batch, 3, 4), "fused_view_feats": torch.randn(batch, 3, 7)}


@pytest.mark.parametrize(("output", "shape"), [(2, (2,)), ([3, 2], (3, 2))])
def test_output_has_the_declared_shape(output, shape):
    model = head(output_shape=output)
    assert model.output_shape == shape
    assert model(vectors()).shape == (4, *shape)


def test_an_input_that_is_no_dict_is_an_assertion_error():
    with pytest.raises(AssertionError):
        head()(torch.zeros(4, 13))


def test_every_input_reaches_the_output():
    x = {key: value.requires_grad_() for key, value in vectors().items()}
    head()(x).sum().backward()
    assert all(value.grad.abs().sum() > 0 for value in x.values())


def test_without_linear_bias_only_the_output_has_one():
    biases = [n for n, _ in head(linear_bias=False).named_parameters() if n.endswith("bias")]
    assert [name for name in biases if ".1." not in name] == ["out_mlp.bias"]


def test_head_without_output_layer_gives_the_last_hidden_layer():
    model = head(models.MLPWithBottleneckFeaturesAndWithoutHead)
    assert model(vectors()).shape == (4, 12) == (4, *model.output_shape)
    with pytest.raises(ValueError, match="no output layer"):
        model.initialize_output_layer(nn.init.zeros_)


def test_output_layer_can_be_initialised():
    model = head()
    model.initialize_output_layer(uniform_weight_init(0.0))
    assert (model(vectors()) == 0).all()


@pytest.mark.parametrize("kind", ["rnn", "mlp"])
@pytest.mark.parametrize("length", [1, 4])
def test_sequence_output_has_one_step_per_action(kind, length):
    model = head(
        models.MLPWithBottleneckFeaturesAndSequenceOutput,
        output_sequence_network_type=kind,
        output_sequence_length=length,
    )
    assert model(vectors()).shape == (4, length, 2) == (4, *model.output_shape)
    if length > 1:
        assert not torch.equal(model(vectors())[:, 0], model(vectors())[:, 1])


def test_unknown_sequence_network_is_a_value_error():
    with pytest.raises(ValueError, match="output_sequence_network_type"):
        head(
            models.MLPWithBottleneckFeaturesAndSequenceOutput,
            output_sequence_network_type="lstm",
            output_sequence_length=2,
        )


def test_inputs_of_rank_three_are_a_value_error():
    with pytest.raises(ValueError, match="low_dim_obs"):
        head(shapes={"low_dim_obs": (3, 4, 5)})


def test_a_head_without_inputs_is_a_user_error():
    with pytest.raises(UserError, match="at least one input"):
        head(shapes={})


def test_evaluation_writes_the_state_and_training_does_not():
    model = head(shapes=SEQUENCES)
    model.train(True)
    assert model(sequences(7)).shape == (7, 2)
    assert (model.hidden_state == 0).all()
    model.train(False)
    model(sequences(2))
    model.reset(0)
    assert (model.hidden_state[:, 0] == 0).all()
    assert (model.hidden_state[:, 1] != 0).any()
    assert (model.hidden_state[:, 2] == 0).all()


def test_stepping_through_a_sequence_equals_reading_it_whole():
    model = head(shapes=SEQUENCES)
    x = sequences(2)
    whole = model.train(True)(x)
    model.train(False)
    for t in range(3):
        stepped = model({key: value[:, t : t + 1].expand(-1, 3, -1) for key, value in x.items()})
    torch.testing.assert_close(stepped, whole)


def test_evaluation_environments_have_states_of_their_own():
    model = head(shapes=SEQUENCES).train(False)
    model(sequences(2))
    before = model.hidden_state[:, :2].clone()
    model.eval_env_running = True
    model(sequences(4))
    assert torch.equal(model.hidden_state[:, :2], before)
    assert (model.hidden_state[:, 2:6].abs().sum(-1) > 0).all()
    model.reset(4)
    assert (model.hidden_state[:, 4] == 0).all()


def test_a_recurrent_head_refuses_a_part_of_its_environments():
    with pytest.raises(UserError, match="2 training environments"):
        head(shapes=SEQUENCES).train(False)(sequences(1))


def test_state_dict_does_not_depend_on_the_number_of_environments():
    head(shapes=SEQUENCES).load_state_dict(head(shapes=SEQUENCES, num_envs=9).state_dict())


def test_categorical_code_is_invertible():
    value = torch.tensor([[-300.0, 0.0], [0.123, 57.0]])
    dist = to_categorical(value)
    assert dist.shape == (2, 251, 2)
    torch.testing.assert_close(dist.sum(1), torch.ones(2, 2))
    torch.testing.assert_close(from_categorical(dist, logits=False), value, rtol=1e-3, atol=1e-3)


def test_categorical_code_clamps_to_its_limits():
    dist = to_categorical(torch.tensor([[9.0], [-9.0]]), limit=2, num_atoms=5, transformation=False)
    assert dist.squeeze(-1).tolist() == [[0, 0, 0, 0, 1], [1, 0, 0, 0, 0]]


@pytest.mark.parametrize("norm", ["layer_for_cnn", "img_ch_layer", "group", "batch2d", "identity"])
def test_image_norms_keep_the_shape(norm):
    x = torch.randn(2, 24, 5, 5)
    assert get_normalization_fn_from_str(norm)(24)(x).shape == x.shape


def test_unknown_names_are_value_errors():
    with pytest.raises(ValueError, match="swish"):
        get_activation_fn_from_str("swish")
    with pytest.raises(ValueError, match="weight"):
        get_normalization_fn_from_str("weight")
