from pathlib import Path

import pytest
import seeing

from robobase.errors import UserError

POLICY = Path(__file__).parents[2] / "policies" / "whole_task_snapshot.pt"
ARGUMENTS = [str(POLICY), "--segmentation", "net.pt", "--num_episodes", "2"]


def test_the_worlds_of_one_table_differ_in_what_their_columns_say():
    as_it_is, looks, networks, physics = seeing.worlds(seeing.parse(ARGUMENTS))
    assert {key for key in looks if looks[key] != as_it_is[key]} == {
        "env.randomization.visual.enabled"
    }
    assert {key for key in networks if networks[key] != looks.get(key)} == {
        "env.sight.segmentation", "env.sight.depth", "env.sight.camera"
    }  # fmt: skip
    assert networks["env.sight.camera"] == [320, 240]
    differ = {key for key in physics if physics[key] != networks.get(key)}
    assert all(key.startswith("env.randomization.physical.") for key in differ)
    assert physics["env.randomization.physical.enabled"]
    assert physics["env.randomization.physical.cube_edge"] == [
        0.024,
        0.036,
    ]  # whatever it learnt in
    assert not any(world["env.corruption.enabled"] for world in (as_it_is, looks, networks))


def test_a_policy_plays_in_the_worlds_that_need_no_network(monkeypatch, capsys):
    both = seeing.worlds(seeing.parse(ARGUMENTS))[:2]
    monkeypatch.setattr(seeing, "worlds", lambda _: [*both, both[1], both[1]])
    seeing.main([*ARGUMENTS, "--", "env.episode_length=20"])
    row = next(line for line in capsys.readouterr().out.splitlines() if "whole_task" in line)
    assert row.count("(0%–66%)") == 4  # nothing is lifted in 20 control steps
    assert row.endswith("| – |")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([*ARGUMENTS, "--", "env.stage"], "after -- .*key=value"),
        ([*ARGUMENTS, "--num_episodes", "0"], "1 or"),
    ],
)
def test_what_cannot_be_played_is_said_in_one_line(words, said):
    with pytest.raises(UserError, match=said):
        seeing.main(words)
