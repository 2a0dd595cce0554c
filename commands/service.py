"""`crossalign serve`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ..errors import ConfigError
from .arguments import positive
from .parser import Commands

BOUNDS = {
    "max-k": "longest list that a request may ask for (default 1000)",
    "max-batch": "most lists or new items of a request (default 256)",
    "max-ids": "longest history, and most ids of a filter (default 10000)",
    "max-body": "bytes of a request (default 8388608)",
    "max-pixels": "pixels of an image (default 16000000)",
}


def add(commands: Commands) -> None:
    """Add the command."""
    command = commands.add(
        "serve",
        serve,
        "an export over HTTP: lists, similar and new items, reasons, and a page to look at them",
        example="shop --port 8000 --workers 2",
    )
    command.add_argument("export_folder", metavar="EXPORT", help="folder that export wrote")
    command.add_argument(
        "--host",
        default=argparse.SUPPRESS,
        help="address to listen on (default 127.0.0.1); any other one than this machine's own "
        "needs a token",
    )
    command.add_argument(
        "--port", type=_port, default=argparse.SUPPRESS, help="default 8000; 0 takes a free one"
    )
    command.add_argument(
        "--workers", type=positive, default=argparse.SUPPRESS, help="processes (default 1)"
    )
    command.add_argument(
        "--threads", type=positive, default=argparse.SUPPRESS, help="of each process (default 1)"
    )
    command.add_argument(
        "--token-file",
        type=Path,
        metavar="FILE",
        help="holds the token that requests must carry (default: CROSSALIGN_TOKEN)",
    )
    command.add_argument(
        "--without-evidence",
        dest="evidence",
        action="store_false",
        help="lists by inner products of the vectors alone",
    )
    command.add_argument("--items", type=Path, metavar="FILE", help="table with titles of items")
    command.add_argument("--id-column", metavar="NAME", help="its column of ids")
    command.add_argument("--title", metavar="NAME", help="its column of titles")
    command.add_argument("--picture", metavar="NAME", help="its column of image files")
    for name, text in BOUNDS.items():
        command.add_argument(f"--{name}", type=positive, default=argparse.SUPPRESS, help=text)
    command.add_argument(
        "--watch",
        type=float,
        default=argparse.SUPPRESS,
        metavar="SECONDS",
        help="between looks for a new export (default 2)",
    )
    command.add_argument(
        "--allow-code",
        action="store_true",
        help="load encoders of the form module:callable that the export names",
    )


def serve(options: argparse.Namespace) -> None:
    """Serve until a signal ends it."""
    given = (options.id_column, options.title, options.picture)
    if options.items is None and any(given):
        raise ConfigError("--id-column, --title and --picture name columns of --items: give it too")
    try:
        from ..serving import http
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"{error.name} is not installed: pip install 'crossalign[serve]'"
        ) from error
    items = None if options.items is None else http.ItemsFile(options.items, *given)
    names = ("host", "port", "workers", "threads", "watch", "evidence", "allow_code")
    bounds = [name.replace("-", "_") for name in BOUNDS]
    chosen: dict[str, Any] = {
        name: getattr(options, name) for name in (*names, *bounds) if hasattr(options, name)
    }
    token = http.read_token(options.token_file)
    http.serve(
        Path(options.export_folder),
        http.ServeOptions(**chosen),
        token=token,
        items=items,
        say=_say,
    )


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65_535:
        raise argparse.ArgumentTypeError(f"'{text}' is not a port from 0 to 65535")
    return int(text)


def _say(line: str) -> None:
    print(line, flush=True)
