"""Pictures of what alignment does to the views of a run: maps, gaps and nearest items."""

from .maps import MapOptions, Picture, items_picture, joint_map, pairs_picture
from .nearest import Near, nearest_items
from .stages import Stage, run_stages
from .visualize import visualize

__all__ = [
    "MapOptions",
    "Near",
    "Picture",
    "Stage",
    "items_picture",
    "joint_map",
    "nearest_items",
    "pairs_picture",
    "run_stages",
    "visualize",
]
