"""Does `compare` find what was planted, and nothing else? `python -m benchmarks.planted [--comparisons N]`

The task of `planted.yaml` is run by copies of the package in which one line was changed, and compared with the
unchanged one: a metric biased by two margins, other initial weights from the same seeds, momentum dropped, and a
tangent kernel that does half of its work twice. Then the unchanged package is compared with itself, each time on other
seeds.

The slow kernel is also looked for as a busy machine cannot hide it: by the counts of `kernels.py`, and by times of both
kernels in turns, whose ratios are paired: whatever slows one of a pair slows the other.
"""

import argparse
import contextlib
import math
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tangentbench.runners import comparison, noise, provenance, sides
from tangentbench.runners.changes import Margin, Shift, judge, shift
from tangentbench.runners.compare_rows import REGRESSIONS, Row
from tangentbench.runners.compare_speed import MARGIN

TASK = Path(__file__).resolve().parent / "planted.yaml"
KERNEL = "def tangent_kernel(model: Any, x"
SLOW = "a kernel made 1.5 times slower"
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
    SLOW: (
        "models/kernels/tangent.py",
        KERNEL,
        # 0.71² of the entries, which no compiler may drop: 0 · x is not 0 for every x
        "def tangent_kernel(model, x, z=None):\n"
        "    wasted = _tangent_kernel(model, x[: int(0.71 * len(x))], z)\n"
        "    return _tangent_kernel(model, x, z) + 0.0 * jnp.sum(wasted)\n\n\n" + KERNEL.replace("def ", "def _"),
    ),
}
"""What is planted -> file, text, text instead."""
COUNTS: tuple[str, ...] = ("operations", "instructions")
LEVEL = 0.99  # coverage of the interval of paired times
IN_TURNS = """
import sys, time
from benchmarks.kernels import TangentKernel

kernel = TangentKernel()
kernel.setup()
print(kernel.track_operations(), kernel.track_instructions(), flush=True)
for _ in sys.stdin:
    start = time.perf_counter()
    kernel.answer()
    print(time.perf_counter() - start, flush=True)
"""
"""A process that compiles the kernel, says its counts, and then times it once for every line that it is sent."""


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


def in_turns(packages: Sequence[Path], rounds: int) -> tuple[list[dict[str, float]], Shift]:
    """The tangent kernel of two copies of the package: the counts of both, and by what factor the second is slower.

    Each round times both, the first first in every other one.
    """
    root = TASK.parent.parent
    with contextlib.ExitStack() as stack:
        kernels = []
        for package in packages:
            environment = {**os.environ, "PYTHONPATH": f"{package}{os.pathsep}{root}"}
            command = [sys.executable, "-c", IN_TURNS]
            process = subprocess.Popen(
                command, env=environment, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
            )
            kernels.append(stack.enter_context(process))
        counts = [dict(zip(COUNTS, _numbers(kernel), strict=True)) for kernel in kernels]
        times: list[dict[int, float]] = [{}, {}]
        for number in range(rounds):
            for which in (0, 1) if number % 2 else (1, 0):
                kernels[which].stdin.write("\n")
                kernels[which].stdin.flush()
                (times[which][number],) = _numbers(kernels[which])
    found = shift(times[0], times[1], Margin(MARGIN), paired=True)
    assert found is not None
    return counts, found


def _numbers(process: "subprocess.Popen[str]") -> list[float]:
    assert process.stdout is not None
    return [float(word) for word in process.stdout.readline().split()]


def slow_kernel(unchanged: Path, planted: Path, rounds: int) -> str:
    """What counts and paired times say of the second kernel."""
    (before, after), found = in_turns([unchanged, planted], rounds)
    moved = [f"{name} {100 * (after[name] / before[name] - 1):+.0f}%" for name in COUNTS if after[name] != before[name]]
    change, low, high = (100 * math.expm1(end) for end in (found.value, *found.interval(LEVEL)))
    word = {"worse": "slower", "better": "faster"}.get(verdict := judge(found, Margin(MARGIN), "lower", LEVEL), verdict)
    return ", ".join([*moved, f"{rounds} pairs of times {word} {change:+.0f}% [{low:+.0f}%, {high:+.0f}%]"])


def main() -> None:
    parser = argparse.ArgumentParser(description="Plant regressions and look for them.", allow_abbrev=False)
    parser.add_argument("--comparisons", type=int, default=20, help="of the package with itself")
    parser.add_argument("--repeats", type=int, default=8, help="of each run, to know the noise of times")
    parser.add_argument("--rounds", type=int, default=60, help="in which both kernels are timed")
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
            other = copied(folder / f"planted{number}", planted)
            after = run(other, folder / f"after{number}")
            found = findings(comparison.compare(before, after, noise=measured).rows)
            print(f"| {what} | {', '.join(dict.fromkeys(found)) or '**nothing**'} |", flush=True)
            if what == SLOW:
                print(f"| the same, in turns | {slow_kernel(package, other, options.rounds)} |", flush=True)
                print(f"| nothing, in turns | {slow_kernel(package, package, options.rounds)} |", flush=True)
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
