"""A finished run with evidence added: a run of its own, for which nothing is trained."""

from __future__ import annotations

import shutil
import time
from dataclasses import replace
from pathlib import Path

from ..config import RunConfig, load_config
from ..errors import ConfigError, RunError
from ..evidence.kinds import require_possible
from ..evidence.of_run import WITHOUT, Measured
from ..evidence.options import NONE, EvidenceOptions
from ..fileio import atomic_path, read_json, write_json
from ..locks import only_writer
from ..pipeline import load_run
from ..report import write_report
from ..run_files import (
    CHECKPOINT_FILE,
    CONFIG_FILE,
    HISTORY_FILE,
    METRICS_FILE,
    OWN_CODE_FILE,
    TIMINGS_FILE,
    WEIGHTS_FILE,
)
from ..run_folder import (
    refuse_taken_folder,
    require_run,
    save_config,
    versions,
)
from ..run_measures import measure, representations

COPIED = (WEIGHTS_FILE, CHECKPOINT_FILE, HISTORY_FILE, TIMINGS_FILE, OWN_CODE_FILE)


def add_evidence(
    run: str | Path,
    out: str | Path,
    options: EvidenceOptions,
    *,
    progress: bool = True,
    command: str = "",
) -> Measured:
    """Write the run `out`: the trained weights of `run`, and evidence after its model.

    Args:
        run: a finished run; evidence that it has is replaced.
        out: new run folder; one that a killed call left is written to its end.
        options: what to add; kind and weight are chosen on validation where they are open.
        progress: show a bar.
        command: command line to repeat this, for the report.

    Raises:
        ConfigError: the options add nothing, or cannot be had from the data.
        RunError: `run` is not finished, or `out` holds another run.
    """
    run, out = require_run(Path(run)), Path(out)
    if not (run / METRICS_FILE).is_file():
        raise RunError(f"{run} is not finished: train it to its end")
    config = replace(load_config(run / CONFIG_FILE), evidence=options)
    if options.kind == NONE:
        raise ConfigError("nothing to add: set evidence.kind, such as to auto")
    refuse_taken_folder(out, config, resume=not (out / METRICS_FILE).exists())
    _, dataset, backbone = load_run(run)
    require_possible(dataset, options)
    started = time.perf_counter()
    with only_writer(out):
        save_config(out, config)
        for name in COPIED:
            if (run / name).is_file():
                with atomic_path(out / name) as temporary:
                    shutil.copyfile(run / name, temporary)
        found = measure(representations(backbone), config, dataset, out, progress=progress)
        _write_metrics(run, out, config, found, command, time.perf_counter() - started)
        write_report(out)
    return found


def _write_metrics(
    run: Path, out: Path, config: RunConfig, found: Measured, command: str, seconds: float
) -> None:
    """The `metrics.json` of `run` with the metrics of this one; training took what it took."""
    summary = read_json(run / METRICS_FILE)
    summary = {key: value for key, value in summary.items() if key not in ("evidence", WITHOUT)}
    summary |= {"valid": found.valid.to_dict(), "test": found.test.to_dict(), **found.more}
    summary |= {"command": command, "versions": versions()}
    summary["seconds"] = {**summary.get("seconds", {}), "evaluate": seconds}
    write_json(out / METRICS_FILE, summary)
