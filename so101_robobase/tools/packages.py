"""Which installed packages do not belong together, and which extras of this project are there."""

import importlib.metadata
from collections.abc import Iterator

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

PROJECT = "so101-robobase"
_EXTRAS = {
    "perception": "torchvision",
    "robot": "lerobot",
    "search": "optuna",
    "notebooks": "nbclient",
}
"""Extras and a package that comes with each."""
_TWICE = ("opencv-python", "opencv-python-headless")
_BUILT_TOGETHER = ("torch", "torchvision")


def clashes() -> Iterator[tuple[str, str]]:
    """(`A 1.0 wants B<2, there is B 2.1`, what mends it or "") among `ours()`."""
    for name in sorted(ours()):
        who = name if name == PROJECT else f"{name} {version(name)}"
        for requirement in _requirements(name):
            there = version(requirement.name)
            wanted = f"{requirement.name}{requirement.specifier}"
            if there is None and name == PROJECT and not _of_extra(requirement):
                yield f"{who} wants {wanted}, there is none", ""
            if there is not None and not requirement.specifier.contains(there, prereleases=True):
                yield f"{who} wants {wanted}, there is {requirement.name} {there}", ""
    if all(map(version, _TWICE)):
        yield f"{' and '.join(_TWICE)} both bring the module cv2", f"pip uninstall {_TWICE[0]}"
    builds = {name: Version(there).local for name in _BUILT_TOGETHER if (there := version(name))}
    if len(set(builds.values())) > 1:
        text = " and ".join(f"{name} {version(name)}" for name in builds)
        yield f"{text} are of different builds", "install both in one command, from one index"


def ours() -> set[str]:
    """Installed packages that this project, its extras included, leads to."""
    found: set[str] = set()
    waiting = [PROJECT]
    while waiting:
        name = waiting.pop()
        if name not in found and version(name):
            found.add(name)
            waiting += [canonicalize_name(each.name) for each in _requirements(name)]
    return found


def extras() -> tuple[list[str], list[str]]:
    """Extras that are installed, and those that are not."""
    there = [extra for extra, package in _EXTRAS.items() if version(package)]
    return there, [extra for extra in _EXTRAS if extra not in there]


def version(name: str) -> str | None:
    """Of an installed package; None where there is none."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _requirements(name: str) -> Iterator[Requirement]:
    """What a package asks for here; for this project with all its extras."""
    chosen = ("", *_EXTRAS) if name == PROJECT else ("",)
    for line in importlib.metadata.requires(name) or ():
        try:
            requirement = Requirement(line)
        except InvalidRequirement:
            continue
        marker = requirement.marker
        if marker is None or any(marker.evaluate({"extra": extra}) for extra in chosen):
            yield requirement


def _of_extra(requirement: Requirement) -> bool:
    return requirement.marker is not None and not requirement.marker.evaluate({"extra": ""})
