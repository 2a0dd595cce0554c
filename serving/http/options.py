"""How an export is served."""

from __future__ import annotations

import ipaddress
import os
from pathlib import Path
from typing import ClassVar

from pydantic import Field
from pydantic.dataclasses import dataclass

from ...errors import ConfigError
from ...options import STRICT, Options

TOKEN_VARIABLE = "CROSSALIGN_TOKEN"
SHORTEST_TOKEN = 16
METRICS_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
"""Names the folder of all processes' counts; set before prometheus_client is imported."""


@dataclass(frozen=True, config=STRICT)
class ServeOptions(Options):
    """Where a service listens, and what a request may cost."""

    section: ClassVar[str] = "serve"

    host: str = "127.0.0.1"
    """Address to listen on; any but this machine's own needs a token."""

    port: int = Field(default=8000, ge=0, le=65_535)
    """Port to listen on; 0 takes a free one."""

    workers: int = Field(default=1, ge=1, le=256)
    """Processes that answer."""

    threads: int = Field(default=1, ge=1)
    """Threads of each process that score."""

    evidence: bool = True
    """Whether lists carry the evidence of an export that has some."""

    max_k: int = Field(default=1000, ge=1)
    """Longest list that a request may ask for."""

    max_batch: int = Field(default=256, ge=1)
    """Most lists, or new items, of a request."""

    max_ids: int = Field(default=10_000, ge=1)
    """Longest history, and most ids of a filter."""

    max_body: int = Field(default=8 * 2**20, ge=1024)
    """Bytes of a request."""

    max_pixels: int = Field(default=16_000_000, ge=1)
    """Images with more pixels are refused, and never decoded."""

    body_seconds: float = Field(default=30.0, gt=0)
    """Time in which a request must have arrived."""

    watch: float = Field(default=2.0, gt=0)
    """Seconds between looks at the folder for a new export; SIGHUP makes it look at once."""

    allow_code: bool = False
    """Load encoders of the form module:callable, which run code that the export names."""

    def local(self) -> bool:
        """Whether only this machine can reach the service."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False


@dataclass(frozen=True)
class ItemsFile:
    """A table with titles and pictures of items, for people who look at lists."""

    path: Path
    id_column: str | None = None
    title: str | None = None
    """column of titles; by default the one called title or name"""
    picture: str | None = None
    """column of image files, relative to the table; no pictures if None"""


def read_token(file: Path | None) -> str | None:
    """The token that requests must carry: the file's, else that of the environment, else None.

    Raises:
        ConfigError: the file cannot be read, or the token is short, or is no visible ASCII.
    """
    if file is not None:
        try:
            token, source = file.read_text(encoding="utf-8").strip(), str(file)
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{file}: no token can be read ({error}); write one there") from None
    elif TOKEN_VARIABLE in os.environ:
        token, source = os.environ[TOKEN_VARIABLE].strip(), TOKEN_VARIABLE
    else:
        return None
    if len(token) < SHORTEST_TOKEN or not all("!" <= letter <= "~" for letter in token):
        raise ConfigError(
            f"{source}: a token needs {SHORTEST_TOKEN} visible ASCII characters at least, such as "
            "`python -c 'import secrets; print(secrets.token_urlsafe(32))'` prints"
        )
    return token


def require_token(options: ServeOptions, token: str | None) -> None:
    """Refuse to be reached from elsewhere without a token.

    Raises:
        ConfigError: it would be.
    """
    if token is None and not options.local():
        raise ConfigError(
            f"listening on {options.host or 'all addresses'} needs a token: give --token-file, or "
            f"set {TOKEN_VARIABLE}; without one only 127.0.0.1 is served"
        )
