"""Searches with Optuna: trials, what becomes of them, restarts, pruning."""

import os
import sys
from pathlib import Path

import pytest
from tiny_task import CONFIG_DIR, tiny_config

from robobase import run_record, search, signals, train, trial
from robobase.callbacks import Callback
from robobase.errors import UserError
from robobase.run_record import RunRecord, Status
from robobase.search import Search, Space
from robobase.snapshot import read
from robobase.workspace import Workspace

optuna = pytest.importorskip("optuna", reason="optuna is not installed; the extra search brings it")


def make(root: Path, n_trials=4, prune=True) -> Search:
    space = search.space(["env=x", "lr=interval(0.0,1.0)"])
    return Search(root, space, n_trials, n_startup_trials=2, prune=prune, seed=0)


class Jobs:
    """Stands for a launcher: each job ends as the next of `ends` says."""

    def __init__(self, root, *ends):
        self.root, self.ends, self.batches = root, iter(ends), []

    def __call__(self, batch):
        self.batches.append(batch)
        for words in batch:
            (name,) = [w.partition("=")[2] for w in words if w.startswith("hydra.sweep.subdir=")]
            folder = self.root / name
            (folder / "snapshots").mkdir(parents=True, exist_ok=True)
            (folder / "snapshots" / "latest_snapshot.pt").touch()
            end = next(self.ends)
            if isinstance(end, float):
                (folder / "eval.csv").write_text(f"episode_success\n{end}\n")
                run_record.write(folder, RunRecord(Status.FINISHED))
            else:
                status = Status.FINISHED if end == signals.PRUNED else Status(end)
                run_record.write(folder, RunRecord(status, end))


def states(root) -> list[str]:
    return [trial.state.name for trial in trial.open_study(root / trial.FILE).trials]


def test_what_varies_is_told_from_what_is_fixed():
    space = search.space(
        [
            "env=x",
            "a=1,2",
            "b='f(1,2)','f(3,4)'",
            "c=tag(log,interval(1e-4,0.1))",
            "d=int(interval(1,5))",
        ]
    )
    assert space.fixed == ("env=x",)
    kinds = optuna.distributions
    assert space.varied == {
        "a": kinds.CategoricalDistribution(["1", "2"]),
        "b": kinds.CategoricalDistribution(["'f(1,2)'", "'f(3,4)'"]),
        "c": kinds.FloatDistribution(1e-4, 0.1, log=True),
        "d": kinds.IntDistribution(1, 5),
    }
    assert space.example() == ["env=x", "a=1", "b='f(1,2)'", "c=0.0001", "d=1"]
    assert search.space(["a=1,2", "a=3", "b=1,2"]).fixed == ("a=3",)
    with pytest.raises(UserError, match="nothing to search"):
        search.space(["env=x"])


def test_each_trial_is_told_by_what_became_of_its_run(tmp_path, capsys):
    jobs = Jobs(tmp_path, 0.5, signals.PRUNED, "failed", 0.75)
    make(tmp_path).run(jobs, at_once=2)
    assert states(tmp_path) == ["COMPLETE", "PRUNED", "FAIL", "COMPLETE"]
    assert [len(batch) for batch in jobs.batches] == [2, 2]
    out = capsys.readouterr().out
    assert "4 of 4 trials, 1 pruned, 1 failed; best success 0.75, trial 3: lr=0." in out
    assert make(tmp_path).is_finished()
    assert "a larger hydra.sweeper.n_trials goes on" in capsys.readouterr().out


def test_interrupted_trials_go_on_after_a_restart(tmp_path):
    class Stopped(Exception):
        """As the launcher leaves on a signal."""

    def stop(batch):
        Jobs(tmp_path, "stopped", 0.25)(batch)
        raise Stopped

    with pytest.raises(Stopped):
        make(tmp_path).run(stop, at_once=2)
    before = trial.open_study(tmp_path / trial.FILE).trials
    jobs = Jobs(tmp_path, 1.0, 0.5, 0.5)
    search_again = make(tmp_path)
    assert not search_again.is_finished()
    search_again.run(jobs, at_once=2)
    assert states(tmp_path) == ["COMPLETE"] * 4
    ((first, second), (third,)) = jobs.batches
    assert f"lr={before[0].params['lr']}" in first
    assert f"resume_from={tmp_path}/0" in first
    assert not any(word.startswith("resume_from") for word in (*second, *third))
    drawn = [trial.params["lr"] for trial in trial.open_study(tmp_path / trial.FILE).trials]
    assert len(set(drawn)) == 4


def test_a_batch_of_which_all_fail_ends_the_search(tmp_path):
    with pytest.raises(UserError, match="all trials of a batch failed"):
        make(tmp_path).run(Jobs(tmp_path, "failed", "failed"), at_once=2)
    assert states(tmp_path) == ["FAIL", "FAIL"]


@pytest.mark.parametrize(("others", "pruned"), [(1.0, True), (0.0, False)])
def test_a_hopeless_run_ends_early(tmp_path, others, pruned):
    make(tmp_path)._study.set_user_attr(trial.PRUNING, 2)
    study = trial.open_study(tmp_path / trial.FILE)
    for _ in range(2):
        good = study.ask({"lr": optuna.distributions.FloatDistribution(0, 1)})
        for step in (0, 20, 40):
            good.report(others, step)
        study.tell(good, others)
    number = study.ask({"lr": optuna.distributions.FloatDistribution(0, 1)}).number
    folder = tmp_path / str(number)

    class Fails(Callback):
        def on_evaluation(self, run, metrics, prefix):
            metrics["episode_success"] = 0.0

    settings = ["num_train_frames=40", "eval_every_steps=20", f"trial={number}"]
    callbacks = [Fails(), trial.Trial(folder, number)]
    Workspace(tiny_config(*settings), work_dir=folder, callbacks=callbacks).train()
    record = run_record.read(folder)
    assert record.status == Status.FINISHED
    assert (record.reason, record.env_steps) == (("pruned", 0) if pruned else (None, 40))
    assert study.trials[number].intermediate_values[0] == 0.0
    assert read(folder / "snapshots" / "latest_snapshot.pt")["replay"] is None


def test_a_run_of_no_search_is_told_so(tmp_path):
    with pytest.raises(UserError, match=r"study.db is missing: trial=... is for runs of a search"):
        trial.Trial(tmp_path / "run", 3)
    make(tmp_path)
    with pytest.raises(UserError, match=r"trial=3 is not in .*study.db"):
        trial.Trial(tmp_path / "run", 3)


def test_a_damaged_study_is_one_line(tmp_path):
    (tmp_path / trial.FILE).write_text("no database, but text" * 100)
    with pytest.raises(UserError, match=r"study.db cannot be read \(.*\); name another"):
        Search(tmp_path, Space((), {}), 1, 1, True, 0)


def run(monkeypatch, capsys, folder, *overrides: str) -> tuple[int, str, str]:
    monkeypatch.chdir(folder)
    words = ["train", "-m", "--config-dir", str(CONFIG_DIR), "hydra/launcher=basic", "env=tiny"]
    words += ["num_train_frames=20", "num_gpus=0", "num_threads=1", "hydra/sweeper=search"]
    monkeypatch.setattr(sys, "argv", [*words, *overrides])
    capsys.readouterr()
    try:
        train.main()
    except SystemExit as stop:
        return int(stop.code or 0), *capsys.readouterr()
    return 0, *capsys.readouterr()


def test_the_same_command_goes_on_with_its_search(monkeypatch, capsys, tmp_path):
    words = ["hydra.sweeper.n_trials=1", "batch_size=int(interval(8,16))"]
    assert run(monkeypatch, capsys, tmp_path, *words)[0] == 0
    (folder,) = (tmp_path / "runs" / "exp").iterdir()
    code, out, _ = run(monkeypatch, capsys, tmp_path, *words)
    assert code == 0
    assert f"the search in {folder.relative_to(tmp_path)} is finished: 1 of 1 trials" in out
    code, out, _ = run(monkeypatch, capsys, tmp_path, "hydra.sweeper.n_trials=2", words[1])
    assert code == 0
    assert "2 of 2 trials" in out
    assert {"0", "1", "study.db", "jobs.csv"} < set(os.listdir(folder))


def test_a_search_that_cannot_begin_leaves_nothing(monkeypatch, capsys, tmp_path):
    code, _, err = run(monkeypatch, capsys, tmp_path, "no_such_key=1", "batch_size=8,9")
    assert (code, "no_such_key is no setting" in err) == (2, True)
    monkeypatch.setitem(sys.modules, "optuna", None)
    code, _, err = run(monkeypatch, capsys, tmp_path, "batch_size=8,9")
    assert code == 2
    assert err == "error: a search needs the package optuna; run `pip install 'optuna>=4'`\n"
    assert os.listdir(tmp_path) == []
