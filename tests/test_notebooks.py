"""Notebooks are kept without outputs, import what exists, and run from top to bottom."""

import ast
import importlib
import json
from pathlib import Path

import pytest

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))
SMALL = {
    # The first of these two fails, so that the gallery has a row.
    "evaluate_snapshot": {"NUM_EPISODES": 2, "SEED": 2_000_011, "TILE": 64},
    "reward_versions": {"NUM_EPISODES": 2},
    "observation_parity": {"NUM_STEPS": 8, "NUM_ENVS": 1},
}
BROUGHT_BY_THE_EXTRA = "IPython"
each = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def code_cells(path):
    return [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code"]


def parameters(path):
    tagged = [c for c in code_cells(path) if "parameters" in c["metadata"].get("tags", ())]
    assert len(tagged) == 1
    return tagged[0]


def test_all_notebooks_are_known():
    assert [path.stem for path in NOTEBOOKS] == sorted(SMALL)


@each
def test_a_notebook_is_kept_without_what_it_once_showed(path):
    notebook = json.loads(path.read_text())
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    ids = [cell["id"] for cell in notebook["cells"]]
    assert len(set(ids)) == len(ids)
    for cell in code_cells(path):
        assert cell["outputs"] == []
        assert cell["execution_count"] is None


@each
def test_parameters_are_plain_values_on_top_and_the_small_ones_are_among_them(path):
    cell = parameters(path)
    assert cell == code_cells(path)[0]
    values = {}
    for line in ast.parse("".join(cell["source"])).body:
        assert isinstance(line, ast.Assign)
        values[line.targets[0].id] = ast.literal_eval(line.value)
    assert set(SMALL[path.stem]) <= set(values)
    for name, value in values.items():
        if name in ("SNAPSHOT", "SEGMENTATION"):
            assert (path.parents[1] / value).is_file()


@each
def test_what_a_notebook_imports_exists(path):
    source = "\n".join("".join(cell["source"]) for cell in code_cells(path))
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                importlib.import_module(alias.name)
        elif isinstance(node, ast.ImportFrom) and not node.module.startswith(BROUGHT_BY_THE_EXTRA):
            module = importlib.import_module(node.module)
            for alias in node.names:
                if not hasattr(module, alias.name):
                    importlib.import_module(f"{node.module}.{alias.name}")


@pytest.mark.slow
@each
def test_a_notebook_runs_from_top_to_bottom(path, tmp_path):
    nbformat = pytest.importorskip("nbformat", reason="Jupyter is not installed")
    nbclient = pytest.importorskip("nbclient", reason="nbclient is not installed")
    pytest.importorskip("ipykernel", reason="Jupyter has no kernel for Python here")
    notebook = nbformat.read(path, as_version=4)
    small = "\n".join(f"{name} = {value!r}" for name, value in SMALL[path.stem].items())
    tagged = [c for c in notebook.cells if "parameters" in c.metadata.get("tags", ())]
    tagged[0].source += f"\n{small}"
    folder = {"metadata": {"path": str(tmp_path)}}  # any will do
    nbclient.NotebookClient(notebook, timeout=900, resources=folder).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    shown = [output.get("data", {}) for output in outputs]
    assert sum("image/png" in data for data in shown) >= 2
    if path.stem == "evaluate_snapshot":
        assert any("<video" in data.get("text/html", "") for data in shown)
        assert "failed: 1 " in "".join(output.get("text", "") for output in outputs)
