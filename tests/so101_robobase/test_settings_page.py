"""docs/settings.md says what the code says."""

from dataclasses import dataclass

import settings_page
from settings_page import PAGE, _comments, _meaning, page

from so101_robobase.tasks.touch.config import TouchConfig


def test_the_page_is_current():
    assert PAGE.read_text(encoding="utf-8") == page(), "run python docs/settings_page.py"


def test_every_setting_says_what_it_means_where_it_is_declared():
    assert "steps" in _meaning(TouchConfig, "env.hold_steps")  # from the class it inherits from
    assert _meaning(TouchConfig, "env.scene.cube_mass") == "kg"  # from the comment beside
    assert _meaning(TouchConfig, "env.randomization.physical.cube_edge").startswith("m: edge")


def test_a_change_of_a_default_is_noticed(monkeypatch):
    monkeypatch.setattr(TouchConfig, "__init__", _with_other_length(TouchConfig.__init__))
    assert PAGE.read_text(encoding="utf-8") != page()


def _with_other_length(init):
    return lambda self, *args, **kwargs: init(self, *args, **{"episode_length": 151} | kwargs)


def test_comments_beside_and_above_and_headings():
    @dataclass
    class Some:
        # ---- Of the cat
        # m from nose
        # to tail
        length: float = 0.5
        mass: float = 4.0  # kg

    assert _comments(Some) == {"length": ("m from nose to tail", "Of the cat"), "mass": ("kg", "")}
    assert settings_page._shown({"a": [None, True, 1.50]}) == "{a: [null, true, 1.5]}"
