"""The doctor tells what is there and mends what is not, whatever is broken."""

from __future__ import annotations

import subprocess
import sys
import types

import pytest

from crossalign.commands import doctor
from crossalign.commands.doctor import DoctorReport, Finding, collect


def finding(report: DoctorReport, name: str) -> Finding:
    (found,) = (finding for finding in report.findings if finding.name == name)
    return found


def test_a_working_installation_lacks_nothing():
    report = collect()
    assert report.missing == ()
    assert "Nothing is missing." in report.lines()


def test_versions_are_those_of_the_imported_packages():
    import numpy
    import torch

    report = collect()
    assert finding(report, "torch").value == torch.__version__
    assert finding(report, "numpy").value == numpy.__version__


def test_the_report_names_every_engine():
    assert [finding.name for finding in collect().engines] == ["DGL", "torch CSR", "FAISS"]


def test_every_finding_has_a_line():
    report = collect()
    text = "\n".join(report.lines())
    assert all(finding.name in text and finding.value in text for finding in report.findings)


@pytest.mark.parametrize(("module", "engine"), [("faiss", "FAISS"), ("dgl", "DGL")])
def test_a_missing_engine_is_told_and_the_others_still_looked_at(module, engine):
    """In a fresh interpreter, where the module cannot be imported."""
    script = (
        f"import sys; sys.modules['{module}'] = None\n"
        "from crossalign.commands.doctor import collect\n"
        "report = collect()\n"
        "print([finding.name for finding in report.missing])\n"
        "print(*report.lines(), sep='\\n')"
    )
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    first, _, text = result.stdout.partition("\n")
    assert first == f"['{engine}']"
    assert "does not work: ModuleNotFoundError" in text
    assert f"To mend {engine}, run:  python -m pip install" in text


def test_the_command_itself_works_without_torch():
    script = (
        "import sys; sys.modules['torch'] = None\n"
        "from crossalign.cli import main\n"
        "sys.exit(main(['doctor']))"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    lines = [" ".join(line.split()) for line in result.stdout.splitlines()]
    broken = "does not work: ModuleNotFoundError: import of torch halted; None in sys.modules"
    assert f"torch CSR {broken}" in lines


def test_an_engine_that_breaks_in_native_code_is_told(monkeypatch):
    broken = types.ModuleType("faiss")
    broken.get_num_gpus = lambda: (_ for _ in ()).throw(OSError("libfaiss.so: undefined symbol"))
    monkeypatch.setitem(sys.modules, "faiss", broken)
    assert finding(collect(), "FAISS").value == (
        "does not work: OSError: libfaiss.so: undefined symbol"
    )


def test_an_undeclared_dependency_of_an_engine_is_named_in_the_command():
    def look() -> str:
        raise RuntimeError("wrapped") from ModuleNotFoundError("no psutil", name="psutil.common")

    assert doctor._probe("DGL", look, "unused").mend == "python -m pip install psutil"


def test_a_package_outside_its_range_is_told(monkeypatch):
    monkeypatch.setattr(doctor, "_version", lambda name: "0.0.1")
    found = doctor._package("tqdm", {"tqdm": ">=4.66"})
    assert found == Finding(
        "tqdm", "0.0.1, but >=4.66 is needed", mend='python -m pip install "tqdm>=4.66"'
    )


def test_a_package_that_is_not_installed_is_told():
    found = doctor._package("no-such-package", {"no-such-package": ">=1"})
    assert found.value == "not installed"
    assert found.mend == 'python -m pip install "no-such-package>=1"'


def test_any_build_of_faiss_meets_the_requirement(monkeypatch):
    versions = {"faiss-gpu-cu12": "1.9.0"}

    def version(name: str) -> str:
        if name not in versions:
            raise doctor.metadata.PackageNotFoundError(name)
        return versions[name]

    monkeypatch.setattr(doctor.metadata, "version", version)
    assert doctor._package("faiss-cpu", {"faiss-cpu": ">=1.8"}).mend is None


def test_a_driver_that_torch_does_not_use_is_pointed_out(monkeypatch):
    monkeypatch.setattr(doctor.shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    report = collect()
    assert "a driver is here" in finding(report, "CUDA").value
    assert "To have CUDA, run:  conda env create -f environment.yml" in report.lines()


def test_the_same_command_is_printed_once():
    broken = [Finding(name, "broken", mend="mend it") for name in ("one", "two")]
    assert DoctorReport(system=tuple(broken)).lines()[-1] == "To mend one, two, run:  mend it"


def test_where_plain_dgl_fails_the_doctor_says_so_and_what_to_do():
    """Told by the import itself, in a fresh interpreter."""
    plain = subprocess.run([sys.executable, "-c", "import dgl"], capture_output=True, check=False)
    value = finding(collect(), "DGL").value
    assert ("from crossalign import dgl" in value) == (plain.returncode != 0)
    assert ("dgl==1.1.3 torchdata==0.7.1" in value) == (plain.returncode != 0)
