"""Parts of an outside project: a file, a module and an installed package, found again later."""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from crossalign.align import ALIGNERS
from crossalign.cli import main
from crossalign.config import load_config
from crossalign.errors import ConfigError
from crossalign.models import BACKBONES
from crossalign.own_parts import import_installed, import_parts

SMALL = [
    "--set", "data.planted_users=150", "--set", "data.planted_items=100",
    "--set", "training.epochs=1", "--quiet",
]  # fmt: skip
PARTS = '''
"""Parts of an outside project."""

from __future__ import annotations

import beside
from crossalign.align import ALIGNERS, CROSS
from crossalign.models import BACKBONES, BPR


@ALIGNERS.register("wider", paper=beside.PAPER)
@ALIGNERS.register("widest", paper=beside.PAPER)
class Wider(CROSS):
    """CROSS by another name."""


@BACKBONES.register("own_bpr", paper=beside.PAPER)
class OwnBPR(BPR):
    """BPR by another name."""
'''
Capture = pytest.CaptureFixture[str]


def run(capsys: Capture, *arguments: str) -> tuple[int, str, str]:
    code = main([str(argument) for argument in arguments])
    output = capsys.readouterr()
    return code, output.out, output.err


def forget(name: str) -> None:
    """As if a new process began: nothing of the outside project is known."""
    for module in [m for m in sys.modules if m.partition(".")[0] in (name, "beside")]:
        del sys.modules[module]
    import_installed.cache_clear()


@pytest.fixture(autouse=True)
def left_alone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What a test registers, imports and puts on the path ends with it."""
    for registry in (BACKBONES, ALIGNERS):
        monkeypatch.setattr(registry, "_entries", dict(registry._entries))
    monkeypatch.setattr(sys, "path", list(sys.path))
    forget("my_parts")
    yield
    forget("my_parts")
    forget("shop_parts")


@pytest.fixture
def parts(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "beside.py").write_text('PAPER = "ours"\n')
    (folder / "my_parts.py").write_text(PARTS)
    return folder / "my_parts.py"


def forget_registered(monkeypatch: pytest.MonkeyPatch) -> None:
    for registry in (BACKBONES, ALIGNERS):
        own = ("wider", "widest", "own_bpr")
        kept = {name: entry for name, entry in registry._entries.items() if name not in own}
        monkeypatch.setattr(registry, "_entries", kept)
    forget("my_parts")
    forget("shop_parts")


def train(capsys: Capture, out: Path, *more: object) -> tuple[int, str, str]:
    return run(
        capsys, "train", "planted", "--backbone", "own_bpr", "--alignment", "wider",
        "--set", "alignment.n_prototypes=8", "--set", "backbone.dim=8", "--out", str(out),
        *SMALL, *map(str, more),
    )  # fmt: skip


def test_a_run_with_own_parts_is_found_again_by_every_command(
    parts: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given by a relative path once; then from another folder, in a process that knows nothing."""
    monkeypatch.chdir(parts.parent)
    out = tmp_path / "run"
    code, _, error = train(capsys, out, "--import", "my_parts.py")
    assert (code, error) == (0, "")
    assert load_config(out / "config.yaml").imports == (str(parts),)
    monkeypatch.chdir(tmp_path)
    for command in (
        ["evaluate", out],
        ["export", out, "--out", tmp_path / "shop"],
        ["train", "--resume", out, "--set", "training.epochs=2", "--quiet"],
    ):
        forget_registered(monkeypatch)
        code, _, error = run(capsys, *command)
        assert (code, error) == (0, "")


def test_parts_that_moved_are_told_and_can_be_given_anew(
    parts: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    assert train(capsys, out, "--import", parts)[0] == 0
    shutil.move(parts.parent, tmp_path / "elsewhere")
    moved = tmp_path / "elsewhere" / "my_parts.py"
    forget_registered(monkeypatch)
    code, _, error = run(capsys, "evaluate", out)
    assert code == 2
    assert error == (
        f"crossalign: {parts} is not there: restore it, or give the file where it lies now with "
        "--import\n"
    )
    assert run(capsys, "evaluate", out, "--import", moved)[0] == 0
    forget_registered(monkeypatch)
    longer = ["--set", "training.epochs=2", "--quiet"]
    assert run(capsys, "train", "--resume", out, "--import", moved, *longer)[0] == 0
    assert load_config(out / "config.yaml").imports == (str(moved),)


def test_code_that_changed_since_training_is_told_in_a_line(
    parts: Path, tmp_path: Path, capsys: Capture, caplog: pytest.LogCaptureFixture
) -> None:
    """A run knows the checksum of what trained it, and a resume adds what it goes on with."""
    folder = tmp_path / "run"
    train = ["train", "planted", "--alignment", "wider", "--import", str(parts), *SMALL]
    assert run(capsys, *train, "--out", folder)[0] == 0
    said = f"{parts.name} has changed since {folder} was trained"
    assert run(capsys, "evaluate", folder)[0] == 0
    assert caplog.text.count(said) == 0
    first = hashlib.sha256(parts.read_bytes()).hexdigest()

    parts.write_text(parts.read_text() + "\nCHANGED = True\n")
    assert run(capsys, "evaluate", folder)[0] == 0
    assert caplog.text.count(said) == 1
    more = ["--set", "training.epochs=2", "--quiet"]
    assert run(capsys, "train", "--resume", folder, *more)[0] == 0
    assert caplog.text.count(said) == 2
    second = hashlib.sha256(parts.read_bytes()).hexdigest()
    recorded = json.loads((folder / "own_code.json").read_text())["sha256"]
    assert recorded == {parts.name: [first, second]}
    assert run(capsys, "evaluate", folder)[0] == 0
    assert caplog.text.count(said) == 2


def test_runs_without_own_code_record_none(tmp_path: Path, capsys: Capture) -> None:
    assert run(capsys, "train", "planted", *SMALL, "--out", tmp_path / "run")[0] == 0
    assert not (tmp_path / "run" / "own_code.json").exists()


def test_a_name_that_the_parts_do_not_register_is_told(
    parts: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    assert train(capsys, out, "--import", parts)[0] == 0
    parts.write_text(PARTS.replace("own_bpr", "renamed"))
    forget_registered(monkeypatch)
    code, _, error = run(capsys, "evaluate", out)
    assert code == 2
    assert "unknown backbone 'own_bpr'" in error
    assert f"{parts} registers none of this name" in error
    assert len(error.splitlines()) == 1


def test_without_import_the_message_names_it(tmp_path: Path, capsys: Capture) -> None:
    code, _, error = train(capsys, tmp_path / "run")
    assert code == 2
    assert error.strip().endswith("one of your own is given with --import my_parts.py")


@pytest.mark.parametrize(
    ("text", "fragment"),
    [
        ("import no_such_thing\n", "ModuleNotFoundError: No module named 'no_such_thing'"),
        ("1 / 0\n", "ZeroDivisionError: division by zero, line 1 of "),
        ("def\n", "SyntaxError"),
    ],
)
def test_parts_that_do_not_import_are_one_line(
    text: str, fragment: str, parts: Path, tmp_path: Path, capsys: Capture
) -> None:
    parts.write_text(text)
    code, _, error = train(capsys, tmp_path / "run", "--import", parts)
    assert code == 2
    assert fragment in error
    assert str(parts) in error
    assert len(error.splitlines()) == 1
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("source", "fragment"),
    [
        ("nowhere/my_parts.py", "is not there"),
        ("no_such_module", "no module 'no_such_module'"),
        ("no_such.module", "no module 'no_such.module'"),
    ],
)
def test_what_is_not_there_is_told(source: str, fragment: str) -> None:
    with pytest.raises(ConfigError, match=fragment):
        import_parts(source)


def test_a_file_with_the_name_of_another_module_is_refused(tmp_path: Path) -> None:
    """Else the other module would be taken, in silence."""
    file = tmp_path / "json.py"
    file.write_text("")
    with pytest.raises(ConfigError, match="already is a module"):
        import_parts(str(file))


def test_a_configuration_file_may_name_its_parts(
    parts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "own.yaml"
    file.write_text(f"imports: [{parts}]\nbackbone: {{name: own_bpr}}\n")
    assert load_config(file).backbone.name == "own_bpr"
    file.write_text("imports: my_parts.py\n")
    with pytest.raises(ConfigError, match="write a list"):
        load_config(file)


def test_worker_processes_know_the_parts(parts: Path, tmp_path: Path, capsys: Capture) -> None:
    code, _, error = run(
        capsys, "compare", "--import", parts, "--backbones", "own_bpr", "--defaults",
        "--seeds", "0,1", "--jobs", "2", "--out", tmp_path / "study", "--data", "planted", *SMALL,
    )  # fmt: skip
    assert (code, error) == (0, "")
    assert (tmp_path / "study" / "own_bpr" / "seed1" / "metrics.json").is_file()


def test_list_and_help_show_own_parts(parts: Path, capsys: Capture) -> None:
    code, printed, _ = run(capsys, "list", "--import", parts)
    assert code == 0
    assert "own_bpr" in printed
    with pytest.raises(SystemExit):
        main(["train", "--import", str(parts), "--help"])
    assert "alignment.cna_weight [wider]" in capsys.readouterr().out


@pytest.fixture
def package(parts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What pip leaves of an installed package: its module, and metadata with an entry point."""
    site = tmp_path / "site"
    (site / "shop_parts").mkdir(parents=True)
    shutil.copy(parts.parent / "beside.py", site / "shop_parts" / "beside.py")
    text = PARTS.replace("import beside", "from shop_parts import beside")
    (site / "shop_parts" / "__init__.py").write_text("")
    (site / "shop_parts" / "all.py").write_text(text)
    about = site / "shop_parts-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: shop-parts\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[crossalign]\nall = shop_parts.all\n")
    monkeypatch.syspath_prepend(site)
    import_installed.cache_clear()
    return site


def test_an_installed_package_needs_no_option(
    package: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its entry point is found; the run says which module, and its lack is told."""
    out = tmp_path / "run"
    code, _, error = train(capsys, out)
    assert (code, error) == (0, "")
    assert load_config(out / "config.yaml").imports == ("shop_parts.all",)
    assert "own_bpr" in run(capsys, "list")[1]
    sys.path.remove(str(package))
    forget_registered(monkeypatch)
    code, _, error = run(capsys, "evaluate", out)
    assert code == 2
    assert "no module 'shop_parts.all'" in error
    assert "install the package" in error


def test_runs_without_parts_of_a_package_do_not_name_it(package: Path) -> None:
    assert load_config(None, backbone="bpr").imports == ()


def test_a_package_that_does_not_import_is_named(package: Path) -> None:
    (package / "shop_parts" / "all.py").write_text("1 / 0\n")
    with pytest.raises(ConfigError, match=r"shop_parts\.all of the installed package shop-parts"):
        load_config(None, backbone="bpr")
