"""Fully connected heads of actors and critics, with an optional recurrent net over time."""

import math
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import nn

from robobase.errors import UserError
from robobase.models.core import (
    RoboBaseModule,
    get_activation_fn_from_str,
    get_normalization_fn_from_str,
)
from robobase.utils import weight_init


class FullyConnectedModule(RoboBaseModule):
    """A head on named inputs; `output_shape` is without the batch axis.

    `eval_env_running` tells a head with state which environments it acts for.
    """

    def __init__(
        self,
        input_shapes: Mapping[str, Sequence[int]],
        output_shape: int | Sequence[int],
    ):
        super().__init__()
        self.input_shapes = {
            name: tuple(int(n) for n in shape) for name, shape in input_shapes.items()
        }
        sizes = [output_shape] if isinstance(output_shape, int) else output_shape
        self._output_shape = tuple(int(n) for n in sizes)
        self.eval_env_running = False

    @property
    def output_shape(self) -> tuple[int, ...]:
        return self._output_shape

    def reset(self, env_index: int) -> None:
        """Forget what was seen in environment `env_index`; a head without state has nothing to."""


class RNNFullyConnectedModule(FullyConnectedModule):
    """A head whose inputs are `(Z,)` or sequences `(T, Z)`; keeps a hidden state per environment.

    `num_envs` counts the training environments plus one for evaluation; `hidden_state` is
    `(num_rnn_layers, num_envs, rnn_hidden_size)` and gains columns when more than one evaluation
    environment runs. It is no part of the state dict, whose shapes must not depend on how many
    environments a run has. Raises ValueError for an input of another rank.
    """

    hidden_state: torch.Tensor

    def __init__(
        self,
        input_shapes: Mapping[str, Sequence[int]],
        output_shape: int | Sequence[int],
        num_envs: int,
        num_rnn_layers: int,
        rnn_hidden_size: int,
    ):
        super().__init__(input_shapes, output_shape)
        for name, shape in self.input_shapes.items():
            if len(shape) not in (1, 2):
                raise ValueError(f"input {name!r} has shape {shape}; allowed: (Z,) or (T, Z)")
        sequences = [shape[0] for shape in self.input_shapes.values() if len(shape) == 2]
        self.input_time_dim_size = sequences[0] if sequences else -1
        self.num_train_envs = num_envs - 1
        hidden_state = torch.zeros(num_rnn_layers, num_envs, rnn_hidden_size)
        self.register_buffer("hidden_state", hidden_state, persistent=False)

    def reset(self, env_index: int) -> None:
        """Zero the hidden state of one environment; evaluation environments come last."""
        if env_index < self.hidden_state.shape[1]:
            self.hidden_state[:, env_index] = 0

    def step_rnn(self, rnn: nn.GRU, x: torch.Tensor) -> torch.Tensor:
        """Run `rnn` on the newest of `(B, T, F)` and remember each environment's new state."""
        first = self.num_train_envs if self.eval_env_running else 0
        columns = slice(first, first + len(x))
        if self.eval_env_running:
            missing = columns.stop - self.hidden_state.shape[1]
            if missing > 0:
                self.hidden_state = nn.functional.pad(self.hidden_state, (0, 0, 0, missing))
        elif len(x) != self.num_train_envs:
            raise UserError(
                f"a recurrent head for {self.num_train_envs} training environments was given a "
                f"batch of {len(x)}; act on all of them at once"
            )
        out, state = rnn(x[:, -1:], self.hidden_state[:, columns].contiguous())
        self.hidden_state[:, columns] = state.detach()
        return out


class MLPWithBottleneckFeatures(RNNFullyConnectedModule):
    """Bottlenecks, hidden layers and a linear output: a dict of `(B, ...)` to `(B, *output_shape)`.

    Args:
        keys_to_bottleneck: inputs that first go through Linear(bottleneck_size), then LayerNorm
            if `norm_after_bottleneck`, then tanh if `tanh_after_bottleneck`.
        mlp_nodes: widths of the hidden layers, each followed by `norm` and `activation`.
        linear_bias: False leaves the bias out of all layers but the output.
        input_shapes, output_shape, num_envs, num_rnn_layers, rnn_hidden_size: see
            `RNNFullyConnectedModule`. A recurrent net is there only if an input has a time axis.
    """

    def __init__(
        self,
        keys_to_bottleneck: Sequence[str],
        bottleneck_size: int,
        norm_after_bottleneck: bool,
        tanh_after_bottleneck: bool,
        mlp_nodes: Sequence[int],
        activation: str = "relu",
        norm: str = "identity",
        linear_bias: bool = True,
        *,
        input_shapes: Mapping[str, Sequence[int]],
        output_shape: int | Sequence[int],
        num_envs: int,
        num_rnn_layers: int,
        rnn_hidden_size: int,
    ):
        super().__init__(input_shapes, output_shape, num_envs, num_rnn_layers, rnn_hidden_size)
        if not self.input_shapes:
            raise UserError("a head needs at least one input; none of its observations exist")
        sizes = {name: shape[-1] for name, shape in self.input_shapes.items()}
        self.input_preprocess_modules = nn.ModuleDict()
        for key in keys_to_bottleneck:
            if key in sizes:
                layers: list[nn.Module] = [nn.Linear(sizes[key], bottleneck_size, linear_bias)]
                if norm_after_bottleneck:
                    layers.append(nn.LayerNorm(bottleneck_size))
                if tanh_after_bottleneck:
                    layers.append(nn.Tanh())
                self.input_preprocess_modules[key] = nn.Sequential(*layers)
                sizes[key] = bottleneck_size
        width = sum(sizes.values())

        self.time_dim_rnn: nn.GRU | None = None
        if self.input_time_dim_size > 0:
            self.time_dim_rnn = nn.GRU(width, rnn_hidden_size, num_rnn_layers, batch_first=True)
            width = rnn_hidden_size

        activation_cls = get_activation_fn_from_str(activation)
        norm_fn = get_normalization_fn_from_str(norm)
        hidden: list[nn.Module] = []
        for nodes in mlp_nodes:
            hidden += [nn.Linear(width, nodes, linear_bias), norm_fn(nodes), activation_cls()]
            width = nodes
        self.main_mlp = nn.Sequential(*hidden)
        self.feature_size = width
        self.out_mlp = self._build_output()
        self.apply(weight_init)

    def _build_output(self) -> nn.Module:
        return nn.Linear(self.feature_size, math.prod(self._output_shape))

    def forward(self, x: Mapping[str, torch.Tensor]) -> torch.Tensor:
        return self.out_mlp(self.features(x)).unflatten(-1, self._output_shape)

    def features(self, x: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Named `(B, Z)` or `(B, T, Z)` inputs to `(B, feature_size)`.

        In training mode a recurrent net reads the whole sequence from a zero state; in
        evaluation mode it reads the newest step and goes on from its environments' states.
        """
        assert isinstance(x, Mapping), f"expected a dict of tensors, got {type(x).__name__}"
        parts = [module(x[key]) for key, module in self.input_preprocess_modules.items()]
        parts += [value for key, value in x.items() if key not in self.input_preprocess_modules]
        if self.time_dim_rnn is None:
            return self.main_mlp(torch.cat(parts, dim=-1))
        steps = self.input_time_dim_size
        parts = [p.unsqueeze(1).expand(-1, steps, -1) if p.ndim == 2 else p for p in parts]
        sequence = torch.cat(parts, dim=-1)
        if self.training:
            out, _ = self.time_dim_rnn(sequence)
        else:
            out = self.step_rnn(self.time_dim_rnn, sequence)
        return self.main_mlp(out[:, -1])

    def initialize_output_layer(self, fn: Callable[[nn.Module], None]) -> None:
        """Apply the initialiser `fn` to the output layer."""
        self.out_mlp.apply(fn)


class MLPWithBottleneckFeaturesAndWithoutHead(MLPWithBottleneckFeatures):
    """As `MLPWithBottleneckFeatures` without the output layer: gives `(B, mlp_nodes[-1])`."""

    def _build_output(self) -> nn.Module:
        return nn.Identity()

    @property
    def output_shape(self) -> tuple[int, ...]:
        return (self.feature_size,)

    def forward(self, x: Mapping[str, torch.Tensor]) -> torch.Tensor:
        return self.features(x)

    def initialize_output_layer(self, fn: Callable[[nn.Module], None]) -> None:
        """Raises ValueError: there is no output layer."""
        raise ValueError(f"{type(self).__name__} has no output layer to initialise")


class MLPWithBottleneckFeaturesAndSequenceOutput(MLPWithBottleneckFeatures):
    """As `MLPWithBottleneckFeatures`, giving a sequence: `(B, sequence, *output_shape)`.

    `output_sequence_network_type`: "rnn" unrolls one GRU layer over the sequence and shares one
    linear output, "mlp" gives all steps from one linear layer; else ValueError. A sequence of one
    needs no GRU.
    """

    def __init__(self, output_sequence_network_type: str, output_sequence_length: int, *args, **kw):
        if output_sequence_network_type not in ("rnn", "mlp"):
            raise ValueError(
                f"output_sequence_network_type={output_sequence_network_type!r} is unknown; "
                "known: rnn, mlp"
            )
        self.output_sequence_length = int(output_sequence_length)
        self.unrolls = output_sequence_network_type == "rnn" and self.output_sequence_length > 1
        super().__init__(*args, **kw)

    def _build_output(self) -> nn.Module:
        size, steps = math.prod(self._output_shape), self.output_sequence_length
        if self.unrolls:
            return nn.Sequential(GRU(self.feature_size, steps), nn.Linear(self.feature_size, size))
        return nn.Linear(self.feature_size, steps * size)

    @property
    def output_shape(self) -> tuple[int, ...]:
        return (self.output_sequence_length, *self._output_shape)

    def forward(self, x: Mapping[str, torch.Tensor]) -> torch.Tensor:
        return self.out_mlp(self.features(x)).reshape(-1, *self.output_shape)

    def initialize_output_layer(self, fn: Callable[[nn.Module], None]) -> None:
        """Apply the initialiser `fn` to the final linear layer."""
        final = self.out_mlp[-1] if isinstance(self.out_mlp, nn.Sequential) else self.out_mlp
        final.apply(fn)


class GRU(nn.Module):
    """Unrolls a feature `(B, nodes)` to a sequence `(B, sequence_length, nodes)`."""

    def __init__(self, nodes: int, sequence_length: int):
        super().__init__()
        self.sequence_length = sequence_length
        self.gru = nn.GRU(nodes, nodes, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.gru(x.unsqueeze(1).expand(-1, self.sequence_length, -1))[0]
