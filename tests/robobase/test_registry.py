"""Which classes a stored config may have built, and where."""

import importlib
import inspect

import pytest

from robobase import registry
from robobase.errors import UserError
from robobase.method.core import Method

GOOD = {
    "env_factory": {"_target_": "so101_robobase.envs.factory.SO101Factory"},
    "method": {
        "_target_": "robobase.method.drqv2.DrQV2",
        "actor_model": {"_target_": "robobase.models.MLPWithBottleneckFeatures", "_partial_": True},
        "encoder_model": None,
    },
    "logger": {"_target_": "robobase.logger.Logger"},
    "snapshot_keeper": {
        "_target_": "robobase.snapshot.SnapshotKeeper",
        "ranking": {"_target_": "robobase.snapshot.success_then_reward", "_partial_": True},
    },
}


@pytest.fixture(autouse=True)
def plugin():
    importlib.import_module("so101_robobase")


def refusal(change, trusted=()):
    config = {key: dict(value) for key, value in GOOD.items()}
    change(config)
    with pytest.raises(UserError) as caught:
        registry.check(config, "a_snapshot.pt", trusted)
    return str(caught.value)


def test_what_runs_are_made_of_is_registered():
    registry.check(GOOD, "a_snapshot.pt")


@pytest.mark.parametrize("kind", sorted({slot.kind for slot in registry.SLOTS.values()}))
def test_every_registered_name_is_what_its_kind_says(kind):
    assert registry.registered(kind)
    for name in registry.registered(kind):
        part = registry._find(name)
        base = registry._BASES.get(kind)
        if base is None:
            assert inspect.isfunction(part)
        else:
            assert issubclass(part, registry._find(base))
            assert not inspect.isabstract(part)


def test_every_method_of_the_engine_is_registered():
    import robobase.method as package

    for file in importlib.resources.files(package).iterdir():
        if file.name.endswith(".py") and file.name != "__init__.py":
            module = importlib.import_module(f"robobase.method.{file.name[:-3]}")
            for name, part in vars(module).items():
                ours = inspect.isclass(part) and part.__module__ == module.__name__
                if ours and issubclass(part, Method) and not inspect.isabstract(part):
                    assert f"{module.__name__}.{name}" in registry.registered("method")


def test_a_refusal_names_the_place_what_is_allowed_and_the_argument():
    message = refusal(lambda c: c["method"].update(_target_="os.system"))
    assert "a_snapshot.pt wants to run 'os.system' as method" in message
    assert "robobase.method.sac.SAC" in message
    assert "--trust" in message


@pytest.mark.parametrize(
    "name", [None, 3, ["robobase.method.sac.SAC"], "", ".", "SAC", "robobase.method.sac.SAC ", "\n"]
)
def test_a_name_that_is_no_registered_name_is_refused(name):
    assert "wants to run" in refusal(lambda c: c["method"].update(_target_=name), ["SAC", ""])


@pytest.mark.parametrize(
    "change",
    [
        lambda c: c["method"].update(_target_="robobase.models.FusionMultiCamFeature"),
        lambda c: c.update(env={"scene": {"_target_": "robobase.method.sac.SAC"}}),
        lambda c: c.update(env=[{"a": [{"_target_": "robobase.method.sac.SAC"}]}]),
        lambda c: c.update(_target_="robobase.method.sac.SAC"),
        lambda c: c["method"].update(a={"b_model": {"_target_": "robobase.method.sac.SAC"}}),
        lambda c: c["method"].update(actor_model=[GOOD["method"]["actor_model"]]),
        lambda c: c.update({"method.actor_model": GOOD["method"]["actor_model"]}),
    ],
)
def test_a_registered_class_is_allowed_at_its_place_alone(change):
    assert "a_snapshot.pt wants" in refusal(change)


@pytest.mark.parametrize("key", ["_args_", "_convert_", "_recursive_", "_partial_", "_", "__x__"])
def test_no_other_word_of_hydra_is_allowed(key):
    assert key in refusal(lambda c: c["method"].update({key: True}))


def test_partial_is_true_or_absent():
    model = {"_target_": "robobase.models.MLPWithBottleneckFeatures", "_partial_": "yes"}
    assert "_partial_" in refusal(lambda c: c["method"].update(actor_model=model))


class Mine(Method):
    """A user's own."""


def mine(**_):
    raise AssertionError("called")


def test_trust_opens_the_classes_of_a_package_that_are_of_the_kind():
    here = __name__.split(".")[0]
    config = {"method": {"_target_": f"{__name__}.Mine"}}
    registry.check(config, "a_snapshot.pt", [here])
    assert "wants to run" in refusal(lambda c: c.update(config))
    for name in ("mine", "Method", "pytest.main", "nothing", "registry._find"):
        target = {"_target_": f"{__name__}.{name}"}
        assert "wants to run" in refusal(lambda c, t=target: c.update(method=t), [here])
        assert "wants to run" in refusal(lambda c, t=target: c.update(env_factory=t), [here])


def test_a_package_that_registers_is_held_to_its_list():
    target = {"_target_": "robobase.method.core.ImitationLearningMethod"}
    assert "wants to run" in refusal(lambda c: c.update(method=target), ["robobase"])


def test_a_package_can_register_its_own(monkeypatch):
    monkeypatch.setattr(
        registry, "_registered", {k: set(v) for k, v in registry._registered.items()}
    )
    registry.register("environment", "my_task.MyFactory")
    registry.check({"env_factory": {"_target_": "my_task.MyFactory"}}, "a_snapshot.pt")
    with pytest.raises(ValueError, match="kind 'robot' is unknown"):
        registry.register("robot", "my_task.MyRobot")
