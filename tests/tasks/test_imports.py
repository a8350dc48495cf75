"""Reading tasks starts at once: no jax, no numpy, and the whole suite checked in a blink."""

import subprocess
import sys

import pytest

HEAVY = ("jax", "jaxlib", "numpy", "scipy", "pandas", "pooch", "sklearn", "equinox", "optax", "matplotlib", "rich")

VALIDATE = """
import sys, time
start = time.process_time()
import yaml, pydantic
class Model(pydantic.BaseModel):
    field: int
libraries = time.process_time() - start
{planted}
from tangentbench.tasks import load
load.find()
total = time.process_time() - start
print(libraries, total, *sorted({heavy} & {{name.partition('.')[0] for name in sys.modules}}))
"""


def run(planted=""):
    """Validates the suite in a new process: processor seconds of importing yaml and pydantic alone, seconds in all, and
    the heavy packages that were imported."""
    code = VALIDATE.format(planted=planted, heavy=set(HEAVY))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    libraries, total, *imported = done.stdout.split()
    return float(libraries), float(total), imported


def test_the_suite_is_read_without_heavy_packages():
    assert run()[2] == []


@pytest.mark.parametrize("package", ["numpy", "rich"])
def test_a_planted_import_is_noticed(package):
    assert package in run(f"import {package}.version" if package == "numpy" else f"import {package}")[2]


def test_the_suite_is_read_in_a_blink():
    """0.4 s of processor time, or three times what the two libraries take alone on a slower machine.

    The best of several runs counts: other processes on the machine only ever add to the time.
    """
    for _ in range(8):
        libraries, total, _ = run()
        if total < max(0.4, 3 * libraries):
            return
    pytest.fail(f"reading the suite took {total:.2f} s, of which yaml and pydantic took {libraries:.2f} s")
