"""The one door to FAISS, opened at first use: `faiss = import_faiss()`.

Any distribution that provides the module `faiss` will do: faiss-cpu, faiss-gpu-cu12, conda's
faiss-gpu, or a build of your own.
"""

from __future__ import annotations

import importlib
from types import ModuleType

from ..errors import CrossalignError


def import_faiss() -> ModuleType:
    """The `faiss` module.

    Raises:
        CrossalignError: FAISS is not installed or cannot be loaded.
    """
    try:
        return importlib.import_module("faiss")
    except (ImportError, OSError) as error:
        raise CrossalignError(
            f"FAISS cannot be imported ({error}); install it with: pip install faiss-cpu"
        ) from error


def n_gpus() -> int:
    """GPUs that FAISS can use, found at run time; raises as `import_faiss` does."""
    faiss = import_faiss()
    return int(faiss.get_num_gpus()) if hasattr(faiss, "get_num_gpus") else 0
