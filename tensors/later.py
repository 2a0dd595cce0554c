"""Libraries that take long to import, imported when they are first used.

`from ..tensors.later import pd, sp` stands for `import pandas as pd` and
`import scipy.sparse as sp` in modules that are read by every command, also by those that touch no
table and no sparse matrix.
"""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import TYPE_CHECKING, Any

__all__ = ["pa", "pc", "pd", "sp"]


class _Later(ModuleType):
    """Stands in for a module: asked for anything, it imports the module and passes it on."""

    def __getattr__(self, name: str) -> Any:
        return getattr(importlib.import_module(self.__name__), name)


if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa
    import pyarrow.compute as pc
    import scipy.sparse as sp
else:
    pa = _Later("pyarrow")
    pc = _Later("pyarrow.compute")
    pd = _Later("pandas")
    sp = _Later("scipy.sparse")
