"""Names of classes in labelled folders from elsewhere, and which of our classes they mean."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from robobase.errors import UserError
from robobase.reading import read_yaml
from so101_robobase.base.files import inside
from so101_robobase.vision.observation import CLASSES

CLASS_MAP = "class_map.yaml"
UNCOVERED = "uncovered"
"""Key of a class map: the class of the pixels that no outline covers."""

ClassMap = Mapping[str, str]


def read_class_map(given: ClassMap | Path | str | None, folder: Path) -> dict[str, str]:
    """{name there: our name} as `given`, or from a YAML file, or from `folder`/class_map.yaml.

    Raises UserError if the file cannot be read or a name on the right is none of `CLASSES`.
    """
    source = given if given is not None else inside(folder, CLASS_MAP)
    if isinstance(source, str | Path):
        path = Path(source)
        if given is None and not path.exists():
            return {}
        mapping, where = read_yaml_mapping(path), str(path)
    else:
        mapping, where = dict(source), "class_map"
    for theirs, ours in mapping.items():
        if _key(str(ours)) not in CLASSES:
            raise UserError(
                f"{where} maps {theirs!r} to {ours!r}, which is no class; "
                f"known: {', '.join(CLASSES)}"
            )
    return {_key(str(theirs)): _key(str(ours)) for theirs, ours in mapping.items()}


def class_ids(names: Iterable[str], class_map: ClassMap, where: Path) -> dict[str, int]:
    """{name there: our class id}; capitals, blanks and hyphens in a name do not matter.

    Raises UserError that names all unknown classes of `where` at once.
    """
    wanted = {name: class_map.get(_key(name), _key(name)) for name in names}
    unknown = sorted(name for name, ours in wanted.items() if ours not in CLASSES)
    if unknown:
        raise UserError(
            f"{where} has unknown classes: {', '.join(map(repr, unknown))}; known: "
            f"{', '.join(CLASSES)}; say what they mean in a {CLASS_MAP} beside it, as in "
            f"'{unknown[0]}: {CLASSES[0]}'"
        )
    return {name: CLASSES.index(ours) for name, ours in wanted.items()}


def read_yaml_mapping(path: Path) -> dict[Any, Any]:
    """The mapping that the file holds. Raises UserError if it is missing or holds none."""
    content = read_yaml(path)
    if not isinstance(content, dict):
        raise UserError(f"{path} must hold 'name: value' lines")
    return content


def _key(name: str) -> str:
    return re.sub(r"[\s-]+", "_", name.strip().lower())
