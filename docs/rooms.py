"""The rooms of the house, bottom up, and who imports whom, read from the code.

`tests/so101_robobase/test_rooms.py` holds the order, `docs/architecture.py` draws it.
"""

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).parents[1]

ROOMS = {
    "robobase": "the engine: workspace, replay buffer, methods; knows no arm",
    "base": "what every room may use: command line, files, settings",
    "arm": "one arm, simulated or real: joints, kinematics, control",
    "vision": "what a policy sees, made the same way in both worlds",
    "sim": "N arms in an engine: scene, physics, pictures; no task",
    "tasks": "what is to be done and when it is done; a folder each",
    "training": "what a run shows and keeps: tables, curves, the best",
    "evaluation": "success with its interval, videos, robustness",
    "experiments": "many runs: list, compare, report, clean",
    "perception": "networks that find class ids and disparity in pictures",
    "envs": "tasks as environments of Gymnasium and RoboBase",
    "robot": "rollouts: drivers, loop, safety, emulated servos",
    "tools": "what one uses beside training: doctor",
    "benchmarks": "every published figure, one command each",
    "hydra_plugins": "shows Hydra the tasks and cfgs/, runs sweeps",
}
"""Bottom up: a room imports from itself and from what stands before it."""

PLUGIN = "so101_robobase"
"""The package of the rooms between the engine and the benchmarks. Its own `__init__`, with version
and registrations, and `__main__` stand in no room: all may import them, they may import all."""

FOLDERS = {
    "robobase": "external/robobase/robobase",
    PLUGIN: PLUGIN,
    "benchmarks": "benchmarks",
    "hydra_plugins": "hydra_plugins",
}
"""Where the top-level names that are read have their files, from the root of the repository."""

Imports = Mapping[str, frozenset[str]]


def room(module: str) -> str | None:
    """The room of a module by its full name; None for what stands in the plugin's own folder."""
    top, *rest = module.split(".")
    if top != PLUGIN:
        return top
    return rest[0] if rest and rest[0] != "__main__" else None


def read_imports(root: Path = ROOT) -> Imports:
    """What each module imports of the four packages: lazily, relatively and for types alone too."""
    files = dict(_modules(root))
    return {module: frozenset(_imports(module, files)) for module in files}


def arrows(imports: Imports) -> set[tuple[str, str]]:
    """(room, another room that it imports from)."""
    found = {(room(module), room(other)) for module, others in imports.items() for other in others}
    return {(a, b) for a, b in found if a and b and a != b}


def unknown(imports: Imports) -> list[str]:
    """Modules in rooms that are not in the list."""
    return sorted(module for module in imports if room(module) not in (None, *ROOMS))


def upward(imports: Imports) -> list[str]:
    """Imports of a room from one above it, as `module -> module`."""
    level = {name: number for number, name in enumerate(ROOMS)}
    return sorted(
        f"{module} -> {other}"
        for module, others in imports.items()
        for other in others
        if level.get(room(module) or "", len(ROOMS)) < level.get(room(other) or "", -1)
    )


def circles(imports: Imports) -> list[list[str]]:
    """Groups of modules each of which reaches all of its group: strongly connected components."""
    reach = {module: _reached(module, imports) for module in imports}
    groups = {
        tuple(sorted({module, *(other for other in reach[module] if module in reach[other])}))
        for module in imports
        if module in reach[module]
    }
    return [list(group) for group in sorted(groups)]


def names_imported(file: Path) -> Iterator[str]:
    """Every dotted name that a file imports: `a.b` of `from a import b`, dots first if relative."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (f"{node.module}." if node.module else "")
            yield from (module + alias.name for alias in node.names)


def _modules(root: Path) -> Iterator[tuple[str, Path]]:
    for top, folder in FOLDERS.items():
        for file in sorted((root / folder).rglob("*.py")):
            parts = [top, *file.relative_to(root / folder).with_suffix("").parts]
            yield ".".join(parts).removesuffix(".__init__"), file


def _imports(module: str, files: Mapping[str, Path]) -> set[str]:
    """Modules among `files`; of `from a import b` the module `a.b` if there is one, else `a`."""
    package = module if files[module].name == "__init__.py" else module.rpartition(".")[0]
    found = set()
    for name in names_imported(files[module]):
        full = _absolute(name, package)
        if f"benchmarks.{full.split('.')[0]}" in files:
            full = f"benchmarks.{full}"  # scripts, not a package: they import each other flat
        while full and full not in files:
            full = full.rpartition(".")[0]
        found.add(full)
    return found - {"", module}


def _absolute(name: str, package: str) -> str:
    level = len(name) - len(name.lstrip("."))
    if level == 0:
        return name
    parts = package.split(".")
    return ".".join([*parts[: len(parts) - level + 1], name[level:]]).rstrip(".")


def _reached(module: str, imports: Imports) -> set[str]:
    """Every module that `module` imports, directly or through others."""
    reached: set[str] = set()
    waiting = [module]
    while waiting:
        for other in imports[waiting.pop()]:
            if other not in reached:
                reached.add(other)
                waiting.append(other)
    return reached
