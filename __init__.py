"""crossalign: feedback-oriented multi-modal alignment for any recommender.

`from crossalign import dgl` gives DGL, also beside a torch for which its wheels hold no GraphBolt
and plain `import dgl` fails; see `docs/graph.md`.
"""

from __future__ import annotations

from typing import Any


def __getattr__(name: str) -> Any:
    """`crossalign.dgl`, imported when it is asked for: a file `dgl.py` would hide DGL itself."""
    if name == "dgl":
        from .graphs.dgl_import import dgl

        return dgl
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
