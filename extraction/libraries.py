"""The libraries that encode content: imported when used, their weights named and hashed."""

from __future__ import annotations

import hashlib
import importlib
import importlib.metadata
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import torch
from torch import nn

from ..errors import ConfigError

OWN_ROOT = Path(__file__).resolve().parents[1]


@contextmanager
def foreign_packages() -> Iterator[None]:
    """Hide the root of this package from imports, where it stands on the path.

    Started in a checkout, Python would take our `datasets` for Hugging Face's package of that
    name, which sentence-transformers and transformers import as soon as it seems to exist.
    """
    hidden = [entry for entry in sys.path if Path(entry or ".").resolve() == OWN_ROOT]
    sys.path[:] = [entry for entry in sys.path if entry not in hidden]
    try:
        yield
    finally:
        sys.path[:0] = hidden


def library(module: str, package: str, extra: str = "extract") -> ModuleType:
    """The third-party `module`.

    Args:
        module: what is imported.
        package: what pip calls it, for the message.
        extra: of crossalign, that brings it.

    Raises:
        ConfigError: it is not installed, or does not import beside the torch that is.
    """
    with foreign_packages():
        try:
            return importlib.import_module(module)
        except (ImportError, OSError, RuntimeError) as error:
            if isinstance(error, ModuleNotFoundError) and error.name:
                raise ConfigError(
                    f"the package {package} is not installed ({error}): "
                    f"pip install 'crossalign[{extra}]', or pip install {package}"
                ) from None
            raise ConfigError(
                f"the package {package} does not import here ({first_line(_root(error))}): install "
                "builds of it and of what is named that belong to the installed torch; what is not "
                "needed, such as torchvision for texts alone, may also be uninstalled"
            ) from error


def _root(error: BaseException) -> BaseException:
    """What went wrong first: libraries say in their own words that something did."""
    while (earlier := error.__cause__ or error.__context__) is not None:
        error = earlier
    return error


def versions(packages: tuple[str, ...]) -> dict[str, str]:
    """Package -> its version, of those that are installed."""
    found = {}
    for package in packages:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue  # a part of this package stands in for it, or it is a module of one's own
    return found


@contextmanager
def loading(model: str, fetch: str) -> Iterator[None]:
    """Around the loading of weights: what goes wrong becomes one line that says how to get them.

    Args:
        model: name or folder of the weights.
        fetch: what to do where they are not.

    Raises:
        ConfigError: they could not be loaded, for whatever reason the library has.
    """
    try:
        with foreign_packages():
            yield
    except ConfigError:
        raise
    except Exception as error:  # every library has errors of its own for weights it cannot find
        raise ConfigError(
            f"no weights '{model}' could be loaded ({first_line(error)}): {fetch}"
        ) from error


def from_hub(model: str) -> str:
    """How to get the weights that Hugging Face calls `model` to a machine without network."""
    if Path(model).exists():
        return "check that it is whole and of this model"
    return (
        f"give a folder of weights, or where there is network run `hf download {model} "
        "--local-dir FOLDER` and give that folder as the model"
    )


def weights_hash(module: nn.Module) -> str:
    """SHA-256 over names, types, shapes and values of all parameters and buffers."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        flat = tensor.detach().cpu().contiguous().reshape(-1)
        digest.update(flat.view(torch.uint8).numpy().data)
    return digest.hexdigest()


def first_line(error: BaseException) -> str:
    """The first line that says something, or the error's type."""
    lines = (line.strip() for line in str(error).splitlines())
    return next((line for line in lines if line), type(error).__name__).rstrip(".:")
