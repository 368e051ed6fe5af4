"""Claims about `evaluate --suite robustness`."""

import json

import pytest
from tiny_snapshot import save_tiny_snapshot

from robobase import snapshot as snapshots
from robobase.errors import UserError
from so101_robobase.base import cli
from so101_robobase.evaluation import robustness_session, stored
from so101_robobase.evaluation.robustness import (
    AS_IT_IS,
    BEYOND,
    CUBE_PLACE,
    STRANGER,
    check_overrides,
    conditions,
)
from so101_robobase.evaluation.robustness_figure import draw, success_map
from so101_robobase.evaluation.robustness_results import Result, read_results, write_results
from so101_robobase.tasks.config import CubeBox
from so101_robobase.tasks.entry import config_of
from so101_robobase.tasks.lift.config import LiftConfig

HEAD = {"snapshot": "a.pt", "sha256": "0", "overrides": [], "seed": 1, "episodes": 2}


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory):
    overrides = ("env.observation=seg", "env.episode_length=4", "env.hold_steps=2", "env.stage=0")
    return save_tiny_snapshot(tmp_path_factory.mktemp("run"), *overrides)


def factors(config):
    return {one.factor for one in conditions(config)}


def test_what_a_policy_does_not_see_is_not_varied():
    sees = factors(LiftConfig(stage=0))
    assert {AS_IT_IS, CUBE_PLACE, STRANGER, "late pictures", "camera's angle", "wrong ids"} <= sees
    assert sees - factors(LiftConfig(stage=0, observation="rgb")) == {"wrong ids"}
    blind = sees - factors(LiftConfig(stage=0, observation="state"))
    assert blind == {"late pictures", "camera's place", "camera's angle", "wrong ids"}
    assert sees - factors(LiftConfig(stage=3)) == {CUBE_PLACE}


def test_every_condition_changes_the_world_in_its_own_way_and_every_setting_of_it_is_allowed(
    snapshot,
):
    payload = snapshots.read(snapshot)

    def evaluated(overrides):
        cfg = stored.config_of(snapshot, payload, overrides, ())
        return config_of(cfg, evaluation=True)

    task = evaluated({})
    worlds = {}
    for one in conditions(task):
        config = evaluated(one.overrides)
        worlds[one.factor, one.level] = (
            config.randomization.physical,
            config.randomization.visual,
            config.corruption,
            config.cube_box,
        )
    assert len(set(map(repr, worlds.values()))) == len(worlds) == len(conditions(task))
    *varied, box = worlds[AS_IT_IS, ""]
    assert not any(group.enabled for group in varied)
    assert box == task.cube_box
    late, *_ = worlds["late commands", "80 ms"]
    assert late.enabled
    assert (late.action_latency, late.camera_latency) == ((4, 4), (0, 0))
    assert late.cube_edge == (0.03, 0.03)


def test_keys_that_the_suite_sets_cannot_be_overridden():
    check_overrides(["env.sight.segmentation", "env.scene.cube_mass"])
    with pytest.raises(UserError, match=r"env.randomization.physical.friction: .*leave it out"):
        check_overrides(["env.randomization.physical.friction"])


def test_results_are_read_as_they_were_written(tmp_path):
    results = [Result("as it is", "", 4, 3), Result("cube place", "far", 1, 1, [(0.2, 0.1, True)])]
    write_results(tmp_path / "r.json", HEAD, results)
    assert read_results(tmp_path / "r.json", HEAD) == [
        Result("as it is", "", 4, 3, []),
        Result("cube place", "far", 1, 1, [(0.2, 0.1, True)]),
    ]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"suite": "other"}, "holds no results of --suite robustness"),
        ({"conditions": [{"factor": "x"}]}, "damaged"),
        ({"conditions": 3}, "damaged"),
        ({"sha256": "1"}, "of a suite with sha256 '1', and this one has '0'"),
        ({"episodes": 64}, "of a suite with episodes 64, and this one has 2; name another"),
    ],
)
def test_other_files_are_refused_in_one_line(tmp_path, changes, message):
    path = tmp_path / "r.json"
    write_results(path, HEAD, [Result("as it is", "", 4, 3)])
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    with pytest.raises(UserError, match=message):
        read_results(path, HEAD)


def test_the_map_counts_where_cubes_lay(tmp_path):
    box = CubeBox(x=(0.2, 0.22), y=(-0.01, 0.01))
    starts = [(0.2 - BEYOND + 0.001, 0.01 + BEYOND - 0.001, True), (0.2 - BEYOND, 0.0, False)]
    rate, x, y = success_map(Result(CUBE_PLACE, "", 2, 1, starts), box)
    assert rate[0, -1] == 1
    assert sorted(rate[~(rate != rate)]) == [0, 1]
    assert (x[0], x[-1]) == pytest.approx((0.15, 0.27))
    assert (y[0], y[-1]) == pytest.approx((-0.06, 0.06))


def test_a_picture_is_drawn_of_whatever_is_there(tmp_path):
    for number, results in enumerate(
        [
            [Result(AS_IT_IS, "", 4, 3)],
            [Result("friction", "1", 4, 0), Result(CUBE_PLACE, "far", 1, 1, [(0.2, 0.1, True)])],
        ]
    ):
        path = tmp_path / f"{number}.png"
        draw(results, CubeBox(), path, "title_of $a$")
        assert path.read_bytes().startswith(b"\x89PNG")


def test_a_suite_is_played_and_goes_on_where_it_was_stopped(
    snapshot, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(
        robustness_session, "conditions", lambda task: [*conditions(task)[:2], conditions(task)[-1]]
    )
    played = []
    play = robustness_session.play

    def stopped(policy, *args, **more):
        if len(played) == 1:
            raise KeyboardInterrupt
        played.append(policy.task().cube_box)
        return play(policy, *args, **more)

    monkeypatch.setattr(robustness_session, "play", stopped)
    words = ["evaluate", str(snapshot), "--suite", "robustness", "--num_episodes", "1"]
    words += ["--output_dir", str(tmp_path / "out")]
    assert cli.main(words) == 130
    assert f"--output_dir {tmp_path / 'out'} goes on there" in capsys.readouterr().out
    monkeypatch.setattr(robustness_session, "play", play)
    assert cli.main(words) == 0
    results = read_results(tmp_path / "out" / "robustness.json")
    assert [one.factor for one in results] == [AS_IT_IS, CUBE_PLACE, STRANGER]
    assert [one.episodes for one in results] == [1, 8, 1]
    assert len(set(results[1].starts)) == 8
    assert (tmp_path / "out" / "robustness.png").exists()
    assert cli.main([*words, "--overrides", "env.hold_steps=1"]) == 2
    assert "name another --output_dir" in capsys.readouterr().err


@pytest.mark.parametrize(
    "option", ["--final", "--seed=3", "--debug", "--stage=0", "--num_videos=1"]
)
def test_options_without_effect_are_refused(snapshot, option, capsys):
    assert cli.main(["evaluate", str(snapshot), "--suite", "robustness", option]) == 2
    assert "has no effect on --suite robustness; leave it out" in capsys.readouterr().err
