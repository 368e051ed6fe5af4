"""Limits from a file."""

from pathlib import Path

import pytest

from robobase.errors import UserError
from so101_robobase.robot.safety.filter import SafetyLimits
from so101_robobase.robot.safety.limits import load
from so101_robobase.robot.safety.monitor import MonitorLimits


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "limits.yaml"
    path.write_text(text)
    return path


def test_without_a_file_they_are_the_defaults():
    assert load(None) == (SafetyLimits(), MonitorLimits())


def test_a_file_changes_what_it_names(tmp_path):
    path = write(tmp_path, "safety: {floor: 0.01}\nmonitor: {frame_stop: 0.3}\n")
    limits = load(path)
    assert limits.safety == SafetyLimits(floor=0.01)
    assert limits.monitor == MonitorLimits(frame_stop=0.3)


def test_the_example_in_the_docs_is_allowed(tmp_path):
    docs = Path(__file__).parents[3] / "docs/robot.md"
    example = docs.read_text().split("```yaml\n")[1].split("```")[0]
    limits = load(write(tmp_path, example))
    assert limits.safety.floor == 0.01
    assert limits.monitor.temperature_stop == 55


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("safety: {floor: -1}", "safety.floor=-1"),
        ("safety: {flor: 0.01}", "did you mean '?floor"),
        ("monitor: {reading_stop: 5.0}", "monitor.reading_stop=5.0"),
        ("monitor: {temperature_stop: .inf}", "monitor.temperature_stop"),
        ("servo: {}", "'servo' is unknown"),
        ("safety: 3", "safety must be a group"),
        ("- a", "must have the groups"),
        ("{", "cannot be read as YAML"),
    ],
)
def test_what_is_not_allowed_is_named(tmp_path, text, said):
    with pytest.raises(UserError, match=said):
        load(write(tmp_path, text))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match="cannot be read"):
        load(tmp_path / "none.yaml")
