"""What is shipped of a trained run: vectors, lists, and a way in for new items and new users."""

from typing import TYPE_CHECKING, Any

from .content_map import ContentMap, MapQuality, fit_content_map
from .recommender import Recommender

if TYPE_CHECKING:
    from .export import export_run

__all__ = ["ContentMap", "MapQuality", "Recommender", "export_run", "fit_content_map"]


def __getattr__(name: str) -> Any:
    """`export_run`, imported when asked for: it reads runs, which services never do."""
    if name == "export_run":
        from .export import export_run

        return export_run
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
