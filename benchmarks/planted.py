"""Does `compare` find what was planted, and nothing else? `python -m benchmarks.planted [--comparisons N]`

The task of `planted.yaml` is run by copies of the package in which one line was changed, and compared with the
unchanged one: a metric biased by two margins, other initial weights from the same seeds, momentum dropped, and a
tangent kernel that does half of its work twice. Then the unchanged package is compared with itself, each time on other
seeds.
"""

import argparse
import math
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tangentbench.runners import comparison, noise, provenance, sides
from tangentbench.runners.compare_rows import REGRESSIONS, Row

TASK = Path(__file__).resolve().parent / "planted.yaml"
KERNEL = "def tangent_kernel(model: Any, x"
PLANTED = {
    "a metric biased by two margins": (
        "tasks/metrics/state.py",
        'return _loss(ctx, model, "test")',
        'return 1.1 * _loss(ctx, model, "test")',
    ),
    "other initial weights from the same seeds": (
        "tasks/streams.py",
        'text = f"{stream:d}/{purpose}/{seed:d}"',
        "text = f\"{stream:d}/{purpose}/{seed + 1000 * (purpose == 'init'):d}\"",
    ),
    "momentum dropped": (
        "runners/methods.py",
        "return optax.sgd(learning_rate, momentum=momentum)",
        "return optax.sgd(learning_rate)",
    ),
    "a kernel made 1.5 times slower": (
        "models/kernels/tangent.py",
        KERNEL,
        # 0.71² of the entries, which no compiler may drop: 0 · x is not 0 for every x
        "def tangent_kernel(model, x, z=None):\n"
        "    wasted = _tangent_kernel(model, x[: int(0.71 * len(x))], z)\n"
        "    return _tangent_kernel(model, x, z) + 0.0 * jnp.sum(wasted)\n\n\n" + KERNEL.replace("def ", "def _"),
    ),
}
"""What is planted -> file, text, text instead."""


def copied(folder: Path, planted: tuple[str, str, str] | None = None) -> Path:
    """A copy of the imported package, with a line changed; the folder to put on PYTHONPATH.

    Raises:
        ValueError: the text to change is not there exactly once.
    """
    for name in ("models", "tasks", "runners"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(provenance.package_root() / name, folder / "tangentbench" / name, ignore=ignored)
    if planted is not None:
        path = folder / "tangentbench" / planted[0]
        text = path.read_text(encoding="utf-8")
        if text.count(planted[1]) != 1:
            raise ValueError(f"{planted[0]} has {planted[1]!r} {text.count(planted[1])} times; expected once")
        path.write_text(text.replace(*planted[1:]), encoding="utf-8")
    return folder


def run(package: Path, results: Path, base_seed: int = 0) -> sides.Side:
    """Runs the task with a copy of the package, and returns the side."""
    words = ["run", str(TASK), "--quiet", "--tier", "smoke", "--results", str(results), "--base-seed", str(base_seed)]
    environment = {**os.environ, "PYTHONPATH": str(package)}
    command = [sys.executable, "-m", "tangentbench.runners.cli", *words]
    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
    return sides.resolve(str(results), results)


def findings(rows: Sequence[Row]) -> list[str]:
    """What is called worse, changed or slower, the largest change first."""
    bad = sorted((row for row in rows if row.verdict in REGRESSIONS), key=lambda row: -abs(row.change or 0.0))
    return [f"{row.metric} {row.verdict}" + (f" {100 * row.change:+.0f}%" if row.change else "") for row in bad]


def main() -> None:
    parser = argparse.ArgumentParser(description="Plant regressions and look for them.", allow_abbrev=False)
    parser.add_argument("--comparisons", type=int, default=20, help="of the package with itself")
    parser.add_argument("--repeats", type=int, default=8, help="of each run, to know the noise of times")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        package = copied(folder / "unchanged")
        before = run(package, folder / "before")
        measured = noise.measure(before, repeats=options.repeats)
        (floor,) = (measured.time_floor(task, 1) or 0.0 for task in measured.times)
        print(f"noise of times: a ratio within {math.exp(floor):.2f} is no news\n", flush=True)
        print("| planted | found |\n|---|---|", flush=True)
        for number, (what, planted) in enumerate(PLANTED.items()):
            after = run(copied(folder / f"planted{number}", planted), folder / f"after{number}")
            found = findings(comparison.compare(before, after, noise=measured).rows)
            print(f"| {what} | {', '.join(dict.fromkeys(found)) or '**nothing**'} |", flush=True)
        wrong = 0
        for number in range(1, options.comparisons + 1):
            after = run(package, folder / f"same{number}", base_seed=1000 * number)
            found = findings(comparison.compare(before, after, noise=measured).rows)
            wrong += bool(found)
            if found:
                print(f"| nothing ({number}) | {', '.join(found)} |", flush=True)
            before = after
        print(f"\n{wrong} of {options.comparisons} comparisons of the package with itself found something")


if __name__ == "__main__":
    main()
