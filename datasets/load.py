"""One call that reads a data set, whatever its layout."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from types import ModuleType

from ..errors import ConfigError, DataError, unknown_name
from . import mmrec, mmssl, pairs, planted, table
from .controls import CONTROL_OPTIONS, apply_controls
from .corruption import CORRUPTION_OPTIONS, apply_corruption
from .dataset import Dataset
from .feature_files import add_feature_files, left_to_the_layout
from .options import DataOptions
from .withheld import NEW_ITEMS, read_whole, withhold_items


@dataclass(frozen=True)
class Format:
    """A file layout. A new one is a module with these things, and a line in `FORMATS`.

    Attributes:
        summary: one line.
        paper: where the layout comes from.
        expects: the files that make the layout, for messages.
        options: the fields of `DataOptions` it reads, beside those that all layouts read.
        recognises: whether a path looks like this layout.
        read: reads it.
    """

    summary: str
    paper: str
    expects: str
    options: tuple[str, ...]
    recognises: Callable[[Path], bool]
    read: Callable[[Path, DataOptions], Dataset]


def _format(module: ModuleType) -> Format:
    summary = (module.__doc__ or "").partition("\n")[0]
    return Format(
        summary, module.PAPER, module.EXPECTS, module.OPTIONS, module.recognises, module.read
    )


FORMATS = {
    "planted": _format(planted),
    "mmrec": _format(mmrec),
    "mmssl": _format(mmssl),
    "pairs": _format(pairs),
    "table": _format(table),
}
ALWAYS_READ = (
    "format",
    "hold_out",
    "modalities",
    "features",
    "item_graphs",
    *CONTROL_OPTIONS,
    *CORRUPTION_OPTIONS,
)
DEFAULTS = DataOptions()


def load_dataset(path: str | Path, *, options: DataOptions = DEFAULTS) -> Dataset:
    """Read the data set at `path`.

    Args:
        path: a folder or a table file, or `planted` for the built-in data set.
        options: how to read it; the layout is recognised from the files unless
            `options.format` names it.

    Raises:
        DataError: the path does not exist, no layout is recognised, or the data are broken.
        ConfigError: no layout has this name, or an option has been set that it does not read.
    """
    path = Path(path)
    name = format_of(path, options)
    withholds = options.split == NEW_ITEMS
    layout = read_whole(options) if withholds else options
    _refuse_unread_options(name, layout)
    data = FORMATS[name].read(path, left_to_the_layout(layout))
    if withholds and options.hold_out:
        data = withhold_items(data, options.split_seed)
    clean = add_feature_files(data, options)
    return apply_controls(apply_corruption(clean, options), options)


def format_of(path: Path, options: DataOptions) -> str:
    """Name of the layout at `path`; errors as in `load_dataset`."""
    name = options.format
    if name not in ("auto", *FORMATS):
        raise unknown_name("data.format", name, ("auto", *FORMATS))
    if name == "auto":
        found = (name for name, layout in FORMATS.items() if layout.recognises(path))
        name = next(found, "")
    if name != "planted" and not path.exists():
        raise DataError(f"{path}: no such file or folder; give a data folder, or 'planted'")
    if not name:
        expected = "; ".join(layout.expects for layout in FORMATS.values())
        raise DataError(f"{path}: layout not recognised; expected one of: {expected}")
    return name


def _refuse_unread_options(name: str, options: DataOptions) -> None:
    read = {*ALWAYS_READ, *FORMATS[name].options}
    for option in fields(DataOptions):
        changed = getattr(options, option.name) != getattr(DEFAULTS, option.name)
        if changed and option.name not in read:
            raise ConfigError(f"option '{option.name}' has no effect on {name} data; leave it out")
