"""Claims about the page of many runs, and about the tables for machines."""

import csv
import json
import re

import numpy as np
import pytest
from made_up_runs import MP4, make_run, make_sweep

from so101_robobase.base.cli import main
from so101_robobase.experiments.charts import mean_band
from so101_robobase.experiments.legend import legend
from so101_robobase.experiments.runs import find_runs
from so101_robobase.experiments.videos import chosen


@pytest.fixture
def report(tmp_path, capsys):
    """Runs the command on a folder; the page, what it printed and what it complained of."""

    def command(folder, *more):
        page = tmp_path / "report.html"
        assert main(["report", str(folder), "--output", str(page), *map(str, more)]) == 0
        said = capsys.readouterr()
        return page.read_text(), said.out, said.err

    return command


def words(page):
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page[page.index("<body>") :]))


def test_the_page_says_of_each_setting_and_run_how_it_went(tmp_path, report):
    page, out, err = report(make_sweep(tmp_path / "sweep"))
    text = words(page)
    assert "4 runs of so101_lift" in text
    assert "v19 sweep/2 1 95.0 %" in text  # setting, run, seed, success
    assert "2 of 2 2,000 2:00" in text  # reach 90 %, steps, time
    for part in ("Learning curves", "Settings", "Which is better", "reward versions", "Videos"):
        assert part in text
    assert "torch 2.13.0" in text
    assert "report of 4 runs" in out
    assert err == ""


def test_the_page_holds_all_it_shows_and_no_script(tmp_path, report):
    page, *_ = report(make_sweep(tmp_path / "sweep"))
    assert "default-src 'none'" in page
    assert "<script" not in page
    assert set(re.findall(r'(?:src|href)="([^"]{5})', page)) <= {
        "data:",
        *re.findall('"(#.{4})', page),
    }
    assert page.count("<svg") == 6
    assert page.count("data:video/mp4;base64,") == 4


def test_what_files_say_is_text_and_no_html(tmp_path, report):
    evil = "<img src=x onerror=alert(1)>"
    make_run(tmp_path / "runs" / "0", version=evil)
    folder = make_run(tmp_path / "runs" / "1", version="v1", task=evil)
    (folder / "error.txt").write_text(evil)
    (folder / "versions.json").write_text(json.dumps({"machine": {"cpu": evil}}))
    record = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps({**record, "status": "failed"}))
    page, *_ = report(tmp_path / "runs")
    assert "<img" not in page
    assert page.count("&lt;img src=x") >= 4


def test_unfinished_and_failed_runs_are_among_the_others(tmp_path, report):
    make_run(tmp_path / "runs" / "0")
    make_run(tmp_path / "runs" / "1", (0.0, 0.5), "stopped", seed=2)
    failed = make_run(tmp_path / "runs" / "2", (), "running", None, (), seed=3)
    (failed / "eval.csv").unlink()
    (failed / "error.txt").write_text("num_threads=99 is too many\n")
    page, _, err = report(tmp_path / "runs")
    text = words(page)
    assert "1 finished, 1 stopped, 1 failed" in text
    assert "num_threads=99 is too many" in text
    assert "1,000 of 2,000" in text
    assert err.count("\n") == 1  # the one without evaluations


def test_a_job_that_failed_before_it_had_a_config_keeps_its_setting(tmp_path, report):
    sweep = make_sweep(tmp_path / "sweep")
    (sweep / "4").mkdir()
    (sweep / "4" / "error.txt").write_text("batch_size=0 is not allowed\n")
    (sweep / "jobs.csv").write_text("folder,overrides\n4,env.reward_version=v20 seed=1\n")
    page, _, err = report(sweep)
    assert "v20 sweep/4 1 – – – – – failed" in words(page)
    assert err == f"'{sweep}/4' failed: batch_size=0 is not allowed\n"
    assert words(page).count("batch_size=0") == 1


def test_a_run_without_evaluations_makes_a_page_without_curves(tmp_path, report):
    make_run(tmp_path / "run", (), "stopped", None)
    page, _, err = report(tmp_path / "run")
    assert "there are no curves" in words(page)
    assert "no evaluations yet" in err


DAMAGED = {
    "eval.csv": ("env_steps,episode_reward\n0,x\n", "eval.csv' is damaged"),
    "run.json": ("{", "run.json' is damaged"),
    "config.yaml": ("a: [", "config.yaml' is damaged"),
    ".hydra/overrides.yaml": ("a: b\n", "is no list of key=value"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_file_is_one_line_and_a_remark(tmp_path, report, name):
    make_sweep(tmp_path / "sweep")
    content, told = DAMAGED[name]
    (tmp_path / "sweep" / "1" / name).write_text(content)
    page, _, err = report(tmp_path / "sweep")
    assert told in err
    assert err.count("\n") == 1
    assert told in words(page).replace("&#x27;", "'")


def test_runs_that_do_not_compare_are_compared_with_a_word(tmp_path, report):
    make_run(tmp_path / "runs" / "0")
    make_run(tmp_path / "runs" / "1", task="so101_place", version="v12", pixels=False)
    page, out, _ = report(tmp_path / "runs")
    for what in ("tasks (so101_lift, so101_place)", "observations (seg_depth, state)"):
        assert f"note: runs of different {what}" in out
        assert f"runs of different {what}" in words(page)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["empty"], "holds no eval.csv and nothing else of a run"),
        (["other"], "holds no eval.csv and nothing else of a run"),
        (["run", "--output", "there.html"], "was not written by this command"),
        (["run", "--output", "other"], "must end in .html"),
        (["run", "--output", "other/x.txt/page.html"], "cannot be written (Not a directory)"),
        (["run", "--csv", "there.csv"], "was not written by this command"),
        (["run", "--json", "table.csv"], "must end in .json"),
    ],
)
def test_what_cannot_be_done_is_one_line_before_anything_is_written(
    tmp_path, capsys, monkeypatch, given, message
):
    monkeypatch.chdir(tmp_path)
    make_run(tmp_path / "run")
    (tmp_path / "empty").mkdir()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "x.txt").write_text("x")
    for name in ("there.html", "there.csv"):
        (tmp_path / name).write_text("precious")
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    assert main(["report", *given]) == 2
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_tables_for_machines_say_the_same_and_replace_themselves(tmp_path, report):
    table, record = tmp_path / "runs.csv", tmp_path / "runs.json"
    sweep = make_sweep(tmp_path / "sweep")
    for _ in range(2):
        report(sweep, "--csv", table, "--json", record)
    with table.open() as file:
        rows = list(csv.DictReader(file))
    content = json.loads(record.read_text())
    assert [row["setting"] for row in rows[1:3]] == [
        "env.reward_version=v11",
        "env.reward_version=v19",
    ]
    assert float(rows[2]["best_success"]) == content["runs"][2]["best_success"] == 0.95
    assert content["runs"][2]["steps_to_90"] == 2000
    assert content["runs"][0]["steps_to_90"] is None
    assert rows[0]["steps_to_90"] == ""
    assert content["settings"][1]["final_iqm"] == pytest.approx(0.925)
    assert content["settings"][1]["final_low"] == pytest.approx(0.9)


def test_one_run_has_no_interval_over_seeds(tmp_path, report):
    record = tmp_path / "runs.json"
    report(make_sweep(tmp_path / "sweep", seeds=(1,)), "--json", record)
    setting = json.loads(record.read_text())["settings"][0]
    assert setting["final_iqm"] == pytest.approx(0.45)
    assert setting["final_low"] is None


def test_what_a_run_did_on_fresh_seeds_and_in_the_suite_is_told(tmp_path, report):
    run = make_run(tmp_path / "run")
    summary = {"success_rate": 0.873, "success_interval": [0.85, 0.89], "num_episodes": 1000}
    suite = {
        "suite": "robustness",
        "conditions": [
            {"factor": "cube mass", "level": "60 g", "episodes": 64, "successes": 48, "starts": []}
        ],
    }
    for name, content in (("evaluation", {"summary": summary}), ("robustness", suite)):
        (run / name / "2026").mkdir(parents=True)
        (run / name / "2026" / f"{name}.json").write_text(json.dumps(content))
    picture = run / "robustness" / "2026" / "robustness.png"
    picture.write_bytes(b"\x89PNG")
    page = report(run)[0]
    text = words(page)
    assert 'src="data:image/png;base64,iVBORw=="' in page
    assert "87.3 % (85.0–89.0) of 1,000" in text
    assert "cube mass 60 g 75%" in text


def test_videos_fill_the_room_with_the_best_of_each_setting_first(tmp_path):
    runs = find_runs([make_sweep(tmp_path / "sweep")])
    groups = [runs[:2], runs[2:]]
    videos = chosen(groups, 3 * len(MP4))  # two as base64
    assert [video.content is not None for video in videos] == [True, False, True, False]
    assert [video.run for video in videos] == runs


def test_what_is_no_video_is_not_shown(tmp_path):
    run = make_run(tmp_path / "run", video=b"<script>")
    assert chosen([find_runs([run])], 10**6) == []


def test_videos_that_do_not_fit_are_named(tmp_path, report):
    video = MP4 + bytes(np.random.default_rng(1).bytes(900_000))
    make_run(tmp_path / "runs" / "0", video=video)
    make_run(tmp_path / "runs" / "1", (0.0, 0.1), video=video, seed=2)
    page, out, _ = report(tmp_path / "runs", "--most_mb", 2)
    assert len(page) < 2e6
    assert page.count("data:video") == 1
    assert f"{tmp_path}/runs/1/eval_videos/best.mp4 is left out" in out
    assert "runs/1/eval_videos/best.mp4" in words(page)


def test_the_mean_ends_where_the_shortest_run_does():
    long = np.arange(5.0), np.linspace(0, 1, 5)
    short = np.arange(3.0), np.zeros(3)
    x, middle, low, high = mean_band([long, short])
    assert x.tolist() == [0, 1, 2]
    assert middle.tolist() == [0, 0.125, 0.25]
    assert (low.max(), high.max()) == (0, 0.5)
    assert mean_band([long]) is None


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        (["env.reward_version=v1", "env.reward_version=v19"], ["v1", "v19"]),
        (["env.stage=0", "env.stage=3"], ["stage 0", "stage 3"]),
        (["", "launch=demos"], ["(nothing of its own)", "launch=demos"]),
        ([f"method.lr={'1' * 30}{k}" for k in range(28)][-3:], ["A", "B", "C"]),
    ],
)
def test_settings_have_short_names(settings, names):
    assert list(legend(settings).names) == names
