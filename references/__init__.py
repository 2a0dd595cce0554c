"""Reference lines: simple recommenders that any trained method must beat."""

from .base import REFERENCES, Reference
from .content_knn import ContentKNN
from .ease import EASE, ContentEASE
from .ials import IALS
from .item_knn import ItemKNN
from .low_pass import GFCF
from .most_popular import Popularity

__all__ = [
    "EASE",
    "GFCF",
    "IALS",
    "REFERENCES",
    "ContentEASE",
    "ContentKNN",
    "ItemKNN",
    "Popularity",
    "Reference",
]
