"""Every setting of `env=so101_lift`, with every method and preset: kind, range and readers."""

import contextlib
import functools
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hydra import compose, initialize_config_module
from omegaconf import DictConfig, OmegaConf, flag_override

from robobase import sanity
from robobase.errors import UserError
from robobase.settings import tree
from robobase.settings.check import check_values, declared
from robobase.settings.footprint import check_memory, estimate
from robobase.settings.readers import Readers, check_effect
from so101_robobase.sim.engine import Engine
from so101_robobase.sim.variation import Variation
from so101_robobase.tasks.lift.config import LiftConfig, LiftSettings

HERE = Path(__file__).parent
LAUNCHES = sorted(path.stem for path in HERE.parents[1].joinpath("cfgs/launch").glob("*.yaml"))
RUNS = [
    *([f"launch={launch}"] for launch in LAUNCHES),
    *(["env=so101_lift", f"method={method}"] for method in ("drqv2", "sac", "ppo", "dagger")),
    ["env=so101_lift", "method=bc", "demos=10"],
    ["env=so101_lift", "pixels=false", "intrinsic_reward_module=icm"],
    ["env=so101_lift", "intrinsic_reward_module=rnd"],
]
ABSENT = object()
TASK = LiftSettings().settings()
BAD = [
    *("", " ", "1", "abc", "nan", "linear(1,0)", "linear(1,0,-5)", "linear(nan,0,5)", "maybe"),
    *("${nope}", "a\nb", "\0", "linear(" + 5000 * "1"),
    *(-1, 0, 1.5, 5, -1e-9, 1e9, 1e12, 1e300, -1e300, 10**400, math.nan, math.inf, -math.inf),
    *(True, False, None),
    *([], {}, [0, 1], [1, 0], [[1]], [None], [math.nan] * 6, ["a"], {"a": 1}, {"a": {"b": None}}),
    *({0: -1}, {0: math.nan}, {7: 1.0}, 2000 * [1]),
]


@functools.cache
def composed(*overrides: str) -> DictConfig:
    """Composed once, because it takes a while: tests put back what they change."""
    with initialize_config_module("robobase.cfgs", version_base=None):
        return compose("robobase_config", overrides=list(overrides))


def keys_of(cfg: DictConfig) -> list[str]:
    return [key for key, _ in tree.leaves(tree.raw(cfg), stop_at=declared(cfg, TASK))]


@contextlib.contextmanager
def altered(cfg: DictConfig, key: str, value: Any) -> Iterator[DictConfig]:
    """The config with another value, which replaces a group too."""
    group, _, name = key.rpartition(".")
    parent = OmegaConf.select(cfg, group) if group else cfg
    before = tree.raw(parent).get(name, ABSENT)
    with flag_override(cfg, "struct", False):
        try:
            parent[name] = value
            yield cfg
        finally:
            del parent[name]
            if before is not ABSENT:
                parent[name] = before


def overridden(cfg: DictConfig, override: str) -> contextlib.AbstractContextManager[DictConfig]:
    key, _, _ = override.partition("=")
    return altered(cfg, key, OmegaConf.select(OmegaConf.from_dotlist([override]), key))


def refused_or_legal(cfg: DictConfig, key: str, value: Any, check: Any) -> None:
    """One line, or a value that the kind of the setting allows; anything else fails."""
    with altered(cfg, key, value):
        try:
            check(cfg)
        except UserError as error:
            line = str(error)
        else:
            kinds = declared(cfg, TASK)
            if key in kinds and not tree.has_reference(value):
                kinds[key].kind(value)
            return
    assert "\n" not in line, key
    assert len(line) < 700, key


@pytest.mark.parametrize("run", RUNS, ids=" ".join)
def test_every_setting_is_declared(run):
    cfg = composed(*run)
    known = declared(cfg, TASK)
    left = [key for key in keys_of(cfg) if key not in known]
    assert [key for key in left if not key.endswith(("._target_", "._partial_"))] == []
    sanity.check(cfg)


def test_a_setting_without_a_declaration_is_found():
    cfg = composed("env=so101_lift")
    for override, message in (
        ("replay.new=1", r"replay\.new is unknown"),
        ("env.control.jont_scale=1", r"did you mean env\.control\.joint_scale"),
    ):
        with overridden(cfg, override), pytest.raises(UserError, match=message):
            sanity.check(cfg)


def test_bad_values_of_every_setting_are_refused_in_one_line():
    cfg = composed("launch=demos")
    for i, key in enumerate(keys_of(cfg)):
        refused_or_legal(cfg, key, BAD[7 * i % len(BAD)], lambda cfg: check_values(cfg, TASK))


@pytest.mark.slow
@pytest.mark.parametrize("run", [RUNS[LAUNCHES.index("demos")], *RUNS[-5:-3]], ids=" ".join)
def test_every_bad_value_of_every_setting_is_refused_in_one_line_or_allowed_by_its_kind(run):
    cfg = composed(*run)
    keys = keys_of(cfg)
    groups = {group for key in keys for group in tree.groups_above(key)}
    for key in [*keys, *sorted(groups)]:
        for value in BAD:
            refused_or_legal(cfg, key, value, sanity.check)


@pytest.mark.parametrize(
    "override",
    [
        *("seed=-1", "seed=1.5", "seed='1'", "seed=abc", "seed=nan"),
        *("env.stddev_schedule=nonsense", "env.stddev_schedule='linear(1,0)'"),
        *("env.stddev_schedule=-0.1", "env.stddev_schedule='linear(1,-1,1000)'"),
        *("env.stage=[0,1]", "eval_seed=-5", "utd_ratio=inf", "batch_size=1e12"),
        *("num_train_envs=1e9", "env.cube_jitter=inf", "env.cube_jitter=5", "pixels=maybe"),
        *("pixels=5", "method.critic_target_tau=5", "action_repeat=1000"),
        "env.control.joint_scale=[1e9,1e9,1e9,1e9,1e9,1e9]",
        "env.control.max_lead=[inf,1,1,1,1,1]",
        *("demos=2.5", "replay.alpha=nan", "method.actor_model.mlp_nodes=[]"),
        *("env.cube_box.x=[0.8,0.9]", "env.cube_box.y=[-0.45,0.45]", "env.lift_height=100"),
        *("num_threads=1000", "num_train_envs=100000", "num_eval_episodes=1e9"),
        *("frame_stack=1000000", "env.image_size=20000", "env.sight.camera=[20000,20000]"),
        *("demos=1e7", "method.actor_model.mlp_nodes=[16384,16384,16384,16384,16384]"),
    ],
)
def test_what_used_to_crash_or_crawl_is_one_line(override):
    cfg = composed("env=so101_lift")
    with overridden(cfg, override), pytest.raises(UserError) as error:
        sanity.check(cfg)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("override", "advice"),
    [
        ("num_train_envs=100000", "lower num_train_envs"),
        ("replay.size=1e9", r"lower replay\.size"),
        ("batch_size=1e6", "lower batch_size"),
    ],
)
def test_memory_is_estimated_before_a_run_and_the_largest_part_is_named(override, advice):
    cfg = composed("env=so101_lift", "num_gpus=0")
    needs = rf"needs about [\d,.]+ GiB of memory .* {advice}"
    with overridden(cfg, override), pytest.raises(UserError, match=needs):
        sanity.check(cfg)


def test_presets_fit_into_a_laptop():
    for launch in LAUNCHES:
        cfg = composed(f"launch={launch}")
        assert sum(estimate(cfg, LiftSettings().memory(cfg)).values()) < 5 * 2**30, launch


def test_nothing_is_refused_where_memory_is_not_known(monkeypatch):
    monkeypatch.setattr("robobase.settings.footprint.available_memory", lambda: None)
    check_memory(composed("env=so101_lift", "num_train_envs=100000"), None)


# ---- Settings that nothing reads


@pytest.mark.parametrize(
    ("run", "given", "why"),
    [
        ("launch=teacher", "method.actor_lr=1e-2", "DAgger does not take it; did you mean lr"),
        ("launch=teacher", "num_explore_steps=5", "does not explore"),
        ("launch=teacher", "env.stddev_schedule=0.5", "no such noise"),
        ("launch=teacher", "replay.gamma=0.9", "env.on_success=bonus"),
        ("env=so101_lift", "env.corruption.boundary=2", "env.corruption.enabled on"),
        ("env=so101_lift", "env.randomization.visual.blur=[0,1]", "enabled on"),
        ("env=so101_lift", "env.randomization.physical.friction=[1,1]", "enabled on"),
        ("env=so101_lift", "env.control.cartesian_scale=0.01", "env.control.mode=cartesian"),
        ("env=so101_lift", "replay.alpha=0.5", "replay.prioritization on"),
        ("env=so101_lift", "replay.demo_size=100", "demo_batch_size given"),
        ("env=so101_lift", "replay.save_dir=here", "replay.memory_mapped on"),
        ("env=so101_lift", "method.bc_lambda=1", "demos on"),
        ("env=so101_lift", "temporal_ensemble_gain=1", "execution_length below"),
        ("env=so101_lift", "visual_observation_shape=[64,64]", "env.image_size"),
        ("env=so101_lift", "method.view_fusion_lr=1", "one camera"),
        ("env=so101_lift", "env.teacher=true", "method.teacher_share"),
        ("env=so101_lift", "env.cube_box.x=[0.2,0.3]", "starts in stage 0"),
        ("env=so101_lift env.stage=0", "env.cube_jitter=0.01", "starts in stage 1 to 4"),
        ("env=so101_lift utd_ratio=1", "update_every_steps=8", "utd_ratio=null"),
        ("env=so101_lift eval_every_steps=null", "num_eval_episodes=5", "eval_every_steps above"),
        ("env=so101_lift log_eval_video=false", "log_eval_video_every_n_evals=2", "log_eval_video"),
        ("env=so101_lift save_snapshot=false", "snapshot_every_n=5", "save_snapshot on"),
        ("env=so101_lift tb.use=false", "tb.log_dir=here", "tb.use on"),
        ("env=so101_lift", "wandb.project=mine", "wandb.use on"),
        ("env=so101_lift pixels=false", "env.observation=seg", "pixels on"),
        ("env=so101_lift pixels=false", "method.encoder_lr=1e-3", "pixels on"),
        ("env=so101_lift pixels=false", "env.image_size=64", "env.observation="),
        ("env=so101_lift env.observation=state", "method.encoder_lr=1e-3", "pixels on"),
        ("env=so101_lift env.observation=state", "pixels=true", "another env.observation"),
        ("launch=robust env.observation=seg", "env.corruption.depth=true", "env.observation=seg_"),
        ("env=so101_lift method=ppo", "batch_size=64", "method.rollout_length=null"),
        ("env=so101_lift method=ppo", "replay.size=64", "method.rollout_length=null"),
        ("env=so101_lift", "env.action_repeat=4", "nothing reads it; did you mean"),
        (
            "launch=robust",
            "env.randomization.physical.velocity_noise=[0,1]",
            "joint_velocity=exact",
        ),
        ("launch=robust", "env.scene.cube_friction=[1.5,0.05,0.001]", "enabled off"),
        (
            "launch=robust env.randomization.physical.cube_edge=[0.03,0.04]",
            "env.scene.cube_half_size=0.018",
            "cube_edge=null",
        ),
    ],
)
def test_what_nothing_reads_is_told_with_the_reason(run, given, why):
    key = given.partition("=")[0]
    with overridden(composed(*run.split()), given) as cfg:
        reason = Readers(cfg, TASK).why_not(key)
        assert reason is not None
        assert why in reason
        with pytest.raises(UserError, match=f"no effect here: {key}="):
            check_effect(cfg, {key: OmegaConf.select(cfg, key)}, TASK)


@pytest.mark.parametrize(
    ("run", "given"),
    [
        ("env=so101_lift", "num_explore_steps=5"),  # through method.num_explore_steps
        ("env=so101_lift", "env.stddev_schedule=0.5"),
        ("env=so101_lift method=ppo", "replay.gamma=0.9"),
        ("env=so101_lift method=bc demos=5", "num_pretrain_steps=100"),
        ("env=so101_lift", "env.num_classes=6"),
        ("launch=teacher", "method.lr=1e-2"),
        ("launch=teacher env.on_success=bonus", "replay.gamma=0.9"),
        ("launch=robust", "env.scene.cube_half_size=0.018"),
        ("launch=robust", "env.scene.cube_mass=0.05"),
        ("launch=robust", "env.corruption.boundary=2"),
        ("launch=state", "env.observation=state"),
        ("launch=anywhere", "env.cube_box.x=[0.2,0.3]"),
        ("env=so101_lift num_train_envs=0 eval_every_steps=null", "num_eval_episodes=5"),
        ("env=so101_lift action_sequence=4", "method.actor_model.output_sequence_network_type=mlp"),
    ],
)
def test_what_is_read_through_another_setting_counts(run, given):
    with overridden(composed(*run.split()), given) as cfg:
        assert Readers(cfg, TASK).why_not(given.partition("=")[0]) is None


def test_a_setting_that_is_a_mapping_counts_as_one():
    cfg = composed("env=so101_lift", "env.stage={0: 0.6, 3: 0.4}")
    check_effect(cfg, {"env.stage.0": 0.6, "env.stage.3": 0.4}, TASK)
    weights = {f"env.randomization.visual.table_patterns.{name}": 1.0 for name in ("wood", "noise")}
    with pytest.raises(UserError, match=r"this setting has no effect here: \S+\.table_patterns="):
        check_effect(cfg, weights, TASK)


def test_turning_off_what_is_off_is_no_mistake():
    cfg = composed("env=so101_lift")
    check_effect(
        cfg, {"demo_batch_size": None, "replay.prioritization": False, "tb.name": None}, TASK
    )


def test_a_cube_of_another_size_is_simulated_by_every_preset():
    for launch in LAUNCHES:
        overrides = ["env.scene.cube_half_size=0.018", "env.scene.cube_mass=0.05"]
        config = LiftConfig.from_cfg(composed(f"launch={launch}", *overrides))
        variation = Variation(config.randomization.physical, Engine(config.build_scene(), 1))
        variation.redraw(np.array([0]), [np.random.default_rng(0)], np.array([0.036]))
        assert variation.cube_half_size == pytest.approx([0.018]), launch
        if config.randomization.physical.enabled:
            assert variation.drawn["cube_mass"] == pytest.approx([0.05]), launch


def test_a_range_that_leaves_out_the_scenes_cube_is_refused():
    cfg = composed(
        "env=so101_lift",
        "env.randomization.physical.enabled=true",
        "env.scene.cube_half_size=0.025",
    )
    with pytest.raises(UserError, match=r"edges of 0\.05, but episodes get .*cube_edge=\[0\.024, "):
        sanity.check(cfg)
