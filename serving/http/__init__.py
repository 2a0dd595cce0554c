"""An export over HTTP: lists, similar and new items, reasons; taken over anew without a pause.

Needs `pip install crossalign[serve]`.
"""

from .options import ItemsFile, ServeOptions, read_token
from .supervisor import serve

__all__ = ["ItemsFile", "ServeOptions", "read_token", "serve"]
