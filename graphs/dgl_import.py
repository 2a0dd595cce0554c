"""The one place where DGL is imported: `from crossalign.graphs.dgl_import import dgl`.

DGL's wheels hold a compiled GraphBolt library for a few torch releases only, and `import dgl`
fails as a whole where that library (or the part of torchdata that it needs) is missing.
crossalign uses DGL's graphs, kernels and samplers, none of which need GraphBolt. So GraphBolt is
tried, and where it cannot be loaded an empty module stands in for it; everything else of DGL is
imported as it is. Where DGL imports by itself, nothing is changed.
"""

from __future__ import annotations

import importlib
import importlib.machinery
import os
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeAlias

from ..errors import CrossalignError

if TYPE_CHECKING:
    dgl: Any

GRAPHBOLT = "dgl.graphbolt"

DGLGraph: TypeAlias = Any
"""A DGL graph; DGL ships no type information."""


class _StandIn(ModuleType):
    """Takes the place of a GraphBolt that cannot be loaded; says so when something needs it.

    DGL's servers ask of every graph whether it is one of GraphBolt's, so there is a class of
    which none is.
    """

    def __init__(self, name: str, reason: Exception) -> None:
        super().__init__(name, "Stand-in for a GraphBolt that cannot be loaded.")
        self.reason = reason
        self.FusedCSCSamplingGraph = type("FusedCSCSamplingGraph", (), {})

    def __getattr__(self, attribute: str) -> object:
        if attribute.startswith("__"):  # the import machinery asks for optional module fields
            raise AttributeError(attribute)
        raise AttributeError(f"GraphBolt is not available in this DGL ({self.reason})")


class _LenientLoader(Loader):
    """Loads GraphBolt; if that fails, puts a stand-in in its place."""

    def __init__(self, loader: Loader) -> None:
        self.loader = loader

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        return self.loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        try:
            self.loader.exec_module(module)
        except (ImportError, OSError) as error:  # OSError: the compiled library is not there
            for name in [name for name in sys.modules if name.startswith(f"{GRAPHBOLT}.")]:
                del sys.modules[name]
            sys.modules[GRAPHBOLT] = _StandIn(GRAPHBOLT, error)


class _GraphBoltFinder(MetaPathFinder):
    """Finds GraphBolt where Python would, and hands it to the lenient loader."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != GRAPHBOLT:
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _LenientLoader(spec.loader)
        return spec


def _import_dgl() -> ModuleType:
    """Import DGL with torch as its backend, GraphBolt or not.

    Raises:
        CrossalignError: DGL is not installed, or one of its own dependencies is missing.
    """
    # Without this variable DGL prints a notice and writes a file into the home folder.
    os.environ.setdefault("DGLBACKEND", "pytorch")
    finder = _GraphBoltFinder()
    sys.meta_path.insert(0, finder)
    try:
        return importlib.import_module("dgl")
    except (ImportError, OSError) as error:
        missing = getattr(error, "name", None) or "dgl"
        raise CrossalignError(
            f"DGL cannot be imported ({error}); install it with: pip install {missing}"
        ) from error
    finally:
        sys.meta_path.remove(finder)


def dgl_status() -> str:
    """How DGL is imported: `native`, or `with stand-ins for ...` and the reason.

    Raises:
        CrossalignError: it cannot be imported.
    """
    _import_dgl()
    graphbolt = sys.modules.get(GRAPHBOLT)
    if isinstance(graphbolt, _StandIn):
        return f"with stand-ins for {GRAPHBOLT} ({graphbolt.reason})"
    return "native"


def dgl_has_cuda() -> bool:
    """Whether this build of DGL can compute on NVIDIA GPUs (PyPI's cannot)."""
    return _import_dgl().get_global_func("device_api.cuda", True) is not None


def __getattr__(name: str) -> ModuleType:
    """`dgl`, which takes seconds to import, when it is first asked for."""
    if name == "dgl":
        return globals().setdefault("dgl", _import_dgl())
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
