"""On which machine a run was made and with which versions, from its versions.json."""

from dataclasses import dataclass
from pathlib import Path

from robobase.errors import UserError
from robobase.reading import read_json
from robobase.settings.tree import at

_PACKAGES = ("torch", "mujoco", "so101-robobase")


@dataclass(frozen=True)
class Versions:
    """What is not known is empty."""

    cpu: str = ""
    cores: str = ""
    gpus: str = ""
    platform: str = ""
    packages: tuple[tuple[str, str], ...] = ()  # Python first
    commit: str = ""


def versions_of(folder: Path) -> Versions:
    """Of the run in `folder`; nothing is known where the file is missing or damaged."""
    try:
        content = read_json(folder / "versions.json", what="versions")
    except UserError:
        return Versions()
    gpus = at(content, "machine.gpus")
    cores = at(content, "machine.cores")
    packages = at(content, "packages")
    known = packages if isinstance(packages, dict) else {}
    return Versions(
        cpu=str(at(content, "machine.cpu") or ""),
        cores=f"{cores} cores" if cores else "",
        gpus=", ".join(map(str, gpus)) if isinstance(gpus, list) else "",
        platform=str(at(content, "machine.platform") or ""),
        packages=(
            ("Python", str(at(content, "python") or "")),
            *((name, str(known.get(name, ""))) for name in _PACKAGES),
        ),
        commit=str(at(content, "git") or "")[:12],
    )
