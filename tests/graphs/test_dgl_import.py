"""DGL imports on any torch: a broken GraphBolt is stood in for, a working one is left alone."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

PACKAGES = {
    "working": "ready = True\n",
    "without library": "from . import base\nraise FileNotFoundError('libgraphbolt.so')\n",
    "without dependency": "import torchdata_that_is_not_there\n",
}


@pytest.fixture
def fake_dgl(tmp_path):
    """Imports crossalign's dgl_import against a tiny package called dgl; returns its output."""

    def run(graphbolt, code, main="from . import graphbolt as gb\n"):
        package = tmp_path / "dgl"
        (package / "graphbolt").mkdir(parents=True)
        (package / "__init__.py").write_text(main)
        (package / "graphbolt" / "__init__.py").write_text(graphbolt)
        (package / "graphbolt" / "base.py").write_text("")
        script = f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n{code}"
        return subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, check=False
        )

    return run


CODE = """
from crossalign.graphs.dgl_import import dgl, dgl_status
print(dgl_status())
print([name for name in sys.modules if name.startswith("dgl.graphbolt.")])
print(getattr(dgl.gb, "ready", None) if "native" in dgl_status() else dgl.gb)
"""


def test_a_working_graphbolt_is_left_alone(fake_dgl):
    assert fake_dgl(PACKAGES["working"], CODE).stdout.splitlines() == ["native", "[]", "True"]


@pytest.mark.parametrize("broken", ["without library", "without dependency"])
def test_a_broken_graphbolt_is_stood_in_for(fake_dgl, broken):
    result = fake_dgl(PACKAGES[broken], CODE + "dgl.gb.ItemSet")
    status, leftovers, module = result.stdout.splitlines()
    assert status.startswith("with stand-ins for dgl.graphbolt (")
    assert leftovers == "[]"
    assert module.startswith("<module 'dgl.graphbolt'")
    assert "GraphBolt is not available in this DGL (" in result.stderr


def test_a_broken_dgl_gives_one_line(fake_dgl):
    code = """
from crossalign.errors import CrossalignError
try:
    from crossalign.graphs.dgl_import import dgl
except CrossalignError as error:
    print(error)
"""
    result = fake_dgl("", code, main="import a_package_that_dgl_needs\n")
    assert result.stdout.count("\n") == 1
    assert result.stdout.rstrip().endswith("pip install a_package_that_dgl_needs")


def test_the_installed_dgl_computes_and_is_quiet(tmp_path):
    """No notice on the terminal, no file in the home folder."""
    code = """
from crossalign.graphs.dgl_import import dgl
import torch
graph = dgl.graph((torch.tensor([0, 1]), torch.tensor([2, 2])))
print(dgl.ops.copy_u_sum(graph, torch.tensor([[1.0], [2.0], [4.0]])).tolist())
"""
    environment = {key: value for key, value in os.environ.items() if key != "DGLBACKEND"}
    result = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**environment, "HOME": str(tmp_path)},
    )
    assert result.stdout == "[[0.0], [0.0], [3.0]]\n"
    assert result.stderr == ""
    assert not (tmp_path / ".dgl").exists()
