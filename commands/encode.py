"""`crossalign encode`: unified features of all modalities, from the multimodal encoder."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ConfigError
from .arguments import DATA_HELP, add_out_file, add_quiet, folder
from .parser import Commands, run_config

if TYPE_CHECKING:
    from ..config import OptionHelp, RunConfig
    from ..datasets import Dataset
    from ..encoders import EncoderOptions, Pretraining

SURROGATE = (
    "surrogate of AlignRec's MMEnc: a small multiway transformer over chunks of feature vectors, "
    "not BEiT-3 over images and texts"
)


def add(commands: Commands) -> None:
    """Add the command."""
    command = commands.add(
        "encode",
        encode,
        "unify the modalities with a multimodal encoder",
        example="planted -o unified_feat.npy --encoder epochs=2",
        configured=True,
        more={"options for --encoder": _encoder_help},
    )
    command.add_argument("data", nargs="?", help=DATA_HELP)
    add_out_file(command, "feature file, .npy or .npz")
    command.add_argument(
        "--encoder",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="set one option of the encoder, such as dim=256 or loss=infonce",
    )
    command.add_argument(
        "--without",
        type=folder,
        metavar="FOLDER",
        help="also write features with each modality hidden, for data.mask_features",
    )
    command.add_argument("--seed", type=int, help="of all draws (default 0)")
    add_quiet(command)


def encode(options: argparse.Namespace) -> None:
    """Pre-train the encoder, write the unified features, and say how good it is."""
    from ..datasets import load_dataset
    from ..encoders.files import require_writable
    from ..locks import only_writer

    file = Path(options.out)
    config, settings = run_config(options), _encoder_options(options.encoder)
    dataset = load_dataset(config.path, options=config.data)
    require_writable(file, dataset)
    with only_writer(file):
        _encode(options, config, settings, dataset)


def _encode(
    options: argparse.Namespace, config: RunConfig, settings: EncoderOptions, dataset: Dataset
) -> None:
    """`encode`, by the only process that writes the file."""
    from ..encoders import encode, pretrain
    from ..encoders.files import write_unified, write_variants
    from ..fileio import write_json

    file = Path(options.out)
    result = pretrain(
        dataset.features,
        dataset.missing,
        settings,
        seed=config.seed,
        progress=not options.quiet,
    )
    write_unified(file, dataset, encode(result.encoder, dataset.features, dataset.missing))
    about = _about(dataset, settings, config.seed, result)
    write_json(file.with_suffix(".json"), about)
    print("\n".join(_lines(result)))
    print(f"\nwritten to {file} and {file.with_suffix('.json').name}")
    if options.without is not None:
        name = file.stem.removesuffix("_feat")
        for written in write_variants(Path(options.without), name, result.encoder, dataset):
            print(f"written to {written}")


def _encoder_help() -> Iterator[OptionHelp]:
    from ..config import section_help
    from ..encoders import EncoderOptions

    return section_help(EncoderOptions)


def _encoder_options(given: Sequence[str]) -> EncoderOptions:
    import yaml

    from ..encoders import EncoderOptions

    values = {}
    for entry in given:
        key, equals, text = entry.partition("=")
        if not equals:
            raise ConfigError(f"--encoder {entry}: write it as key=value")
        try:
            values[key.strip()] = yaml.safe_load(text)
        except yaml.YAMLError:
            raise ConfigError(f"--encoder {entry}: its value is not plain YAML") from None
    return EncoderOptions(**values)


def _about(
    dataset: Dataset, settings: EncoderOptions, seed: int, result: Pretraining
) -> dict[str, Any]:
    """What the features are and where they come from, for the file beside them."""
    from dataclasses import asdict

    from ..graphs import dataset_hash

    return {
        "what": SURROGATE,
        "dataset": dataset.name,
        "data_hash": dataset_hash(dataset),
        "modalities": list(dataset.modalities),
        "items": dataset.n_items,
        "seed": seed,
        "encoder": asdict(settings),
        "best_epoch": result.best_epoch,
        "epochs": len(result.history),
        "held_out_items": result.n_held_out,
        "held_out": result.held_out,
        "mean_predictor": result.mean_predictor,
        "history": result.history,
        "seconds": result.seconds,
    }


def _lines(result: Pretraining) -> list[str]:
    """Loss of the held-out items by term, beside that of predicting the mean."""
    lines = [SURROGATE, f"{result.n_held_out} held-out items, epoch {result.best_epoch}"]
    lines.append(f"{'':20s} {'loss':>9s} {'of mean':>9s}")
    for name, loss in result.held_out.items():
        mean = result.mean_predictor.get(name)
        lines.append(f"{name:20s} {loss:9.4f} " + (f"{mean:9.4f}" if mean is not None else ""))
    return lines
