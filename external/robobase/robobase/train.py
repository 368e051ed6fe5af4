"""`python -m robobase.train`: compose a config with Hydra and run it."""

import contextlib
import errno
import os
import sys
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from robobase import console, hydra_folders, overrides, sanity, signals, sweep
from robobase.errors import UserError, one_line
from robobase.hydra_folders import USER_ERROR
from robobase.settings.readers import check_effect
from robobase.settings.task import task_settings

_CANNOT_WRITE = {
    errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR,
    errno.EIO, errno.ESTALE,
}  # fmt: skip


def run(cfg: DictConfig) -> None:
    """Train; with `num_train_envs=0` evaluate `resume_from` once."""
    sanity.check(cfg)  # before torch is there
    _check_snapshot(cfg.resume_from)
    from robobase.workspace import Workspace

    task = task_settings(cfg)
    check_effect(cfg, overrides.given(), task.settings() if task else None)
    workspace = Workspace(cfg, callbacks=_callbacks(cfg))
    if cfg.num_train_envs > 0:
        workspace.train()
        return
    try:
        metrics = workspace.eval()
        workspace.logger.log_metrics(metrics, workspace.global_env_steps, "eval")
    finally:
        workspace.shutdown()


def _callbacks(cfg: DictConfig) -> list[Any]:
    if cfg.trial is None:
        return []
    from robobase.trial import Trial

    return [Trial(Path(HydraConfig.get().runtime.output_dir), cfg.trial)]


def _check_snapshot(resume_from: str | None) -> None:
    """Tell at once that there is nothing to go on from, as reading it would after seconds."""
    path = Path(resume_from or ".")
    if not path.exists() and not any(path.parent.glob("*_snapshot.pt")):
        raise UserError(f"snapshot {path} does not exist; there is no other snapshot beside it")


@hydra.main(config_path="cfgs", config_name="robobase_config", version_base=None)
def _hydra_main(cfg: DictConfig) -> None:
    job = HydraConfig.get()
    folder = Path(job.runtime.output_dir)
    try:
        run(cfg)
    except Exception as error:
        if sweep.is_job():
            sweep.record_failure(folder, error)
        if job.mode == RunMode.MULTIRUN:  # let the other jobs go on; the parent reports at the end
            return
        message = user_message(error)
        if message is None:
            raise
        _fail(message)
    finally:
        with contextlib.suppress(OSError):  # the folder that Hydra made, where nothing came of it
            folder.rmdir()


def user_message(error: BaseException | None) -> str | None:
    """One line about a mistake of the user or a full disk; None for a fault of the program."""
    while error is not None:
        if isinstance(error, UserError):
            return str(error)
        if isinstance(error, OSError) and error.errno in _CANNOT_WRITE:
            return (
                f"cannot write {error.filename or 'the run folder'}: {error.strerror}; free space "
                "or choose a writable hydra.run.dir; the earlier snapshots are untouched"
            )
        if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":  # torch's
            reason = (str(error).splitlines() or [""])[0]
            return f"memory ran out ({reason}); lower batch_size, num_train_envs or replay.size"
        error = error.__cause__ or error.__context__
    return None


def _fail(message: str) -> None:
    print(f"error: {one_line(message)}", file=sys.stderr)
    sys.exit(USER_ERROR)


def main() -> None:
    """Command line: bad input ends with one line on stderr and exit code 2."""
    if "method=null" in sys.argv[1:]:  # Hydra's defaults list cannot refer to a null
        _fail("no method is chosen; add for example method=drqv2")
    wanted = os.environ.get("HYDRA_FULL_ERROR")
    os.environ["HYDRA_FULL_ERROR"] = "1"  # lets errors through to here instead of printing them
    console.print_lines_at_once()
    try:
        with console.stop_without_reader(), signals.interrupts():
            _hydra_main()
    except KeyboardInterrupt as error:
        if console.was_left():
            sys.exit(console.PIPE_CLOSED)
        print("interrupted; nothing more is saved", file=sys.stderr)
        sys.exit(signals.exit_code(error))
    except UserError as error:  # of a sweeper
        _fail(str(error))
    except (HydraException, OmegaConfBaseException) as error:
        if wanted == "1":
            raise
        _fail(overrides.explained(error))
    except OSError as error:  # of Hydra, which makes the run folder
        message = user_message(error)
        if message is None:
            raise
        _fail(message)
    finally:
        if wanted is None:
            del os.environ["HYDRA_FULL_ERROR"]
        else:
            os.environ["HYDRA_FULL_ERROR"] = wanted
        hydra_folders.remove_unused()


if __name__ == "__main__":
    main()
