"""An encoder of one's own: `module:callable`."""

from __future__ import annotations

import functools
import hashlib
import importlib
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import ConfigError
from .base import ContentEncoder
from .libraries import OWN_ROOT, first_line, foreign_packages
from .media import Kind

LARGEST_SIDE = 1024


class OwnEncoder(ContentEncoder):
    """Calls a function of the user's: a list of n contents -> vectors `(n, dim)`.

    Contents are `str`, PIL images in RGB of at most 1024 pixels a side, or `Sound`. A class is
    made once with the options and then called; of a function, the options are keyword arguments.
    A `torch.nn.Module` is moved to the device, and its weights are hashed; of anything else, the
    source of its module is.

    Raises:
        ConfigError: the module or the callable does not exist, or does not take the options.
    """

    reads = ("text", "image", "audio")

    def __init__(self, name: str, options: Mapping[str, Any]) -> None:
        self.name = name
        self.options = dict(options)
        target, self.source = _target(name)
        try:
            self.call: Callable[[list[Any]], Any] = (
                target(**options)
                if isinstance(target, type)
                else functools.partial(target, **options)
            )
        except TypeError as error:
            raise ConfigError(f"encoder {name}: {first_line(error)}; check its options") from error
        given = self.call if isinstance(self.call, nn.Module) else target
        self.module = given if isinstance(given, nn.Module) else nn.Module()

    def prepare(self, content: Any) -> Any:
        """Images are made small, so that a batch of them fits in memory."""
        if hasattr(content, "thumbnail"):
            content.thumbnail((LARGEST_SIDE, LARGEST_SIDE))
        return content

    def encode(self, kind: Kind, prepared: Sequence[Any], device: torch.device) -> Tensor:
        """What the callable returns, as a tensor."""
        return torch.as_tensor(self.call(list(prepared)))

    def preprocessing(self) -> dict[str, Any]:
        """The options, and the source that they are given to."""
        code = Path(self.source).read_bytes() if self.source else b""
        return {
            "options": self.options,
            "source_sha256": hashlib.sha256(code).hexdigest(),
            "largest_side": LARGEST_SIDE,
        }


def _target(name: str) -> tuple[Any, str | None]:
    """What `module:callable` names, and its source; the working folder is searched too."""
    module, _, attribute = name.partition(":")
    here = str(Path.cwd())
    searched = [here] if Path(here).resolve() != OWN_ROOT and here not in sys.path else []
    with foreign_packages():
        sys.path[:0] = searched
        try:
            found = importlib.import_module(module)
        except (ImportError, ValueError) as error:
            raise ConfigError(
                f"encoder {name}: {first_line(error)}; write it as module:callable, and run where "
                "Python finds the module"
            ) from error
        finally:
            for entry in searched:
                sys.path.remove(entry)
    target = getattr(found, attribute, None)
    if not callable(target):
        raise ConfigError(f"encoder {name}: module '{module}' has no callable '{attribute}'")
    return target, found.__file__
