"""pyproject.toml, constraints.txt, environment.yml and the tree say the same."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[1]
NOT_PACKAGED = {"tests", "benchmarks", "docs", "examples", "build", "runs"}
PIP_NAME = {"pytorch": "torch", "faiss-gpu": "faiss-cpu", "matplotlib-base": "matplotlib"}
IMPORT_NAME = {"faiss-cpu": "faiss", "scikit-learn": "sklearn", "pyyaml": "yaml"}


@pytest.fixture(scope="module")
def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


@pytest.fixture(scope="module")
def dependencies(project) -> dict[str, SpecifierSet]:
    requirements = map(Requirement, project["project"]["dependencies"])
    return {requirement.name: requirement.specifier for requirement in requirements}


@pytest.fixture(scope="module")
def conda() -> dict[str, str]:
    """pip's name -> the version range of environment.yml."""
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    entries = [re.fullmatch(r"([\w.-]+)(.*)", entry) for entry in environment["dependencies"]]
    return {PIP_NAME.get(entry[1], entry[1]): entry[2] for entry in entries}


def source_folders() -> set[Path]:
    """Folders with Python files that are part of the package, the root included."""
    files = {file.relative_to(ROOT) for file in ROOT.glob("*/**/*.py")}
    return {Path()} | {
        file.parent
        for file in files
        if file.parts[0] not in NOT_PACKAGED and not file.parts[0].startswith(".")
    }


def conda_floor(spec: str) -> str:
    """Lowest version that a conda range admits: of `=2.4.0.th24.cu121` and `>=2.4` alike."""
    floor = re.search(r"(?:^=+|>=)(\d+(?:\.\d+)*)", spec)
    return floor[1] if floor else "0"


def test_every_package_folder_is_listed(project):
    expected = {".".join(("crossalign", *folder.parts)) for folder in source_folders()}
    assert set(project["tool"]["setuptools"]["packages"]) == expected


def test_every_package_folder_has_an_init():
    assert [
        folder for folder in source_folders() if not (ROOT / folder / "__init__.py").exists()
    ] == []


def test_every_third_party_import_is_a_declared_dependency(project, dependencies):
    """`serving/http` alone may import what its extra brings."""
    declared = {IMPORT_NAME.get(name, name) for name in dependencies}
    extra = map(Requirement, project["project"]["optional-dependencies"]["serve"])
    serves = {requirement.name.replace("-", "_") for requirement in extra}
    found = {}
    for folder in source_folders():
        for file in (ROOT / folder).glob("*.py"):
            for node in ast.walk(ast.parse(file.read_text())):
                if isinstance(node, ast.Import):
                    names = [alias.name for alias in node.names]
                elif isinstance(node, ast.ImportFrom) and node.level == 0:
                    names = [node.module or ""]
                else:
                    continue
                allowed = serves if folder == Path("serving/http") else set()
                roots = {name.partition(".")[0] for name in names} - allowed
                found |= dict.fromkeys(roots, file.relative_to(ROOT))
    foreign = {name: file for name, file in found.items() if name not in sys.stdlib_module_names}
    assert foreign.keys() - declared == set(), foreign


def test_constraints_pin_every_dependency_within_its_range(project):
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = {r.name: r for r in map(Requirement, filter(lambda x: x and x[0] != "#", lines))}
    development = map(Requirement, project["project"]["optional-dependencies"]["dev"])
    tools = [r for r in development if r.name not in ("setuptools", "tomli")]
    for requirement in [*map(Requirement, project["project"]["dependencies"]), *tools]:
        pin = pins[requirement.name.lower()]
        (exact,) = pin.specifier
        assert exact.operator == "=="
        assert requirement.specifier.contains(exact.version), pin
    assert str(pins["torch"].specifier) == "==2.13.0"


def test_environment_has_every_dependency_in_a_compatible_range(dependencies, conda):
    assert dependencies.keys() - conda.keys() == set()
    outside = {
        n: conda[n] for n, s in dependencies.items() if not s.contains(conda_floor(conda[n]))
    }
    assert outside == {}


def test_environment_python_is_supported(project, conda):
    assert SpecifierSet(project["project"]["requires-python"]).contains(
        conda_floor(conda["python"])
    )


def test_environment_takes_dgl_with_cuda_for_its_torch(conda):
    """The build of DGL, its channel, torch and CUDA all have to name the same pair."""
    torch, cuda = (conda_floor(conda[name]) for name in ("torch", "pytorch-cuda"))
    label = "th{}{}.cu{}{}".format(*torch.split(".")[:2], *cuda.split("."))
    channels = yaml.safe_load((ROOT / "environment.yml").read_text())["channels"]
    assert conda["dgl"].endswith(f".{label}")
    assert channels[0] == f"dglteam/label/{label.replace('.', '_')}"


def test_wheel_holds_the_package_and_nothing_else(tmp_path):
    ignored = shutil.ignore_patterns(".*", "build", "runs", "golden", "*.egg-info", "__pycache__")
    tree = shutil.copytree(ROOT, tmp_path / "tree", ignore=ignored)
    build = "from setuptools import build_meta; build_meta.build_wheel('../dist')"
    subprocess.run([sys.executable, "-c", build], cwd=tree, check=True, capture_output=True)
    (wheel,) = (tmp_path / "dist").glob("crossalign-*.whl")
    files = set(zipfile.ZipFile(wheel).namelist())
    package = {file for file in files if ".dist-info/" not in file}

    modules = {f for folder in source_folders() for f in (ROOT / folder).glob("*.py")}
    data = {ROOT / "py.typed", ROOT / "report/page.html", ROOT / "report/style.css"}
    data |= {ROOT / "serving/http/page.html", ROOT / "serving/http/docs.html"}
    data |= set((ROOT / "presets").glob("**/*.yaml"))
    assert package == {f"crossalign/{f.relative_to(ROOT).as_posix()}" for f in modules | data}
    assert any(file.endswith("licenses/LICENSE") for file in files)


def test_the_newest_change_is_of_this_version(project):
    versions = re.findall(
        r"^## (\d+\.\d+\.\d+) \(", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE
    )
    assert versions[0] == project["project"]["version"]
    assert versions == sorted(versions, reverse=True)


def test_the_root_of_the_repository_is_not_on_the_path():
    """Otherwise `datasets` and `models` would shadow other projects' packages."""
    assert ROOT not in [Path(entry).resolve() for entry in sys.path]
