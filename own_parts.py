"""Parts from outside: backbones and alignments of files, modules and installed packages.

A part registers itself where it is imported, so bringing it in is importing it. Standard library
only.
"""

from __future__ import annotations

import importlib
import sys
import traceback
from collections.abc import Iterable
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

from .errors import ConfigError

GROUP = "crossalign"
"""Entry point group of packages that bring parts."""
OPTION = "--import"


def absolute(source: str) -> str:
    """A file by its absolute path, so that it is found from any folder; a module as it is."""
    return str(Path(source).absolute()) if source.endswith(".py") else source


def import_parts(source: str) -> None:
    """Import a file or a module, which registers its parts.

    The folder of a file goes to the end of the module search path, as if the file were a program:
    it may import what lies beside it, and worker processes find it.

    Args:
        source: a path that ends with `.py`, or the name of a module.

    Raises:
        ConfigError: it is not there, another module has its name, or its import fails.
    """
    if not source.endswith(".py"):
        _import(source, source)
        return
    file = Path(absolute(source))
    known = sys.modules.get(file.stem)
    if known is None and not file.is_file():
        raise ConfigError(
            f"{file} is not there: restore it, or give the file where it lies now with {OPTION}"
        )
    if str(file.parent) not in sys.path and file.is_file():
        sys.path.append(str(file.parent))
    module = known or _import(file.stem, str(file))
    found = Path(str(getattr(module, "__file__", None) or "built in"))
    if file.is_file() and found.resolve() != file.resolve():
        raise ConfigError(
            f"{file} cannot be imported: '{file.stem}' already is a module ({found}); rename the "
            "file, or give one of the two"
        )


@cache
def import_installed() -> tuple[str, ...]:
    """Import what installed packages bring (entry points of group `crossalign`): module names.

    Raises:
        ConfigError: an import fails; the message names the package.
    """
    found = sorted(entry_points(group=GROUP), key=lambda point: point.value)
    for point in found:
        _import(point.module, f"{point.module} of the installed {_package(point)}")
    return tuple(dict.fromkeys(point.module for point in found))


def bring_in(sources: Iterable[str]) -> None:
    """Import the parts of installed packages and those of `sources`, see `import_parts`."""
    import_installed()
    for source in sources:
        import_parts(source)


def modules_of(classes: Iterable[type], installed: Iterable[str]) -> list[str]:
    """Those of `installed` whose package defines one of `classes`."""
    packages = {cls.__module__.partition(".")[0] for cls in classes}
    return [module for module in installed if module.partition(".")[0] in packages]


def _package(point: EntryPoint) -> str:
    return f"package {point.dist.name}" if point.dist else "package"


def _import(module: str, what: str) -> object:
    """Import `module`; `what` names it in messages."""
    importlib.invalidate_caches()
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is not None and f"{module}.".startswith(f"{error.name}."):
            raise ConfigError(
                f"no module '{module}', which has parts of this run or command: install the "
                f"package that holds it, or give a file, as in {OPTION} my_parts.py"
            ) from None
        raise _failed(what, error) from error
    except Exception as error:  # whatever a foreign module does, it is named
        raise _failed(what, error) from error


def _failed(what: str, error: Exception) -> ConfigError:
    frames = [f for f in traceback.extract_tb(error.__traceback__) if "importlib" not in f.filename]
    where = f", line {frames[-1].lineno} of {frames[-1].filename}" if len(frames) > 1 else ""
    reason = " ".join(str(error).split())
    return ConfigError(f"cannot import {what}: {type(error).__name__}: {reason}{where}; mend it")
