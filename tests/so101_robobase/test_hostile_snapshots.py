"""No snapshot runs code, reads the environment or opens what it names: forms of attack, each kept.

Every attack would make the folder `ran` (with `os.mkdir`), or put the secret into a message.
"""

import os

import pytest
import yaml
from omegaconf import OmegaConf
from tiny_snapshot import save_tiny_snapshot

from robobase import snapshot
from robobase.errors import UserError
from so101_robobase.base.cli import main
from so101_robobase.evaluation.policy import load_policy

SECRET = "a-secret-of-the-environment"


@pytest.fixture(scope="module")
def payload(tmp_path_factory):
    """What a harmless snapshot of a state policy holds."""
    return snapshot.read(save_tiny_snapshot(tmp_path_factory.mktemp("good"), "pixels=false"))


@pytest.fixture
def hostile(payload, tmp_path, monkeypatch):
    """Writes a snapshot whose config was changed by `change(cfg, ran)`; returns its path."""
    monkeypatch.setenv("THE_SECRET", SECRET)

    def write(change, name="0_snapshot.pt"):
        cfg = yaml.safe_load(payload["cfg"])
        changed = change(cfg, str(tmp_path / "ran"))
        text = changed if isinstance(changed, str) else yaml.safe_dump(cfg)
        snapshot.write(tmp_path / name, {**payload, "cfg": text})
        return tmp_path / name

    return write


def test_the_harmless_snapshot_loads(hostile):
    assert load_policy(hostile(lambda cfg, ran: None)).agent is not None


def _call(ran):
    return {"_target_": "os.mkdir", "path": ran}


def _decoded(cfg, ran):
    cfg["payload"] = f"{{_target_: os.mkdir, path: '{ran}'}}"
    cfg["method"]["stddev_clip"] = "${oc.decode:${payload}}"


def _decoded_target(cfg, ran):
    cfg["part"] = "mkdir"
    cfg["method"]["stddev_clip"] = {"_target_": "os.${oc.decode:${part}}", "path": ran}


def _created(cfg, ran):
    cfg["payload"] = _call(ran)
    cfg["method"]["stddev_clip"] = "${oc.create:${payload}}"


def _referenced(cfg, ran):
    cfg["payload"] = _call(ran)
    cfg["method"]["stddev_clip"] = "${payload}"


def _referenced_name(cfg, ran):
    cfg["a"] = "os"
    cfg["method"]["stddev_clip"] = {"_target_": "${a}.mkdir", "path": ran}


def _escaped(cfg, ran):
    cfg["payload"] = f"{{_target_: os.mkdir, path: '{ran}'}}"
    cfg["method"]["stddev_clip"] = "\\\\${oc.decode:${payload}}"


def _relative(cfg, ran):
    cfg["method"]["hidden"] = _call(ran)
    cfg["method"]["stddev_clip"] = "${.hidden}"


def _bracketed(cfg, ran):
    cfg["payload"] = [_call(ran)]
    cfg["method"]["stddev_clip"] = "${payload[0]}"


def _in_a_key(cfg, ran):
    cfg["method"]["${oc.env:THE_SECRET}"] = 1


def _target_in_a_key(cfg, ran):
    cfg["t"] = "_target_"
    cfg["method"]["stddev_clip"] = {"${t}": "os.mkdir", "path": ran}


def _in_a_list(cfg, ran):
    cfg["method"]["actor_model"]["mlp_nodes"] = [[{"a": [_call(ran)]}]]


def _in_the_environment(cfg, ran):
    cfg["env"]["stage"] = _call(ran)


def _as_environment(cfg, ran):
    cfg["env_factory"] = _call(ran)


def _as_method(cfg, ran):
    cfg["method"] = _call(ran)


def _as_logger(cfg, ran):
    cfg["logger"] = _call(ran)


def _as_ranking(cfg, ran):
    cfg["snapshot_keeper"]["ranking"] = _call(ran)


def _as_intrinsic_reward(cfg, ran):
    cfg["intrinsic_reward_module"] = _call(ran)


def _positional(cfg, ran):
    cfg["method"]["actor_model"] |= {"_target_": "os.mkdir", "_args_": [ran]}


def _partial(cfg, ran):
    cfg["method"]["actor_model"] = {"_target_": "os.mkdir", "_partial_": True, "path": ran}


def _partial_of_a_partial(cfg, ran):
    cfg["method"]["actor_model"] = {
        "_target_": "functools.partial",
        "_args_": [{"_target_": "hydra.utils.get_method", "path": "os.mkdir"}, ran],
    }


def _through_hydra(cfg, ran):
    cfg["method"]["stddev_clip"] = {"_target_": "hydra.utils.instantiate", "config": _call(ran)}


def _through_our_import(cfg, ran):
    cfg["method"]["stddev_clip"] = {"_target_": "robobase.run_folder.os.mkdir", "path": ran}


def _through_our_builder(cfg, ran):
    cfg["method"]["stddev_clip"] = {
        "_target_": "robobase.build.instantiate",
        "_recursive_": False,
        "config": _call(ran),
    }


def _through_our_loader(cfg, ran):
    cfg["method"]["stddev_clip"] = {
        "_target_": "so101_robobase.evaluation.policy.load_policy",
        "snapshot": os.path.join(os.path.dirname(ran), "second.pt"),
        "trusted": ["os", "torch", "posix"],
    }


def _through_our_command_line(cfg, ran):
    cfg["method"]["stddev_clip"] = {
        "_target_": "so101_robobase.base.cli.main",
        "argv": ["runs", "compare", os.path.dirname(ran), "--output", ran],
    }


def _through_our_files(cfg, ran):
    cfg["method"]["stddev_clip"] = {
        "_target_": "robobase.snapshot.write",
        "path": {"_target_": "pathlib.Path", "_args_": [ran]},
        "payload": {},
    }


def _our_class_out_of_place(cfg, ran):
    cfg["method"]["stddev_clip"] = {
        "_target_": "robobase.snapshot.SnapshotKeeper",
        "directory": ran,
    }


def _method_in_place_of_a_model(cfg, ran):
    cfg["method"]["actor_model"]["_target_"] = "robobase.method.bc.BC"


def _method_that_is_abstract(cfg, ran):
    cfg["method"]["_target_"] = "robobase.method.core.Method"


def _converted(cfg, ran):
    cfg["method"]["_convert_"] = "all"


def _not_recursive(cfg, ran):
    cfg["method"]["_recursive_"] = False


def _mode(cfg, ran):
    cfg["env_factory"]["_partial_"] = True


def _target_that_is_a_list(cfg, ran):
    cfg["method"]["stddev_clip"] = {"_target_": ["os.mkdir"], "path": ran}


def _tagged(cfg, ran):
    return f"a: !!python/object/apply:os.mkdir ['{ran}']\n" + yaml.safe_dump(cfg)


def _tagged_path(cfg, ran):
    return yaml.safe_dump(cfg) + "b: !!python/object/apply:pathlib.PosixPath [/etc]\n"


def _aliased(cfg, ran):
    call = _call(ran)
    cfg["a"], cfg["method"]["stddev_clip"] = call, call


def _merged(cfg, ran):
    """YAML's own way to put keys into a group."""
    return yaml.safe_dump(cfg) + f"more: {{<<: {{_target_: os.mkdir, path: '{ran}'}}}}\n"


def _flow_in_text(cfg, ran):
    cfg["method"]["stddev_schedule"] = f"{{_target_: os.mkdir, path: '{ran}'}}"


def _settings_of_its_own(cfg, ran):
    cfg["env_settings"] = "os.mkdir"
    cfg["method"]["stddev_clip"] = "${env_settings}"


def _reward_in_the_method(cfg, ran):
    cfg["method"]["intrinsic_reward_module"] = _call(ran)


def _factory_with_arguments(cfg, ran):
    cfg["env_factory"]["demos"] = _call(ran)


def _method_of_another_case(cfg, ran):
    cfg["method"]["_target_"] = "robobase.method.drqv2.drqv2"


def _module_in_place_of_a_class(cfg, ran):
    cfg["method"]["_target_"] = "robobase.method.drqv2"


def _attribute_of_a_class(cfg, ran):
    cfg["method"]["_target_"] = "robobase.method.drqv2.DrQV2.act.__globals__"


def _network_filled_in(cfg, ran):
    cfg["method"]["actor_model"]["input_shapes"] = {"a": _call(ran)}


def _references_to_each_other(cfg, ran):
    cfg["a"], cfg["b"] = "${b}", "${a}"


RUN_CODE = [
    value for name, value in list(globals().items()) if name.startswith("_") and callable(value)
]
RUN_CODE = [form for form in RUN_CODE if form.__module__ == __name__ and form is not _call]


@pytest.mark.parametrize("form", RUN_CODE, ids=lambda form: form.__name__)
def test_nothing_that_a_config_names_is_run(hostile, tmp_path, form):
    hostile(lambda cfg, ran: cfg["method"].update(actor_model=_call(ran)), "second.pt")
    with pytest.raises(UserError) as refused:
        load_policy(hostile(form))
    assert not (tmp_path / "ran").exists()
    assert "\n" not in str(refused.value)
    assert SECRET not in str(refused.value)


@pytest.mark.parametrize("trusted", ["os", "torch", "posix", "robobase", "so101_robobase", "hydra"])
@pytest.mark.parametrize(
    "form",
    [_through_our_loader, _through_our_command_line, _through_hydra, _as_environment, _as_method],
)
def test_trust_in_a_package_lets_no_function_be_called(hostile, tmp_path, trusted, form):
    hostile(lambda cfg, ran: cfg["method"].update(actor_model=_call(ran)), "second.pt")
    with pytest.raises(UserError):
        load_policy(hostile(form), trusted=[trusted])
    assert not (tmp_path / "ran").exists()


SECRETS = {
    "as a value": lambda cfg: cfg["env"].update(renderer="${oc.env:THE_SECRET}"),
    "with a default": lambda cfg: cfg["env"].update(renderer="${oc.env:NONE,${oc.env:THE_SECRET}}"),
    "inside a word": lambda cfg: cfg["env"].update(renderer="a${oc.env:THE_SECRET}b"),
    "as a name": lambda cfg: (
        cfg["env"].update(renderer="${oc.env:${n}}") or cfg.update(n="THE_SECRET")
    ),
    "in a path": lambda cfg: cfg["env"]["sight"].update(segmentation="${oc.env:THE_SECRET}"),
    "as a target": lambda cfg: cfg["method"].update(_target_="${oc.env:THE_SECRET}"),
    "nowhere used": lambda cfg: cfg.update(unused="${oc.env:THE_SECRET}"),
    "in a list": lambda cfg: cfg.update(unused=[["${oc.env:THE_SECRET}"]]),
    "as a key": lambda cfg: cfg.update({"${oc.env:THE_SECRET}": 1}),
    "of now": lambda cfg: cfg.update(unused="${now:%Y}"),
    "of hydra": lambda cfg: cfg.update(unused="${hydra:runtime.cwd}"),
    "by index": lambda cfg: cfg.update(unused="${oc.dict.values:env}"),
}


@pytest.mark.parametrize("form", SECRETS.values(), ids=SECRETS)
def test_no_resolver_works_in_a_stored_config(hostile, form, capsys):
    path = hostile(lambda cfg, ran: form(cfg) and None)
    with pytest.raises(UserError) as refused:
        load_policy(path)
    assert SECRET not in str(refused.value)
    assert main(["evaluate", str(path), "--num_episodes", "1", "--no_video"]) == 2
    assert SECRET not in "".join(capsys.readouterr())


def test_a_message_does_not_steer_the_terminal(hostile, capsys):
    def change(cfg, ran):
        cfg["method"]["_target_"] = "\x1b]0;gone\x07\x1b[2J"

    path = hostile(change)
    assert main(["evaluate", str(path), "--num_episodes", "1", "--no_video"]) == 2
    path = hostile(lambda cfg, ran: _set(cfg, "env.renderer", "\x1b[2J\x9b31m"))
    assert main(["evaluate", str(path), "--num_episodes", "1", "--no_video"]) == 2
    told = "".join(capsys.readouterr()).replace("\n", "")
    assert told
    assert told.isprintable()


OPENED = {
    "env.sight.segmentation": "/etc/passwd",
    "env.sight.depth": "somebody/model",
    "env.scene.robot_xml": "/etc/passwd",
    "env.scene.alignment": "/etc/passwd",
    "env.corruption.report": "/etc/passwd",
}


def _set(cfg, key, value):
    *parents, last = key.split(".")
    for parent in parents:
        cfg = cfg[parent]
    cfg[last] = value


@pytest.mark.parametrize("key", OPENED)
def test_what_a_snapshot_names_is_opened_only_if_the_user_names_it_too(hostile, key):
    path = hostile(lambda cfg, ran: _set(cfg, key, OPENED[key]))
    with pytest.raises(UserError, match=rf"--overrides {key}="):
        load_policy(path)
    neutral = "scene" if key == "env.sight.depth" else None
    assert load_policy(path, overrides={key: neutral}).agent is not None


@pytest.mark.parametrize("key", ["env.scene.robot_xml", "env.scene.alignment"])
@pytest.mark.parametrize("stored", [None, "/etc/passwd"])
def test_a_file_that_the_user_names_is_opened(hostile, tmp_path, key, stored):
    path = hostile(lambda cfg, ran: _set(cfg, key, stored))
    with pytest.raises(UserError, match="nowhere"):
        load_policy(path, overrides={key: str(tmp_path / "nowhere")})


def test_a_group_that_the_user_gives_counts_for_the_keys_in_it(hostile):
    path = hostile(lambda cfg, ran: _set(cfg, "env.sight.segmentation", "/etc/passwd"))
    sight = {"segmentation": None, "depth": "scene", "camera": [640, 480]}
    assert load_policy(path, overrides={"env.sight": sight}).agent is not None


def test_outputs_that_a_snapshot_names_are_forgotten(hostile, tmp_path):
    def change(cfg, ran):
        cfg["resume_from"] = cfg["tb"]["log_dir"] = cfg["replay"]["save_dir"] = ran
        cfg["tb"]["use"] = cfg["wandb"]["use"] = True
        cfg["wandb"] |= {"project": ran, "entity": "somebody"}
        cfg["hydra"] = {"run": {"dir": ran}}

    cfg = load_policy(hostile(change)).cfg
    assert not (tmp_path / "ran").exists()
    assert str(tmp_path) not in OmegaConf.to_yaml(cfg)
    assert (cfg.resume_from, cfg.replay.save_dir, cfg.tb.log_dir) == (None, None, None)
    assert (cfg.tb.use, cfg.wandb.use, cfg.wandb.entity) == (False, False, None)
    assert "hydra" not in cfg
