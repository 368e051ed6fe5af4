"""A config in a file is plain data: what it may say, and what it may refer to."""

import hydra
import pytest
import yaml
from omegaconf import OmegaConf

from robobase.errors import UserError
from robobase.stored_config import forget_outputs, parse, to_text


def parsed(**keys):
    return parse(yaml.safe_dump(keys), "a_snapshot.pt")


def refusal(text) -> str:
    text = text if isinstance(text, str) else yaml.safe_dump(text)
    with pytest.raises(UserError) as caught:
        parse(text, "a_snapshot.pt")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600
    return str(caught.value)


def test_what_is_written_is_resolved_and_read_alike():
    cfg = OmegaConf.create(
        {
            "a": 1e-5,
            "b": "1e-5",
            "c": "${a}",
            "d": {3: [True, None, "${b}"]},
            "method": {"x": "???"},
        }
    )
    text = to_text(cfg)
    assert "${" not in text
    assert parse(text, "a_snapshot.pt") == {
        "a": 1e-5,
        "b": "1e-5",
        "c": 1e-5,
        "d": {3: [True, None, "1e-5"]},
        "method": {"x": "???"},
    }


@pytest.mark.parametrize("method", ["drqv2", "sac", "ppo", "bc", "dagger"])
def test_every_config_of_the_engine_survives(method):
    with hydra.initialize_config_module("robobase.cfgs", version_base=None):
        cfg = hydra.compose("robobase_config", [f"method={method}", "+env={stddev_schedule: 1.0}"])
    assert parse(to_text(cfg), "a_snapshot.pt") == OmegaConf.to_container(cfg, resolve=True)


def test_a_reference_that_leads_nowhere_is_told_before_it_is_written():
    with pytest.raises(UserError, match="leads nowhere"):
        to_text(OmegaConf.create({"a": "${b}"}))


def test_references_to_other_keys_are_followed():
    tree = parsed(
        a={"b": 3, "list": ["x", 1]},
        c="${a.b}",
        d="v${a.b}w${c}",
        e="${a.list}",
        k="list",
        f="${a.${k}}",
    )
    assert (tree["c"], tree["d"], tree["e"], tree["f"]) == (3, "v3w3", ["x", 1], ["x", 1])


@pytest.mark.parametrize(
    "word",
    [
        "${oc.env:HOME}",
        "${oc.env:HOME,1}",
        "x${oc.env:HOME}",
        "${oc.env:${a}}",
        "${oc.decode:${a}}",
        "${oc.create:{a:1}}",
        "${oc.select:a}",
        "${oc.deprecated:a}",
        "${oc.dict.keys:g}",
        "${now:%Y}",
        "${hydra:runtime.cwd}",
        "${.a}",
        "${..a}",
        "${g[b]}",
        "${g.list[0]}",
        "${ a }",
        "${a",
        "${}",
        "\\${a",
        "\\\\${oc.env:HOME}",
        "${nowhere}",
        "${a.b}",
        "${g}",
        "${g.group}",
        "${self}",
        "${x}",
        "v${g.list}",
        "${dollar}{oc.env:HOME}",
        "${dollar}${brace}oc.env:HOME}",
        "${method.missing}",
    ],
)
def test_nothing_else_is_followed(word):
    keys = {
        "a": "HOME",
        "g": {"b": 1, "group": {}, "list": [1, 2]},
        "self": "${self}",
        "x": "${y}",
        "y": "${x}",
        "dollar": "$",
        "brace": "{",
        "method": {"missing": "???"},
        "word": word,
    }
    if word in ("${self}", "${x}"):
        assert "refers to itself" in refusal(keys)
    else:
        keys = {k: v for k, v in keys.items() if k not in ("self", "x", "y")}
        refusal(keys)
        refusal({**keys, "word": [[word]]})
        refusal({**keys, "word": {"a": {"b": [word]}}})


@pytest.mark.parametrize(
    "text",
    [
        None,
        3,
        b"a: 1",
        ["a"],
        {"a": 1},
        "",
        "a",
        "[1]",
        "a: *b",
        "a: &b 1\nc: *b",
        "a: !!python/object/apply:os.mkdir [x]",
        "a: !!python/name:os.system",
        "a: 2020-01-01",
        "a: !!binary aGFsbG8=",
        "a: !!set {b}",
        "? [1]\n: 2",
        "1.5: 2",
        "true: 2",
        "null: 2",
        "${a}: 2",
        "a: 1\na: 2",
        "a: ???",
        "env: {stage: ???}",
        "a: 123456789012345678901234567890",
        "a: " + "[" * 10_000,
        "a: " + "{b: " * 1000,
        "a: '" + "x" * 20_000 + "'",
        "a: '" + "${b}" * 2000 + "'\nb: '" + "${c}" * 2000 + "'\nc: '" + "y" * 5000 + "'",
        "b: [" + "1, " * 20_000 + "]\na: ['" + "${b}', '" * 100 + "']",
        "\x00",
        "a: \x1b[31m${x}",
    ],
    ids=lambda text: repr(text)[:30],
)
def test_what_is_not_plain_is_refused_in_one_short_line(text):
    with pytest.raises(UserError) as caught:
        parse(text, "a_snapshot.pt")
    assert "\n" not in str(caught.value)
    assert "\x1b" not in str(caught.value)
    assert len(str(caught.value)) < 600


def test_references_that_multiply_are_followed_in_no_time():
    levels = {f"a{i}": f"${{a{i + 1}}}${{a{i + 1}}}" for i in range(40)}
    refusal({**levels, "a40": "x"})
    refusal({f"b{i}": "${list}" for i in range(1000)} | {"list": ["x"] * 1000})


def test_where_outputs_went_is_forgotten():
    with hydra.initialize_config_module("robobase.cfgs", version_base=None):
        cfg = hydra.compose("robobase_config", ["method=bc"])
    tree = OmegaConf.to_container(cfg, resolve=True)
    for key in ("resume_from", "replay.save_dir", "tb.log_dir", "tb.name", "wandb.project"):
        OmegaConf.update(cfg, key, "/tmp/x")
    cfg.tb.use = cfg.wandb.use = True
    changed = OmegaConf.to_container(cfg, resolve=True) | {"hydra": {"run": {"dir": "/tmp/x"}}}
    forget_outputs(changed)
    assert "/tmp/x" not in str(changed)
    assert changed.keys() == tree.keys()
    assert (changed["tb"]["use"], changed["wandb"]["use"]) == (False, False)
    assert changed["wandb"].keys() == tree["wandb"].keys()


@pytest.mark.parametrize("tb", [None, 3, [], "x", {}])
def test_forgetting_takes_any_shape(tb):
    tree = {"tb": tb, "wandb": {"use": True}}
    forget_outputs(tree)
    assert tree["wandb"] == {"use": False}
    assert not tree["tb"]
