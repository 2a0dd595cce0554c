"""`crossalign export` and `crossalign recommend`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ConfigError
from .arguments import IdList, add_moved, add_quiet, export_folder, folder, id_list, positive
from .parser import Commands

if TYPE_CHECKING:
    import pandas as pd

    from ..serving import Recommender

USERS_AT_ONCE = 4096


def add(commands: Commands) -> None:
    """Add the commands."""
    command = commands.add(
        "export",
        export,
        "vectors, ids and a FAISS index of a run, to serve from",
        example="runs/first --out shop",
    )
    command.add_argument("run_folder", metavar="RUN", help="run folder")
    command.add_argument(
        "--out", type=export_folder, required=True, metavar="FOLDER", help="folder of the export"
    )
    add_moved(command)
    command.add_argument(
        "--unbought",
        choices=["auto", "content", "trained"],
        default="auto",
        help="vectors of items without training interactions: the backbone's, or made from "
        "content; auto makes them where the backbone reads no content",
    )
    command.add_argument(
        "--replace", action="store_true", help="also if FOLDER holds the export of another run"
    )

    command = commands.add(
        "recommend",
        recommend,
        "lists from an export: for users, for a history, with items nobody has bought yet",
        example="shop --users u7,u9 -k 10",
    )
    command.add_argument("export_folder", metavar="EXPORT", help="folder that export wrote")
    whom = command.add_mutually_exclusive_group()
    whom.add_argument(
        "--users",
        type=id_list,
        metavar="ID,ID",
        help="for these (default: all); an id with a comma stands between double quotes",
    )
    whom.add_argument(
        "--newcomer", action="store_true", help="for someone of whom nothing is known"
    )
    whom.add_argument(
        "--history", type=id_list, metavar="ID,ID", help="for someone new who has these items"
    )
    command.add_argument("-k", type=positive, default=10, help="length of lists (default 10)")
    command.add_argument(
        "--new",
        action="append",
        default=[],
        metavar="MODALITY=FILE",
        help="content of new items, .npz or .parquet keyed by item id",
    )
    command.add_argument(
        "--without-evidence", action="store_true", help="by inner products of the vectors alone"
    )
    command.add_argument("--only-new", action="store_true", help="of the new items alone")
    command.add_argument(
        "-o", "--out", type=_csv, metavar="FILE", help=".csv; without it lists are printed"
    )
    add_quiet(command)


def export(options: argparse.Namespace) -> None:
    """Write the export and say what is in it."""
    from ..serving import export_run

    about = export_run(
        options.run_folder,
        options.out,
        unbought=options.unbought,
        replace=options.replace,
        data=options.moved,
    )
    print(f"{about['users']} users, {about['items']} items, {about['dim']} numbers each")
    print(_which(about["kind"]))
    index = about["index"]
    print(f"index: {index['kind']}, recall@20 {index['recall@20']:.3f} against exact search")
    if about["evidence"]:
        kinds = " + ".join(about["evidence"]["kinds"])
        print(f"evidence: {kinds}, weight {about['evidence']['weight']:g}; recommend adds it")
    print("\n".join(_quality(about)))
    print(f"written to {options.out}")


def recommend(options: argparse.Namespace) -> None:
    """Print lists, or write them to a file."""
    from ..serving import Recommender

    shop = Recommender.load(options.export_folder, evidence=not options.without_evidence)
    among = None
    if options.new:
        from ..serving.new_items import read_new_items

        new = read_new_items(_files(options.new))
        shop, among = shop.with_items(*new), new.ids if options.only_new else None
    elif options.only_new:
        raise ConfigError("--only-new has nothing to choose from: give the items with --new")
    if options.out is not None and _lies_in(options.out, options.export_folder):
        raise ConfigError(f"{options.out} lies in the export: write lists somewhere else")
    if options.newcomer:
        say("nothing is known of a newcomer: the items most bought in training, with their number")
        lists = iter([shop.popular(options.k, among=among)])
    elif options.history is not None:
        history = _meant(options.history, shop.items)
        lists = iter([shop.recommend_for(history, options.k, among=among)])
    else:
        users = shop.known_users()
        if options.users is not None:
            users = _meant(options.users, shop.users)
            for user in shop.without_history(users):
                say(f"user '{user}' has no history: the items most bought in training instead")
        elif options.out is None:
            raise ConfigError(f"lists for all {len(users)} users need a file: give -o, or --users")
        lists = _blocks(shop, users, options.k, among, quiet=options.quiet)
    if options.out is None:
        for part in lists:
            print(_printed(part))
        return
    _write(options.out, lists)
    print(f"written to {options.out}")


def say(text: str) -> None:
    """A word beside the lists, which may go into a pipe."""
    print(text, file=sys.stderr)


def _lies_in(file: str, folder: str) -> bool:
    return Path(folder).resolve() in Path(file).resolve().parents


def _meant(asked: IdList, known: pd.Index) -> list[str]:
    """The names between commas; the whole text where only that is known."""
    from ..datasets.ids import rows_of_ids

    if (rows_of_ids(known, asked.names) < 0).any() and rows_of_ids(known, [asked.whole])[0] >= 0:
        return [asked.whole]
    return asked.names


def _printed(lists: pd.DataFrame) -> str:
    if lists.empty:
        return "nothing to recommend: no item is left that these users do not have"
    return lists.to_string(index=False, float_format="%.4f")


def _blocks(
    shop: Recommender, users: Sequence[str], k: int, among: Sequence[str] | None, *, quiet: bool
) -> Iterator[pd.DataFrame]:
    from ..progress import Bar

    with Bar(total=len(users), unit="user", disable=quiet or len(users) <= USERS_AT_ONCE) as bar:
        for first in range(0, len(users), USERS_AT_ONCE):
            block = users[first : first + USERS_AT_ONCE]
            yield shop.recommend(block, k, among=among)
            bar.update(len(block))


def _write(file: str, lists: Iterator[pd.DataFrame]) -> None:
    from ..fileio import atomic_path, write_csv

    with atomic_path(file) as path, path.open("w", encoding="utf-8", newline="") as out:
        for number, part in enumerate(lists):
            write_csv(out, part, header=number == 0, float_format="%.6g")


def _files(given: Sequence[str]) -> dict[str, str]:
    files: dict[str, str] = {}
    for entry in given:
        modality, equals, file = entry.partition("=")
        if not (modality and equals and file):
            raise ConfigError(f"--new {entry}: write it as modality=file")
        if modality in files:
            raise ConfigError(f"--new {modality} stands twice: give one file for each modality")
        files[modality] = file
    return files


def _which(kind: dict[str, Any]) -> str:
    """What the model was trained on, and what the metrics beside it are of."""
    if kind["metrics_of"] is None:
        return "trained on all rows: nothing was held out, so there are no metrics"
    if kind["trained_on"] == "all rows":
        return (
            f"trained on all rows; its metrics are those of {kind['metrics_of']}, which held rows "
            "out"
        )
    return "trained without the rows held out, on which its metrics were measured"


def _quality(about: dict[str, Any]) -> Iterator[str]:
    """What is known of items by their content."""
    quality, unbought = about["content_map_quality"], about["unbought"]
    if unbought["items"]:
        source = "from content" if unbought["vectors"] == "content" else "as trained"
        yield f"{unbought['items']} items without training interactions: vectors {source}"
    if unbought["auc"] is not None:
        yield (
            f"such an item of a test row before another: {unbought['auc']:.1%} of "
            f"{unbought['test_rows']} rows (chance 50%)"
        )
    if about["content_map"] is None:
        yield "no content: new items cannot be recommended"
        return
    if quality is None:
        yield "vectors from content: not tried, there are too few items to leave some out"
        return
    yield (
        f"vectors from content, tried on {quality['items']} items: cosine with trained ones "
        f"{quality['cosine']:.3f} (of other items {quality['cosine_of_others']:.3f})"
    )
    yield (
        f"a user's own item before another: {quality['auc']:.1%} (trained vectors "
        f"{quality['auc_trained']:.1%}, chance 50%)"
    )


def _csv(text: str) -> str:
    if Path(text).suffix != ".csv":
        raise argparse.ArgumentTypeError(f"'{text}' does not end in .csv")
    folder(str(Path(text).parent))
    return text
