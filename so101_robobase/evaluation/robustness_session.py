"""`evaluate --suite robustness`: play what is not there yet, condition by condition."""

import argparse
import hashlib
import time

from tqdm import tqdm

from robobase import compute
from robobase.run_snapshot import locate
from so101_robobase.base.files import claimed, output_folder
from so101_robobase.evaluation.policy import load_policy
from so101_robobase.evaluation.robustness import SEED, check_overrides, conditions
from so101_robobase.evaluation.robustness_figure import draw
from so101_robobase.evaluation.robustness_results import (
    Result,
    read_results,
    result_of,
    results_table,
    write_results,
)
from so101_robobase.evaluation.session import parse_overrides, play

RESULTS, FIGURE = "robustness.json", "robustness.png"
EPISODES = 64  # of a condition


def run_suite(args: argparse.Namespace) -> list[Result]:
    """Plays what `args.output_dir` does not hold yet; leaves the results and their picture there.

    Raises:
        UserError: an argument that cannot be used, or results of another suite are there.
    """
    device = compute.usable_device(args.device)
    args.snapshot = locate(args.snapshot)
    own = parse_overrides(args.overrides)
    check_overrides(own)
    task = load_policy(args.snapshot, device, own, args.trust).task()
    head = {
        "snapshot": str(args.snapshot.resolve()),
        "sha256": hashlib.sha256(args.snapshot.read_bytes()).hexdigest(),
        "overrides": args.overrides,
        "seed": SEED,
        "episodes": args.num_episodes or EPISODES,
    }
    default = output_folder(args.snapshot) / "robustness"
    marks = ("evaluation.json",), "an evaluation", "--output_dir"
    with claimed(args.output_dir, default, *marks) as folder:
        path = folder / RESULTS
        results = read_results(path, head) if path.exists() else []
        done = {(one.factor, one.level) for one in results}
        todo = [one for one in conditions(task) if (one.factor, one.level) not in done]
        total = sum(one.share for one in todo) * head["episodes"]
        there = f", {len(done)} are there" if done else ""
        print(f"{args.snapshot}: {len(todo)} conditions{there}, {total} episodes from seed {SEED}")
        started = time.perf_counter()
        try:
            with tqdm(total=total, unit="episode", desc="suite", smoothing=0, leave=False) as bar:
                for one in todo:
                    bar.set_postfix_str(f"{one.factor} {one.level}")
                    policy = load_policy(args.snapshot, device, own | one.overrides, args.trust)
                    number = one.share * head["episodes"]
                    episodes, _ = play(policy, number, SEED, args.num_envs, progress=False)
                    results.append(result_of(one.factor, one.level, episodes, one.share > 1))
                    write_results(path, head, results)
                    bar.update(number)
        except KeyboardInterrupt:
            print(f"{len(results)} conditions are in {folder}: --output_dir {folder} goes on there")
            raise
        print(results_table(results))
        draw(results, task.cube_box, folder / FIGURE, f"{args.snapshot.name}, robustness suite")
        print(f"{time.perf_counter() - started:.0f} s; {path}, {folder / FIGURE}")
    return results
