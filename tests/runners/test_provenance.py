"""The code digest moves with the numbers only, and provenance gives nobody away."""

import getpass
import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tangentbench.runners import provenance
from tangentbench.runners.provenance import code_digest, device_kind
from tangentbench.tasks import plug_ins, registry

GIT = shutil.which("git")


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    """No answer cached by one test reaches another, nor does the environment of the test run."""
    for name in ("JAX_PLATFORMS", "XLA_FLAGS", "ASV_COMMIT", *provenance.NUMERICS):
        monkeypatch.delenv(name, raising=False)
    caches = (provenance.package, provenance._asked_device_kind, provenance._version)
    for cached in caches:
        cached.cache_clear()
    yield
    for cached in caches:
        cached.cache_clear()


@pytest.fixture
def sources(tmp_path, monkeypatch, root) -> Path:
    """A copy of the package's sources in the place of the imported ones."""
    copy = tmp_path / "checkout"
    for name in ("models", "tasks", "runners"):
        shutil.copytree(root / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(provenance, "package_root", lambda: copy)
    return copy


def edit(path: Path) -> None:
    with path.open("a", newline="") as file:
        file.write("\n# edited\n")


@pytest.mark.parametrize(
    "name",
    [
        "models/kernels/__init__.py",
        "tasks/metrics/rules.py",
        "tasks/losses.py",
        "tasks/registry.py",
        "runners/methods.py",
        "runners/train.py",
    ],
)
def test_an_edited_kernel_is_other_code(sources, name):
    assert (sources / name).is_file()
    before = code_digest("cpu")
    edit(sources / name)
    assert code_digest("cpu") != before


def test_every_pattern_names_a_file(sources):
    for pattern in provenance.SOURCES:
        assert list(sources.glob(pattern)), pattern


@pytest.mark.parametrize(
    "name",
    ["runners/verdicts.py", "runners/arenas.py", "runners/claim_data.py", "runners/tables.py", "runners/cli.py"],
)
def test_an_edited_board_is_not(sources, name):
    assert (sources / name).is_file()
    before = code_digest("cpu")
    edit(sources / name)
    assert code_digest("cpu") == before


def test_flags_of_the_compiler_are_part_of_the_code_however_they_are_written(monkeypatch):
    def digest(flags):
        monkeypatch.setenv("XLA_FLAGS", flags)
        return code_digest("cpu")

    unset = code_digest("cpu")
    fast, both = "--xla_cpu_enable_fast_math=true", "--xla_a=1 --xla_cpu_enable_fast_math=true"
    assert len({unset, digest(fast), digest(both), digest(fast.replace("true", "false"))}) == 4
    assert digest(f"  {fast}   --xla_a=1 ") == digest(both)
    # the last of a repeated flag counts, and a dump changes no number
    assert digest(f"--xla_cpu_enable_fast_math=false {fast}") == digest(fast) != digest(fast.replace("true", "false"))
    assert digest(" ") == digest("--xla_dump_to=folder") == unset


@pytest.mark.parametrize("name", provenance.NUMERICS)
def test_so_is_the_precision_that_the_environment_asks_for(monkeypatch, name):
    digests = [code_digest("cpu")]
    for value in ("", "True", "true", "other"):
        monkeypatch.setenv(name, value)
        digests.append(code_digest("cpu"))
    assert digests[0] == digests[1] and digests[2] == digests[3] and len(set(digests)) == 3


@pytest.mark.parametrize("name", provenance.NUMERICS)
def test_a_run_says_what_the_environment_asked_for(monkeypatch, name):
    assert provenance.provenance([], "cpu")["variables"] == {}
    monkeypatch.setenv(name, " High ")
    assert provenance.provenance([], "cpu")["variables"] == {name: "high"}
    monkeypatch.setenv(name, "/srv/me")
    assert provenance.provenance([], "cpu")["variables"] == {name: "<path>"}


def test_a_new_or_renamed_kernel_and_a_device_are_other_code_but_line_ends_are_not(sources):
    digests = [code_digest("cpu"), code_digest("NVIDIA H100")]
    (sources / "models" / "added.py").write_text("x = 1\n")
    digests.append(code_digest("cpu"))
    (sources / "models" / "added.py").rename(sources / "models" / "renamed.py")
    digests.append(code_digest("cpu"))
    assert len(set(digests)) == 4
    assert all(len(digest) == 16 and int(digest, 16) >= 0 for digest in digests)
    (sources / "models" / "renamed.py").write_bytes(b"x = 1\r\n")
    assert code_digest("cpu") == digests[-1]


def test_library_versions_are_part_of_the_code(monkeypatch):
    before = code_digest("cpu")
    version = provenance._version
    monkeypatch.setattr(provenance, "_version", lambda name: "99.0" if name == "jaxlib" else version(name))
    assert code_digest("cpu") != before


@pytest.fixture
def plug_in(tmp_path, monkeypatch) -> Path:
    """The module of an installed plug-in, which nobody imported."""
    (tmp_path / "my_plug_in").mkdir()
    module = tmp_path / "my_plug_in" / "__init__.py"
    module.write_text("x = 1\n")
    info = tmp_path / "my_plug_in-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my-plug-in\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[tangentbench.metrics]\nmine = my_plug_in:entry\n")
    monkeypatch.syspath_prepend(tmp_path)
    caches = (registry._installed, plug_ins.distribution)
    for cached in caches:
        cached.cache_clear()
    yield module
    for cached in caches:
        cached.cache_clear()


def test_a_plug_in_is_recorded_and_is_not_part_of_the_code(plug_in):
    """Its sources are part of the digests of the cells that use it (`test_plug_in`)."""
    with_plug_in = code_digest("cpu")
    assert provenance.provenance([])["plug_ins"] == ["my-plug-in 1.0"]
    plug_in.write_text("x = 2\n")
    assert code_digest("cpu") == with_plug_in
    (plug_in.parents[1] / "my_plug_in-1.0.dist-info" / "entry_points.txt").unlink()
    registry._installed.cache_clear()
    assert code_digest("cpu") == with_plug_in and provenance.provenance([])["plug_ins"] == []


def test_the_sources_of_a_plug_in_are_hashed_without_importing_it(plug_in):
    first = plug_ins.distribution("my-plug-in")
    assert first[:2] == ("my-plug-in 1.0", "tangentbench.metrics mine = my_plug_in:entry")
    assert len(first) == 3 and first[2].startswith("my_plug_in/__init__.py ")
    plug_in.write_bytes(b"x = 1\r\n")
    plug_ins.distribution.cache_clear()
    assert plug_ins.distribution("my-plug-in") == first
    plug_in.write_text("x = 2\n")
    plug_ins.distribution.cache_clear()
    assert plug_ins.distribution("my-plug-in")[2] != first[2]
    assert "my_plug_in" not in sys.modules
    assert plug_ins.distribution("another") == ()


@pytest.mark.parametrize("listed", ["RECORD", "top_level.txt"])  # a wheel; an editable install
def test_every_file_of_a_plug_in_counts_and_what_python_leaves_behind_does_not(plug_in, listed):
    """A table beside the code and a second module of the same distribution change numbers as the first one does."""
    site = plug_in.parents[1]
    info = site / "my_plug_in-1.0.dist-info"
    table, second = plug_in.parent / "table.json", site / "my_other" / "sub" / "code.py"
    second.parent.mkdir(parents=True)
    (site / "my_other" / "__init__.py").touch()
    table.write_text("[1]")
    second.write_text("y = 1\n")
    names = ["my_plug_in/table.json", "my_other/sub/code.py", "my_plug_in-1.0.dist-info/METADATA", "../bin/mine"]
    text = "my_plug_in\nmy_other\n" if listed == "top_level.txt" else "".join(f"{name},,\n" for name in names)
    (info / listed).write_text(text)

    def digest():
        plug_ins.distribution.cache_clear()
        return plug_ins.distribution("my-plug-in")

    seen = [digest()]
    for path in (table, second):
        path.write_text(path.read_text() + " ")
        seen.append(digest())
    assert len(set(seen)) == 3
    (plug_in.parent / "__pycache__").mkdir()
    for name in ("__pycache__/x.pyc", ".hidden", "table.json~"):
        (plug_in.parent / name).write_text("x")
    assert digest() == seen[-1]
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my-plug-in\nVersion: 1.1\n")
    registry._installed.cache_clear()
    assert digest()[1:] == seen[-1][1:] and digest()[0] == "my-plug-in 1.1"


def test_the_device_is_cpu_without_asking_jax(monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("jax was asked")

    monkeypatch.setattr(provenance.subprocess, "run", refuse)
    monkeypatch.setattr(provenance, "_has_device_plug_in", lambda: False)
    assert device_kind() == "cpu"
    monkeypatch.setattr(provenance, "_has_device_plug_in", lambda: True)
    for platforms in ("cpu", "CPU", "cpu,cuda"):
        monkeypatch.setenv("JAX_PLATFORMS", platforms)
        assert device_kind() == "cpu"


def test_with_a_device_plug_in_jax_is_asked_once(monkeypatch):
    asked = []

    def answer(command, **options):
        asked.append(options["env"]["XLA_PYTHON_CLIENT_PREALLOCATE"])
        return subprocess.CompletedProcess(command, 0, "a banner\nNVIDIA H100 80GB HBM3\n", "")

    monkeypatch.setattr(provenance, "_has_device_plug_in", lambda: True)
    monkeypatch.setattr(provenance.subprocess, "run", answer)
    assert [device_kind(), device_kind()] == ["NVIDIA H100 80GB HBM3"] * 2
    assert asked == ["false"]


def test_a_device_that_does_not_start_says_what_to_do(monkeypatch):
    failed = subprocess.CompletedProcess([], 1, "", "Traceback\nRuntimeError: no CUDA-capable device is detected\n")
    monkeypatch.setattr(provenance, "_has_device_plug_in", lambda: True)
    monkeypatch.setattr(provenance.subprocess, "run", lambda *args, **options: failed)
    with pytest.raises(provenance.DeviceError, match="no CUDA-capable.*JAX_PLATFORMS=cpu") as caught:
        device_kind()
    assert "\n" not in str(caught.value)


def test_provenance_names_no_host_user_or_path(monkeypatch, tmp_path):
    home = os.path.expanduser("~")
    monkeypatch.setenv("XLA_FLAGS", f"--xla_dump_to={tmp_path} --xla_cpu_enable_fast_math=false")
    argv = [
        sys.argv[0], "run", "quadratic/single_example", "--results", str(tmp_path), f"--tasks={home}/x y/z",
        "dir:/data/store", "commit:HEAD~2", "./mine.yaml", "../up", r"C:\Users\me", "~me", "--seeds", "8",
    ]  # fmt: skip
    record = provenance.provenance(argv, "cpu")
    assert record["argv"][1:] == [
        "run", "quadratic/single_example", "--results", "<path>", "--tasks=<path>",
        "dir:<path>", "commit:HEAD~2", "<path>", "<path>", "<path>", "<path>", "--seeds", "8",
    ]  # fmt: skip
    assert record["xla_flags"] == "--xla_dump_to=<path> --xla_cpu_enable_fast_math=false"
    text = json.dumps(record)
    words = [str(tmp_path), os.path.dirname(sys.executable), socket.gethostname(), str(Path.cwd())]
    for secret in (word for word in [*words, home] if len(word) > 3):
        assert secret not in text
    assert f'"{getpass.getuser()}"' not in text
    assert record["versions"]["jax"] and record["device"] == "cpu"


def test_versions_of_the_device_s_plug_ins_are_recorded(monkeypatch):
    assert "jax-cuda12-plugin" not in provenance.provenance([], "cpu")["versions"]  # it is not installed
    version = provenance._version
    monkeypatch.setattr(provenance, "_version", lambda name: "9.9" if name == "jax-cuda12-plugin" else version(name))
    assert provenance.provenance([], "cpu")["versions"]["jax-cuda12-plugin"] == "9.9"


@pytest.mark.skipif(GIT is None, reason="git is not installed")
class TestCheckout:
    @pytest.fixture
    def git(self, sources, monkeypatch):
        names = {
            "GIT_AUTHOR_NAME": "a",
            "GIT_AUTHOR_EMAIL": "a@b",
            "GIT_COMMITTER_NAME": "a",
            "GIT_COMMITTER_EMAIL": "a@b",
        }

        def run(*arguments: str) -> str:
            command = ["git", "-c", "init.defaultBranch=main", "-c", "commit.gpgsign=false", *arguments]
            # git's hooks set variables that would point these commands at the project itself
            clean = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
            done = subprocess.run(
                command, cwd=sources, env={**clean, **names}, check=True, capture_output=True, text=True
            )
            return done.stdout.strip()

        run("init")
        return run

    def test_the_commit_and_what_differs_from_it(self, sources, git):
        git("add", ".")
        git("commit", "-m", "first")
        clean = provenance.package()
        assert clean["commit"] == git("rev-parse", "HEAD")
        assert (clean["dirty"], clean["diff"]) == (False, None)
        diffs = set()
        for change in (sources / "models" / "__init__.py", sources / "tasks" / "new_file.py"):
            edit(change)
            provenance.package.cache_clear()
            dirty = provenance.package()
            assert dirty["dirty"] and dirty["commit"] == clean["commit"]
            diffs.add(dirty["diff"])
        assert len(diffs) == 2

    def test_a_repository_that_does_not_track_the_sources_is_not_theirs(self, sources, git, monkeypatch):
        """A wheel in an environment inside somebody's repository, with or without asv."""
        (sources / "thesis.tex").write_text("x")
        git("add", "thesis.tex")
        git("commit", "-m", "mine")
        assert provenance.package()["commit"] is None
        provenance.package.cache_clear()
        monkeypatch.setenv("ASV_COMMIT", "0a1b2c3d4e5f")
        assert provenance.package() == {
            "version": provenance.package()["version"], "commit": "0a1b2c3d4e5f", "dirty": None, "diff": None,
        }  # fmt: skip

    def test_the_current_folder_does_not_matter(self, sources, git, monkeypatch, tmp_path):
        git("add", ".")
        git("commit", "-m", "first")
        elsewhere = tmp_path / "elsewhere"
        elsewhere.mkdir()
        monkeypatch.chdir(elsewhere)
        monkeypatch.setenv("GIT_DIR", str(elsewhere))
        assert provenance.package()["commit"] == git("rev-parse", "HEAD")

    def test_without_git_there_is_no_commit(self, sources, git, monkeypatch):
        monkeypatch.setenv("PATH", str(sources))
        assert provenance.package()["commit"] is None
