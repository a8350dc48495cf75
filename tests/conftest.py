"""What all tests share: shapes checked at run time, and the project's own files."""

import importlib.util
import os
import signal
import threading
from pathlib import Path
from types import ModuleType

import jaxtyping
import pytest

# Before any test imports the package: its shape annotations are executed, not only read.
jaxtyping.install_import_hook("tangentbench.models", "beartype.beartype")

os.environ["TANGENTBENCH_DATA"] = "off"  # no test downloads a data set

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def root() -> Path:
    """The source tree, of which the installed package lacks the tests, the benchmarks and the root's files."""
    return ROOT


@pytest.fixture(scope="session")
def script():
    """Load a script of `.ci/` as a module: `script("tree").files(root)`."""

    def load(name: str) -> ModuleType:
        spec = importlib.util.spec_from_file_location(f"ci_{name}", ROOT / ".ci" / f"{name}.py")
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load


@pytest.fixture(scope="session")
def project_files(script) -> list[Path]:
    """The project's files, relative to `root`; nothing that git would ignore."""
    return script("tree").files(ROOT)


@pytest.fixture(scope="session", autouse=True)
def compiled_programs(tmp_path_factory):
    """Workers keep what they compile in a folder of this session: not in the user's, and not twice."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TANGENTBENCH_CACHE", str(shared / "compiled"))
        yield


@pytest.fixture(scope="session", autouse=True)
def interruptible():
    """A shell lets its background jobs ignore SIGINT, and a test of Ctrl-C would inherit that."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.default_int_handler)
