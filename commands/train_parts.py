"""`train --parts`: training on the parts of a graph, on one host or on several."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..errors import ConfigError
from .parser import run_config
from .training_run import default_folder, show_run


def train_on_parts(options: argparse.Namespace) -> None:
    """Start the hosts, or be one of their processes, or train on one part in this process."""
    from ..distributed.launch import launch, read_hosts
    from ..run_files import CONFIG_FILE
    from ..run_folder import require_run

    if options.data is not None or options.tensorboard:
        raise ConfigError("--parts names the data, and writes no TensorBoard: leave these out")
    resume = options.resume is not None
    if options.config is None:
        options.config = Path(options.resume or options.parts) / CONFIG_FILE
        options.set = [*([] if resume else ["training.sampling=blocks"]), *options.set]
    config = run_config(options)
    if resume:
        folder = require_run(Path(options.resume))
    else:
        folder = Path(options.out or default_folder(config))
    if options.hosts is not None:
        place = ["--resume" if resume else "--out", str(folder.absolute())]
        hosts = read_hosts(options.hosts, options.trainers or 1)
        launch(options.parts, hosts, ["-m", "crossalign", *_for_trainers(options), *place])
        return
    from ..distributed.cluster import entered

    with entered(options.parts) as cluster:
        from ..distributed.run import train_parts  # a server, which never gets here, is smaller

        run = train_parts(
            config,
            folder,
            cluster,
            resume=resume,
            progress=not options.quiet,
            command=options.command_line,
        )
        if cluster.team.first:
            show_run(run, config)


def _for_trainers(options: argparse.Namespace) -> list[str]:
    """The command of a trainer: that of the user, without the hosts and with whole paths."""
    config = ["--config", str(Path(options.config).absolute())]
    given = ["train", "--parts", str(Path(options.parts).absolute()), *config]
    for name in ("backbone", "alignment", "seed"):
        value = getattr(options, name)
        given += [] if value is None else [f"--{name}", str(value)]
    for assignment in options.set:
        given += ["--set", assignment]
    return [*given, *(["--quiet"] if options.quiet else [])]
