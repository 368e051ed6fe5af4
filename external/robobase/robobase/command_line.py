"""This run's command line, in words that a shell and then Hydra read back as they were meant."""

import os
import re
import shlex
import shutil
import sys
from pathlib import Path

from hydra.conf import ConfigSourceInfo, HydraConf
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.types import Quote, QuotedString

_PLAIN_PATH = re.compile(r"[A-Za-z0-9_./@%+-]*/[A-Za-z0-9_./@%+-]*")
_OF_MULTIRUN = re.compile(r"\+*hydra(\.mode=|[./](sweep|sweeper|launcher)\b)")
_DEFAULT = ["-m", "robobase.train"]


def hydra_value(text: str) -> str:
    """`text` as the value of an override: quoted unless it is a path of plain letters."""
    if _PLAIN_PATH.fullmatch(text):
        return text
    quote = Quote.single if '"' in text and "'" not in text else Quote.double
    return QuotedString(text, quote).with_quotes()


def program(hydra: HydraConf) -> list[str]:
    """What follows the name of the interpreter: the module or script that Hydra runs."""
    main = sys.modules["__main__"]
    if getattr(main, "__spec__", None) is not None:
        module = main.__spec__.name  # type: ignore[union-attr]
        run = ["-m", module] if module.rpartition(".")[2] == hydra.job.name else _DEFAULT
    else:
        script = getattr(main, "__file__", None) or ""
        run = [script] if Path(script).stem == hydra.job.name else _DEFAULT
    return run  # the default, where a notebook or a test called `robobase.train.main`


def options(hydra: HydraConf) -> list[str]:
    """Options and `hydra.` overrides of the call whose config node `hydra` is, less multiruns'."""
    found = []
    for source in hydra.runtime.config_sources:
        if source.provider == "command-line":
            found += ["--config-dir", source.path]
        elif source.provider == "main" and _is_given("--config-path", "-cp"):
            found += ["--config-path", source.path if source.schema == "file" else _url(source)]
    if _is_given("--config-name", "-cn"):
        found += ["--config-name", str(hydra.job.config_name)]
    return found + [word for word in hydra.overrides.hydra if not _OF_MULTIRUN.match(word)]


def to_resume(snapshot: Path) -> str:
    """A command with this run's own words, because a resumed run takes no settings over."""
    run, words = _DEFAULT, []
    if HydraConfig.initialized():
        hydra = HydraConfig.get()
        run, words = program(hydra), [*options(hydra), *hydra.overrides.task]
    kept = [word for word in words if not word.lstrip("+").startswith("resume_from=")]
    resume = f"resume_from={hydra_value(str(snapshot))}"
    return shlex.join([interpreter(), *run, *kept, resume])


def interpreter() -> str:
    """`python` where that is the interpreter that runs, else its path."""
    found = shutil.which("python")
    same = found is not None and os.path.realpath(found) == os.path.realpath(sys.executable)
    # a virtual environment's interpreter is a link to one that knows nothing of its packages
    same = same and os.path.dirname(found or "") == os.path.dirname(sys.executable)
    return "python" if same else sys.executable


def _is_given(*names: str) -> bool:
    return any(word.split("=")[0] in names for word in sys.argv)


def _url(source: ConfigSourceInfo) -> str:
    return f"{source.schema}://{source.path}"
