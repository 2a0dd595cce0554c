"""Reference lines: simple recommenders that any trained method must beat."""

from .base import REFERENCES, Reference
from .content_knn import ContentKNN
from .ials import IALS
from .item_knn import ItemKNN
from .most_popular import Popularity

__all__ = [
    "IALS",
    "REFERENCES",
    "ContentKNN",
    "ItemKNN",
    "Popularity",
    "Reference",
]
