"""The report in a real browser: nothing to complain of, nothing asked of a network."""

import json
import re
import shutil
import subprocess
import time

import cv2
import imageio.v2 as imageio
import numpy as np
import pytest
from made_up_runs import make_sweep

from so101_robobase.base.cli import main

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
BROWSER = next(filter(None, map(shutil.which, BROWSERS)), None)
ITS_OWN = "not an origin"  # who asks for what the browser itself wants

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(BROWSER is None, reason="no Chromium here (apt-get install chromium)"),
]


def visit(page, folder):
    """What the page says on the console, what it asks a network for, and its picture."""
    log, picture = folder / "net.json", folder / "picture.png"
    program = [
        BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run",
        f"--user-data-dir={folder / 'profile'}", "--enable-logging=stderr", f"--log-net-log={log}",
        "--virtual-time-budget=3000", "--window-size=1400,3000", f"--screenshot={picture}",
        page.as_uri(),
    ]  # fmt: skip
    done = subprocess.run(program, capture_output=True, text=True, timeout=120)
    assert picture.exists(), done.stderr
    said = [line for line in done.stderr.splitlines() if re.search(r":CONSOLE[:(]", line)]
    events = [event.get("params", {}) for event in json.loads(log.read_text())["events"]]
    asked = [
        one["url"] for one in events if "url" in one and one.get("initiator", ITS_OWN) != ITS_OWN
    ]
    return said, asked, cv2.imread(str(picture))


def test_a_page_that_complains_and_asks_is_noticed(tmp_path):
    page = tmp_path / "page.html"
    page.write_text('<img src="http://198.51.100.7/x.png"><script>console.error("boo")</script>')
    said, asked, _ = visit(page, tmp_path)
    assert len(said) == 1
    assert asked == ["http://198.51.100.7/x.png"]


def test_the_report_of_24_runs_is_quick_small_and_opens_without_a_network(tmp_path):
    sweep = make_sweep(
        tmp_path / "sweep", [f"v{k}" for k in (1, 7, 11, 13, 17, 18, 19, 20)], (1, 2, 3)
    )
    frames = np.random.default_rng(1).integers(0, 255, (20, 64, 256, 3), dtype=np.uint8)
    for run in sweep.glob("*/eval_videos"):
        imageio.mimwrite(run / "best.mp4", list(frames), fps=10, macro_block_size=None)
    page = tmp_path / "report.html"
    started = time.perf_counter()
    assert main(["report", str(sweep), "--output", str(page)]) == 0
    assert time.perf_counter() - started < 30
    assert page.stat().st_size < 20e6
    assert page.read_text().count("data:video/mp4") == 24
    said, asked, picture = visit(page, tmp_path)
    assert said == []
    assert asked == []
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 1000  # it is drawn
