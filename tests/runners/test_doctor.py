"""What is odd is said, what is broken is an exit code, and nothing tells where or whose the machine is."""

import getpass
import json
import os
import platform
import socket
from pathlib import Path

import pytest

from tangentbench.runners import cli, doctor, provenance
from tangentbench.runners.results import Store

from .planted import cells, plant


@pytest.fixture(autouse=True)
def plain(monkeypatch):
    for name in [name for name in os.environ if name.startswith(("JAX_", "XLA_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(provenance, "package", lambda: {"version": "1", "commit": None, "dirty": None, "diff": None})
    monkeypatch.setattr(provenance, "_has_device_plug_in", lambda: False)


def found(results: Path) -> dict[str, doctor.Finding]:
    return {finding.what: finding for finding in doctor.examine(str(results))}


def test_on_a_machine_where_all_is_well(tmp_path, monkeypatch):
    monkeypatch.setattr(doctor, "LEAST_MEMORY", 0.0)
    monkeypatch.setattr(doctor, "LEAST_DISK", 0.0)
    monkeypatch.setattr(doctor.shutil, "which", lambda name: None)
    seen = found(tmp_path / "none")
    assert [finding.what for finding in seen.values() if finding.broken] == []
    assert seen["python"].found == platform.python_version()
    assert seen["device"].found == "cpu" and seen["code digest"].found == provenance.code_digest("cpu")
    assert seen["runs"].found == "none yet"
    assert "10 methods" in seen["components"].found


def test_runs_of_other_code_are_counted(tmp_path, monkeypatch):
    monkeypatch.setattr(provenance, "code_digest", lambda kind=None: "c0de")
    root = plant(tmp_path / "store", cells(), code="c0de")
    plant(root, cells()[:1], code="0ther")
    runs = found(root)["runs"]
    mine, other = (len(list(Store(root).runs(code))) for code in ("c0de", "0ther"))
    assert runs.found == f"{mine} of the current code"
    assert runs.remark.startswith(f"and {other} of other code") and other > 0


@pytest.mark.parametrize(
    ("name", "value", "what", "remark"),
    [
        ("JAX_ENABLE_X64", "1", "JAX_ENABLE_X64", "part of the code digest"),
        ("XLA_FLAGS", "--xla_cpu_x=1", "XLA_FLAGS", "part of the code digest"),
        ("JAX_DEFAULT_MATMUL_PRECISION", "default", "matmul precision", "has no effect"),
        ("TANGENTBENCH_CACHE", "off", "compiled programs", "every call compiles again"),
    ],
)
def test_a_variable_that_matters_is_named(tmp_path, monkeypatch, name, value, what, remark):
    monkeypatch.setenv(name, value)
    assert remark in found(tmp_path)[what].remark


def test_a_gpu_that_is_not_used_is_noticed(tmp_path, monkeypatch):
    monkeypatch.setattr(doctor.shutil, "which", lambda name: "driver")
    assert "tangentbench[cuda]" in found(tmp_path)["device"].remark
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    assert "JAX_PLATFORMS says cpu" in found(tmp_path)["device"].remark


def test_what_is_scarce_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(doctor, "LEAST_MEMORY", 1e9)
    monkeypatch.setattr(doctor, "LEAST_DISK", 1e9)
    seen = found(tmp_path)
    assert "--jobs 1" in seen["free memory"].remark and "are left" in seen["free space for results"].remark


def test_what_is_broken_is_an_exit_code(tmp_path, monkeypatch, capsys):
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "file").touch()
    assert cli.main(["doctor", "--results", str(tmp_path / "foreign")]) == 1
    assert "broken: results" in capsys.readouterr().out

    def no_jax():
        raise provenance.DeviceError("jax did not start: no driver")

    monkeypatch.setattr(provenance, "device_kind", no_jax)
    assert cli.main(["doctor", "--results", str(tmp_path / "none"), "--format", "json"]) == 1
    rows = {row["what"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["device"]["broken"] and "no driver" in rows["device"]["remark"]
    assert not rows["runs"]["broken"]


def test_a_look_that_fails_hides_no_other(tmp_path, monkeypatch):
    monkeypatch.setattr(doctor.psutil, "virtual_memory", lambda: 1 / 0)
    seen = found(tmp_path)
    assert seen["machine"].broken and "ZeroDivisionError" in seen["machine"].remark and "results" not in seen
    assert "components" in seen


def test_it_may_be_posted(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(tmp_path))
    monkeypatch.setenv("XLA_FLAGS", f"--xla_dump_to={tmp_path}")
    cli.main(["doctor", "--format", "markdown"])
    said = capsys.readouterr().out
    assert str(tmp_path) not in said and str(Path.home()) not in said
    assert socket.gethostname() not in said or len(socket.gethostname()) < 5
    assert getpass.getuser() not in said or len(getpass.getuser()) < 5
