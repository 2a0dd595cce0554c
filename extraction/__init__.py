"""From raw content (texts, images, sounds) to the features that data sets read."""

from .audio import TransformersAudio
from .base import ENCODERS, ContentEncoder
from .ducho import from_ducho
from .encode import encode_sources
from .extract import Extraction, extract
from .images import OpenClip, Timm
from .inputs import Inputs, ItemsTable, from_columns, from_folder, read_items
from .make import DEFAULT_ENCODERS, make_encoder, record_encoder
from .media import Kind, Sound, Unreadable
from .options import ExtractOptions
from .own import OwnEncoder
from .texts import SentenceTransformers

__all__ = [
    "DEFAULT_ENCODERS",
    "ENCODERS",
    "ContentEncoder",
    "ExtractOptions",
    "Extraction",
    "Inputs",
    "ItemsTable",
    "Kind",
    "OpenClip",
    "OwnEncoder",
    "SentenceTransformers",
    "Sound",
    "Timm",
    "TransformersAudio",
    "Unreadable",
    "encode_sources",
    "extract",
    "from_columns",
    "from_ducho",
    "from_folder",
    "make_encoder",
    "read_items",
    "record_encoder",
]
