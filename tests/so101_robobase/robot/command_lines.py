"""Runs command lines one after the other in one process, which takes its time to start.

`python command_lines.py JOBS RESULTS`: JOBS is a JSON list of {"argv": [...], "camera": {...},
"visible": bool}, where camera has attributes of the stand-in `Device`, and what is not visible is
written down. RESULTS becomes a list of {"code", "out", "err"}.
"""

import contextlib
import io
import json
import sys
import traceback
from pathlib import Path

import cv2
from test_robot_lerobot_camera import Device

from so101_robobase.base import cli


def run(argv: list[str], camera: dict, visible: bool) -> dict[str, object]:
    if "fixed" in camera:
        camera["fixed"] = {int(key): value for key, value in camera["fixed"].items()}
    cv2.VideoCapture = type("VideoCapture", (Device,), camera)  # type: ignore[misc]
    out, err = io.StringIO(), io.StringIO()
    with contextlib.ExitStack() as redirected:
        if not visible:
            redirected.enter_context(contextlib.redirect_stdout(out))
            redirected.enter_context(contextlib.redirect_stderr(err))
        try:
            code = cli.main(argv)
        except SystemExit as leave:
            code = leave.code
        except BaseException:
            traceback.print_exc()
            code = None
    return {"code": code, "out": out.getvalue(), "err": err.getvalue()}


if __name__ == "__main__":
    jobs = json.loads(Path(sys.argv[1]).read_text())
    results = [run(job["argv"], job.get("camera", {}), job.get("visible", False)) for job in jobs]
    Path(sys.argv[2]).write_text(json.dumps(results))
