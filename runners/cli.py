"""The command line. It parses, calls, prints and returns an exit code; every command's work is done elsewhere.

Exit codes, the first that applies: 1 usage error or invalid task, 130 interrupted, 2 a cell ended in error, timeout or
out of memory, 3 a claim fails or a control is not rejected, 4 nothing matched, 0 otherwise.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from collections.abc import Sequence
from typing import Any, NoReturn

FORMATS = ("table", "markdown", "csv", "json")
TIERS = ("smoke", "laptop", "paper")
KINDS = ("tasks", "datasets", "models", "losses", "methods", "metrics", "claims")
EPILOG = """exit codes: 0 done; 1 wrong usage or an invalid task file; 2 a cell ended in error, timeout or out of
memory; 3 a claim fails or a control is not rejected; 4 nothing matched; 130 interrupted (run again to continue)"""


class Parser(argparse.ArgumentParser):
    """An argparse parser whose usage errors end with exit code 1, in one line and with a hint."""

    def error(self, message: str) -> NoReturn:
        print(f"{self.prog}: {message} (try `{self.prog} --help`)", file=sys.stderr)
        raise SystemExit(1)


def _positive(text: str) -> int:
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, got {text!r}")
    return value


def _natural(text: str) -> int:
    try:
        value = int(text)
    except ValueError:
        value = -1
    if value < 0:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 0, got {text!r}")
    return value


def _figure(text: str) -> str:
    if not text.lower().endswith((".svg", ".png")):
        raise argparse.ArgumentTypeError(f"a figure is saved as .svg or .png, got {text!r}")
    return text


def parser() -> Parser:
    """The whole command line."""
    top = Parser(
        prog="tangentbench",
        description="Benchmark suite for the training dynamics of neural networks.",
        epilog=EPILOG,
        allow_abbrev=False,
    )
    top.add_argument("--version", action="version", version=_version())
    commands = top.add_subparsers(dest="command", metavar="COMMAND", parser_class=Parser)

    def command(name: str, text: str, *, tasks: str | None = None, runs: bool = False, tier: bool = True) -> Parser:
        sub = commands.add_parser(name, help=text, description=text, epilog=EPILOG, allow_abbrev=False)
        if tasks:
            sub.add_argument(
                "tasks",
                nargs=tasks,
                metavar="TASK",
                help="task ids, globs ('quadratic/*') or paths to YAML files; the whole suite if none is given",
            )
        if tier:
            sub.add_argument(
                "--tier",
                choices=TIERS,
                default="laptop",
                help="smoke: does all run; laptop: minutes on two cores; paper: for a GPU (default: %(default)s)",
            )
            sub.add_argument("--tasks", dest="folder", metavar="DIR", help="a folder of more task files")
        if runs:
            sub.add_argument("--seeds", type=_positive, metavar="N", help="seeds per cell, instead of each task's own")
            sub.add_argument("--base-seed", type=_natural, default=0, metavar="N", help="number of the first seed")
            sub.add_argument("--results", default="results", metavar="DIR", help="where runs are stored (%(default)s/)")
            sub.add_argument(
                "--jobs",
                type=_positive,
                metavar="N",
                help="worker processes (default: 2 on a CPU, else 1)",
            )
            sub.add_argument("--fresh", action="store_true", help="run again what the results folder already has")
            sub.add_argument("--dry-run", action="store_true", help="only say what would run")
            sub.add_argument("--quiet", action="store_true", help="no progress on standard error")
        sub.add_argument("--format", choices=FORMATS, default="table", help="how to print (default: %(default)s)")
        return sub

    sub = command("list", "List tasks or components.", tier=False)
    sub.add_argument("kind", nargs="?", choices=KINDS, default="tasks", help="what to list (default: %(default)s)")
    sub.add_argument("--tasks", dest="folder", metavar="DIR", help="a folder of more task files")
    sub = command("show", "Show one task: what it asks, its cells and its claims.")
    sub.add_argument("task", metavar="TASK", help="a task id or the path of a YAML file")
    sub = command("validate", "Check task files; says file, line and column of every mistake.", tier=False)
    sub.add_argument("paths", nargs="*", metavar="PATH", help="YAML files or folders; the whole suite if none is given")
    sub.add_argument("--schema", action="store_true", help="print the JSON Schema of task files, for editors, and stop")
    command("run", "Run what is missing and list the runs.", tasks="*", runs=True)
    for name, text in (
        (
            "leaderboard",
            "Run what is missing and print the leaderboard (with no TASK: the whole suite, and its claims too).",
        ),
        ("claims", "Run what is missing and print the verdict of every claim."),
    ):
        sub = command(name, text, tasks="*", runs=True)
        sub.add_argument("--any-code", action="store_true", help="print stored runs of other code too, marked stale")
        sub.add_argument("--plot", type=_figure, metavar="FILE", help="also draw the boards (.svg or .png)")
    return top


def _version() -> str:
    from importlib.metadata import version

    return f"tangentbench {version('tangentbench')}"


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of the `tangentbench` command; returns the exit code."""
    argv = list(sys.argv[1:] if argv is None else argv)
    top = parser()
    try:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, _terminate)  # a time limit from outside ends as an interrupt does
        options = top.parse_args(argv)
        if options.command is None:
            top.print_help()
            return 0
        code = _dispatch(options, argv)
        sys.stdout.flush()  # here, where a reader that has gone is noticed, and not when Python ends
        return code
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 1
    except KeyboardInterrupt:
        print("interrupted; finished runs are stored, the same command continues", file=sys.stderr)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # the reader has gone; nothing to say to anyone
        return 0
    except Exception as error:
        if not _is_user_error(error):
            raise
        print(error if _speaks_for_itself(error) else f"tangentbench: {error}", file=sys.stderr)
        return 4 if _nothing_matched(error) else 1


def _terminate(*_: object) -> NoReturn:
    raise KeyboardInterrupt


def _is_user_error(error: Exception) -> bool:
    from ..tasks.load import SeedError, TaskFileError
    from ..tasks.registry import PluginError, UnknownName
    from . import provenance, results

    known = (
        SeedError,
        TaskFileError,
        UnknownName,
        PluginError,
        results.StoreError,
        provenance.DeviceError,
        NothingMatched,
        CannotDraw,
    )
    return isinstance(error, known)


def _speaks_for_itself(error: Exception) -> bool:
    from ..tasks.load import TaskFileError

    return isinstance(error, TaskFileError)


def _nothing_matched(error: Exception) -> bool:
    from ..tasks.registry import UnknownName

    return isinstance(error, NothingMatched) or (isinstance(error, UnknownName) and error.kind == "task")


class CannotDraw(Exception):
    """The figure cannot be written where it was asked for."""


class NothingMatched(Exception):
    """No task has the name that was asked for."""


def _dispatch(options: argparse.Namespace, argv: Sequence[str]) -> int:
    if options.command in ("list", "show", "validate"):
        from . import describe

        if options.command == "list":
            print(describe.list_components(options.kind, options.format, folder=options.folder))
            return 0
        if options.command == "show":
            print(describe.show_task(options.task, options.tier, options.format, folder=options.folder))
            return 0
        if options.schema:
            import json

            from ..tasks import load

            print(json.dumps(load.json_schema(), indent=1))
            return 0
        return describe.validate(options.paths, options.format)
    return _run(options, argv)


def _run(options: argparse.Namespace, argv: Sequence[str]) -> int:
    from . import suite

    _check_plot(options)
    planned = suite.plan(_tasks(options), options.tier, seeds=options.seeds, base_seed=options.base_seed)
    if options.dry_run:
        return _dry_run(planned, options)
    from . import progress

    store, code = suite.open_store(options.results)
    with progress.progress(options.quiet) as notify:
        done = suite.run_missing(
            planned,
            store,
            code=code,
            argv=["tangentbench", *argv],
            jobs=options.jobs,
            fresh=options.fresh,
            notify=notify,
        )
    runs = suite.lookup(store, code, any_code=getattr(options, "any_code", False))
    return (
        _print_runs(planned, runs, options) if options.command == "run" else _boards(planned, runs, code, options, done)
    )


def _check_plot(options: argparse.Namespace) -> None:
    """A figure that cannot be written is found before anything runs."""
    from pathlib import Path

    folder = Path(getattr(options, "plot", None) or ".").parent
    if not folder.is_dir():
        raise CannotDraw(f"cannot write {options.plot}: there is no folder {folder}")


def _tasks(options: argparse.Namespace) -> list[Any]:
    from ..tasks import load

    tasks = load.find(options.tasks or [], tier=options.tier, folder=options.folder)
    if not tasks:
        raise NothingMatched(f"no task matches {' '.join(options.tasks)}; `tangentbench list` shows them all")
    if options.command == "claims":
        tasks = [task for task in tasks if task.claims]
        other = "no claim among these tasks; `tangentbench leaderboard` prints arenas"
    elif options.command == "leaderboard" and options.tasks:
        tasks = [task for task in tasks if task.leaderboard is not None]
        other = "no arena among these tasks; `tangentbench claims` prints what they claim"
    else:
        other = ""
    if not tasks:
        raise NothingMatched(other)
    return tasks


def _cells_status(planned: Any, runs: Any) -> tuple[list[Any], bool]:
    """All stored runs of the plan, and whether one of them ended in error, timeout or out of memory."""
    from . import suite

    cells = planned.first_wave + suite.second_wave(planned, runs)
    found = [run for cell in cells for seed in cell.seeds if (run := runs(cell, seed)) is not None]
    return found, any(run.status in ("error", "timeout", "out_of_memory") for run in found)


def _print_runs(planned: Any, runs: Any, options: argparse.Namespace) -> int:
    from . import output

    found, broken = _cells_status(planned, runs)
    print(output.runs(found, options.format))
    return 2 if broken else 0


def _boards(planned: Any, runs: Any, code: str, options: argparse.Namespace, done: int) -> int:
    from pathlib import Path

    from . import output, suite, verdicts

    both = options.command == "leaderboard" and not options.tasks
    arenas = suite.arenas(planned, runs, code) if options.command == "leaderboard" else []
    claims = suite.verdicts(planned, runs, code) if both or options.command == "claims" else []
    print(output.boards(arenas, claims, options.format))
    if options.tier == "smoke" and options.format in ("table", "markdown"):
        print("\nsmoke tier: checks that everything runs; its sizes decide nothing, verdicts count from laptop on")
    suite_figure = Path(options.results) / "boards.svg"  # only the whole suite draws it by itself
    target = options.plot or (str(suite_figure) if both and (done or not suite_figure.exists()) else None)
    if target is not None and (arenas or claims):
        from . import plots

        try:
            plots.save(plots.boards_figure(arenas, claims), target)
        except OSError as error:
            raise CannotDraw(f"cannot write {target}: {error.strerror or error}") from error
        if not options.quiet:
            print(f"plot: {target}", file=sys.stderr)
    if _cells_status(planned, runs)[1]:
        return 2
    return verdicts.exit_code(claims)


def _dry_run(planned: Any, options: argparse.Namespace) -> int:
    from pathlib import Path

    from . import output, provenance
    from .results import Store

    store = Store(options.results) if Path(options.results).exists() else None
    print(output.dry_run(planned, store, provenance.code_digest(), options.format))
    return 0


if __name__ == "__main__":
    sys.exit(main())
