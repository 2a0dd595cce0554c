"""Work in a process of its own, so that its peak memory is its own."""

from __future__ import annotations

import argparse
import json
import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from typing import Any, ParamSpec, TypeVar

import torch

from crossalign.fileio import write_text

P = ParamSpec("P")
R = TypeVar("R")


def in_fresh_process(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """What `function` returns, called in a process that inherits nothing from this one."""
    fresh = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=fresh) as pool:
        return pool.submit(function, *args, **kwargs).result()


def measure_each(measure: Callable[..., Any], options: argparse.Namespace) -> None:
    """Print `measure(work, options)` for all of `options.work`, and write them to `options.out`."""
    results = []
    for work in options.work:
        result = in_fresh_process(measure, work, options)
        print(result.line(), flush=True)
        results.append(asdict(result))
    about = {**vars(options), "out": str(options.out), "torch": torch.__version__}
    write_text(options.out, json.dumps({**about, "rows": results}, indent=2) + "\n")
