"""What is odd is said, what is broken is an exit code, and nothing tells where or whose the machine is."""

import getpass
import hashlib
import json
import os
import platform
import socket
from pathlib import Path

import pytest

from tangentbench.runners import cli, doctor, provenance
from tangentbench.runners.results import Store
from tangentbench.tasks.datasets import images
from tangentbench.tasks.datasets.files import PublicFile

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
    assert "11 methods" in seen["components"].found


def test_runs_of_other_code_are_counted(tmp_path, monkeypatch):
    monkeypatch.setattr(provenance, "code_digest", lambda kind=None: "c0de")
    root = plant(tmp_path / "store", cells(), code="c0de")
    plant(root, cells()[:1], code="0ther")
    runs = found(root)["runs"]
    mine, other = (len(list(Store(root).runs(code))) for code in ("c0de", "0ther"))
    assert runs.found == f"{mine} of the current code"
    assert runs.remark == f"{other} made with other versions, flags or devices, where they are current" and other > 0


def test_doctor_and_clean_count_the_same(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(provenance, "code_digest", lambda kind=None: "c0de")
    monkeypatch.setenv("TANGENTBENCH_CACHE", str(tmp_path / "cache"))
    (tmp_path / "cache" / "notes").mkdir(parents=True)
    for name in ("program-cache", "notes/thesis-cache", "thesis.tex"):
        (tmp_path / "cache" / name).write_bytes(b"x" * 2**20)
    here = {key: value for key, value in provenance.provenance([]).items() if key != "package"}
    root = plant(tmp_path / "store", cells(), code="c0de", provenance=here)
    plant(root, cells()[:1], code="0ther", provenance=here)
    plant(root, cells()[:1], code="e15e", provenance={**here, "device": "NVIDIA H100"})
    left = root / cells()[0].digest / ".tmp-old"
    left.write_text("half")
    os.utime(left, (0, 0))
    assert cli.main(["clean", "--results", str(root), "--format", "json"]) == 0
    stale, temporary, compiled = json.loads(capsys.readouterr().out)
    seen = found(root)
    others = seen["runs"].remark.split("; ")
    assert [int(words.split()[0]) for words in others] == [stale["number"], 8, temporary["number"]] == [8, 8, 1]
    assert "clean --stale" in others[0] and "clean --temporary" in others[2]
    assert seen["compiled programs"].found == f"{compiled['MiB']} MiB" == "1.0 MiB"


@pytest.fixture
def data(tmp_path, monkeypatch):
    """A folder of data sets, and two sets of which it may hold files."""
    wanted = {name: tuple(PublicFile(f"{name}.{k}", sha256(f"{name}.{k}"), ()) for k in (1, 2)) for name in ("a", "b")}
    monkeypatch.setattr(images, "FILES", wanted)
    monkeypatch.setenv("TANGENTBENCH_DATA", str(tmp_path / "data"))
    for name in ("a.1", "a.2"):
        put(tmp_path / "data", name)
    return tmp_path / "data"


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def put(folder: Path, name: str, content: str | None = None) -> None:
    path = folder / name.split(".")[0] / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(name if content is None else content)


def test_data_sets_that_are_there(data, tmp_path, monkeypatch):
    assert found(tmp_path / "none")["data sets"].found == "a; 0.0 MiB in the folder of TANGENTBENCH_DATA"
    (data / "a" / ".lock").touch()
    assert found(tmp_path / "none")["data sets"].remark == ""
    put(data, "b.1", "x" * 2**20)
    put(data, "b.2")
    seen = found(tmp_path / "none")["data sets"]
    assert seen.found.startswith("a; 1.0 MiB") and seen.remark.startswith("b: b.1 is damaged")
    put(data, "b.1")
    (data / "b" / "b.2").rename(data / "b" / "b.2.part")
    seen = found(tmp_path / "none")["data sets"]
    assert seen.found.startswith("a; ") and seen.remark == "b: 1 of 2 files are missing; b: b.2.part is not of it"
    monkeypatch.setenv("TANGENTBENCH_DATA", "off")
    seen = found(tmp_path / "none")["data sets"]
    assert (seen.found, seen.remark) == ("none", "TANGENTBENCH_DATA is off: runs that need a download are skipped")
    monkeypatch.setenv("TANGENTBENCH_DATA", str(data / "a" / "a.1"))  # a file
    seen = found(tmp_path / "none")["data sets"]
    assert seen.found.startswith("none downloaded yet") and "cannot be written" in seen.remark and not seen.broken


@pytest.mark.parametrize(
    ("name", "value", "what", "remark"),
    [
        ("JAX_ENABLE_X64", "1", "JAX_ENABLE_X64", "part of the code digest"),
        ("XLA_FLAGS", "--xla_cpu_enable_fast_math=true", "XLA_FLAGS", "part of the code digest"),
        ("XLA_FLAGS", "--xla_cpu_enable_fast_math=true x=1", "XLA_FLAGS", "XLA passes over x=1: a flag starts with --"),
        ("JAX_DEFAULT_MATMUL_PRECISION", "default", "matmul precision", "has no effect"),
        ("TANGENTBENCH_CACHE", "off", "compiled programs", "every call compiles again"),
    ],
)
def test_a_variable_that_matters_is_named(tmp_path, monkeypatch, name, value, what, remark):
    monkeypatch.setenv(name, value)
    seen = found(tmp_path)[what]
    assert remark in seen.remark and not seen.broken


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ("--xla_nope=1 --xla_two", "flag unknown, or without the value that it needs: --xla_nope=1 --xla_two"),
        ("--xla_dump_to", "flag unknown, or without the value that it needs: --xla_dump_to"),
        ("xla_cpu_enable_fast_math=true", "'xla_cpu_enable_fast_math=true' does not start with --"),
        ("--xla_cpu_enable_fast_math=maybe", "--xla_cpu_enable_fast_math cannot be 'maybe'"),
    ],
)
def test_flags_that_xla_refuses_are_one_line_each(tmp_path, monkeypatch, capsys, flags, said):
    """XLA itself ends the process that reads them, and prints all flags that it knows."""
    monkeypatch.setenv("XLA_FLAGS", flags)
    assert cli.main(["doctor", "--results", str(tmp_path / "none"), "--format", "json"]) == 1
    rows = {row["what"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["XLA_FLAGS"]["remark"] == f"XLA does not start: {said}" and rows["XLA_FLAGS"]["broken"]
    assert cli.main(["leaderboard", "arena/digits", "--results", str(tmp_path / "none"), "--quiet"]) == 1
    out, err = capsys.readouterr()
    assert err == f"tangentbench: XLA does not start with this XLA_FLAGS: {said}; correct it or unset it\n" and not out
    assert not (tmp_path / "none").exists()  # no run was stored as an error of its task


def test_a_platform_that_jax_refuses_is_one_line(tmp_path, monkeypatch, capsys):
    """Without a device plug-in nothing else asks jax before a worker does, and all runs would be stored as errors."""
    monkeypatch.setenv("JAX_PLATFORMS", "cud")
    assert cli.main(["doctor", "--results", str(tmp_path / "none"), "--format", "json"]) == 1
    rows = {row["what"]: row for row in json.loads(capsys.readouterr().out)}
    said = rows["JAX_PLATFORMS"]["remark"].removeprefix("jax does not start: ")
    assert said.startswith("Backend 'cud' is not in the list of known backends") and rows["JAX_PLATFORMS"]["broken"]
    assert cli.main(["run", "arena/digits", "--tier", "smoke", "--results", str(tmp_path / "none"), "--quiet"]) == 1
    out, err = capsys.readouterr()
    whole = f"tangentbench: jax does not start with this JAX_PLATFORMS: {said}; correct it or unset it\n"
    assert err == whole and not out and not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    ("last", "said"),
    [
        (
            "RuntimeError: Unable to initialize backend 'tpu': no libtpu.so. (set JAX_PLATFORMS='' to choose)",
            "no libtpu.so",
        ),
        ("    assert _default_backend is not None\nAssertionError", "no device of these platforms"),
        ("ModuleNotFoundError: No module named 'jax'", "ModuleNotFoundError: No module named 'jax'"),
        ("OSError: /somebody/secret/libtpu.so", "OSError: <path>"),
        ("", ""),
    ],
)
def test_what_jax_says_of_a_platform_in_few_words(monkeypatch, last, said):
    monkeypatch.setenv("JAX_PLATFORMS", "some")
    monkeypatch.setattr(doctor, "_last_words", lambda variables: f"Traceback\n  File\n{last}\n" if last else "")
    assert doctor.refused_platforms() == said


def test_platforms_that_jax_takes(monkeypatch):
    assert doctor.refused_platforms() == ""
    monkeypatch.setenv("JAX_PLATFORMS", "cpu,cuda")
    monkeypatch.setenv("XLA_FLAGS", "--xla_nope=1")  # has a line of its own
    assert doctor.refused_platforms() == ""
    monkeypatch.setattr(doctor.subprocess, "run", None)
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")  # takes no process
    assert doctor.refused_platforms() == ""


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
