"""What is shipped of a trained run: vectors, lists, and a way in for new items and new users."""

from .content_map import ContentMap, MapQuality, fit_content_map
from .export import export_run
from .recommender import Recommender

__all__ = ["ContentMap", "MapQuality", "Recommender", "export_run", "fit_content_map"]
