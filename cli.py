"""The `crossalign` command: parse, run, and turn errors into one line and an exit code."""

from __future__ import annotations

import ctypes
import io
import os
import shlex
import sys
from collections.abc import Sequence
from contextlib import suppress

from .commands import make_parser
from .errors import ConfigError, CrossalignError, shorten
from .torchrun import n_processes, speaks

USER_ERROR = 2
NO_MEMORY = ("alloc", "out of memory")
"""In what torch, FAISS and DGL say when there is none left."""

HUGE_PAGES = ("THP_MEM_ALLOC_ENABLE", "1")
"""Asks torch for large pages before it allocates: rows of wide tables lie far apart in memory."""

KEEP_FREED = {-1: 2**26, -3: 2**26}
"""Settings of glibc (`M_TRIM_THRESHOLD`, `M_MMAP_THRESHOLD`): a step takes the memory that the one
before it left, and the system need not clear new pages for it."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. Returns 0, 2 for errors the user can mend, 130 when interrupted."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    # A service holds two exports for a moment, and one for days.
    prepare_memory(keep_freed=given[:1] != ["serve"])
    _occupy_streams()
    for stream in (sys.stdout, sys.stderr):  # a terminal that cannot show a letter gets its code
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        options = make_parser().parse_args(given)
        options.command_line = "crossalign " + shlex.join(given)
        if n_processes() > 1 and not getattr(options, "shared", False):
            raise ConfigError("of all commands, only train can be started by torchrun")
        options.run(options)
        if sys.stdout is not None:  # closed before we began: there is nobody to tell
            sys.stdout.flush()
    except CrossalignError as error:
        _say(str(error))
        return USER_ERROR
    except MemoryError as error:
        _say(f"out of memory ({shorten(str(error))}); make the task smaller")
        return USER_ERROR
    except RuntimeError as error:
        if not any(words in str(error) for words in NO_MEMORY):
            raise
        _say(f"out of memory ({shorten(str(error))}); make the task smaller")
        return USER_ERROR
    except BrokenPipeError:  # the reader of our output, such as `head`, has seen enough
        _drop_output()
    except OSError as error:  # a full disk under our output, say
        _drop_output()
        _say(f"{error.filename or 'output'}: {error.strerror or error}; mend it and try again")
        return USER_ERROR
    except KeyboardInterrupt:
        trains = given[:1] == ["train"]
        _say(f"interrupted; continue with {'--resume' if trains else 'the same command'}")
        return 130
    return 0


def prepare_memory(*, keep_freed: bool = True) -> None:
    """What makes the steps of a training allocate faster, before torch allocates anything."""
    os.environ.setdefault(*HUGE_PAGES)
    if not keep_freed or sys.platform != "linux":
        return
    if set_option := getattr(ctypes.CDLL(None), "mallopt", None):
        for name, value in KEEP_FREED.items():
            set_option(name, value)


def _occupy_streams() -> None:
    """Open what was closed of the standard streams: else a file of ours would get their number."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(descriptor)


def _drop_output() -> None:
    """Let what is still to be printed go nowhere: Python would fail at it again as it ends."""
    with suppress(OSError, ValueError, AttributeError):  # there is no such stream, or of no file
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _say(message: str) -> None:
    if speaks() and sys.stderr is not None:
        with suppress(OSError, ValueError):  # a closed or full terminal: the exit code says it
            print(f"crossalign: {' '.join(message.split())}", file=sys.stderr, flush=True)
