"""The command line. It parses, calls, prints and returns an exit code; every command's work is done elsewhere.

Exit codes, the first that applies: 1 usage error or invalid task, 130 interrupted, 2 a cell ended in error, timeout or
out of memory, 3 a claim fails, a control is not rejected, something regressed or results do not verify, 4 nothing
matched, 0 otherwise.
"""

from __future__ import annotations

import argparse
import errno
import os
import shlex
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NoReturn

from ..tasks.collection import without_collection
from .arguments import parser

MOST = 5  # tasks that one line names


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of the `tangentbench` command; returns the exit code."""
    argv = list(sys.argv[1:] if argv is None else argv)
    with warnings.catch_warnings():
        warnings.showwarning = _plainly(warnings.showwarning)
        return _main(argv)


def _plainly(show: Callable[..., None]) -> Callable[..., None]:
    """Says of a damaged file what is in the message, and not where in this code it was noticed."""

    def shown(message: Warning | str, category: type[Warning], *place: Any, **rest: Any) -> None:
        if category.__name__ == "CorruptRun":
            print(f"tangentbench: {message}", file=sys.stderr)
        else:
            show(message, category, *place, **rest)

    return shown


def _main(argv: list[str]) -> int:
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
        if _cannot_print(error):
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # or Python tries once more when it ends
            error = CannotDraw(f"cannot print: {os.strerror(getattr(error, 'errno', 0))}")
        if not _is_user_error(error):
            raise
        print(error if _speaks_for_itself(error) else f"tangentbench: {error}", file=sys.stderr)
        return 4 if _nothing_matched(error) else 1


def _cannot_print(error: Exception) -> bool:
    """Whether standard output has no room: errors of files have names."""
    full = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT, errno.EIO)
    return isinstance(error, OSError) and error.filename is None and error.errno in full


def _terminate(*_: object) -> NoReturn:
    raise KeyboardInterrupt


def _is_user_error(error: Exception) -> bool:
    from ..tasks.load import SeedError, TaskFileError
    from ..tasks.registry import PluginError, UnknownName
    from . import crew, new, provenance, results

    known = (
        SeedError,
        TaskFileError,
        UnknownName,
        PluginError,
        results.StoreError,
        provenance.DeviceError,
        crew.WorkerError,
        new.CannotWrite,
        NothingMatched,
        CannotDraw,
    )
    return isinstance(error, known)


def _speaks_for_itself(error: Exception) -> bool:
    from ..tasks.load import TaskFileError

    return isinstance(error, TaskFileError)


def _nothing_matched(error: Exception) -> bool:
    from ..tasks.registry import UnknownName
    from .sides import NothingThere

    return isinstance(error, (NothingMatched, UnknownName, NothingThere))


class CannotDraw(Exception):
    """A figure, a page or an answer cannot be written where it was asked for."""


class NothingMatched(Exception):
    """No task has the name that was asked for."""


def _dispatch(options: argparse.Namespace, argv: Sequence[str]) -> int:
    os.environ.setdefault(
        "PYDANTIC_DISABLE_PLUGINS", "__all__"
    )  # to look for them takes a scan of all that is installed
    if options.command == "report":
        return _report(options)
    if options.command == "compare":
        return _compare(options)
    if options.command == "verify":
        return _verify(options)
    if options.command == "check":
        from . import check

        _require_jax()
        return check.check(options.names, options.format)
    short = {
        "list": _list,
        "show": _show,
        "validate": _validate,
        "new": _new,
        "completion": _completion,
        "doctor": _doctor,
        "clean": _clean,
    }
    answer = short.get(options.command)
    if answer is None:
        return _run(options, argv)
    if getattr(options, "run", False):
        return answer(options)
    with without_collection():
        return answer(options)


def _list(options: argparse.Namespace) -> int:
    from . import listing

    if options.name is None:
        print(listing.list_components(options.kind, options.format, folder=options.folder))
        return 0
    if options.kind == "tasks":
        from . import describe

        print(describe.show_task(options.name, "laptop", options.format, folder=options.folder))
        return 0
    print(listing.show_component(listing.named(options.name, options.kind)[0], options.format))
    return 0


def _show(options: argparse.Namespace) -> int:
    """A task; a name that is no task's may be a component's, of several kinds at once."""
    from ..tasks import catalog
    from . import listing

    name = options.task
    known = catalog.catalog(options.folder)
    other = not catalog.is_path(name) and name not in known
    if other and (found := listing.named(name)):
        texts = [listing.show_component(entry, options.format) for entry in found]
        print("[" + ",\n".join(texts) + "]" if options.format == "json" and len(texts) > 1 else "\n\n".join(texts))
        if family := [task for task in known if task.startswith(f"{name}/")]:
            print(f"{name} is a family of tasks, too: {', '.join(family)}", file=sys.stderr)
        return 0
    if other:
        raise catalog.unknown(name, known, listing.names())
    from . import describe

    print(describe.show_task(name, options.tier, options.format, folder=options.folder))
    return 0


def _validate(options: argparse.Namespace) -> int:
    if options.schema:
        import json

        from ..tasks import load

        print(json.dumps(load.json_schema(), indent=1, allow_nan=False))
        return 0
    from . import validation

    if not options.run:
        return validation.validate(options.paths, options.format)
    from . import progress, trials

    _require_jax()
    with progress.progress(options.quiet) as notify:
        return validation.validate(
            options.paths,
            options.format,
            lambda names: trials.run(names, options.tier, jobs=options.jobs, notify=notify),
        )


def _new(options: argparse.Namespace) -> int:
    from . import new

    print(new.new(options.kind, options.name, options.output))
    return 0


def _completion(options: argparse.Namespace) -> int:
    from . import completion

    print(completion.script(options.shell))
    return 0


def _verify(options: argparse.Namespace) -> int:
    from . import progress, verify

    if options.cells:
        _require_jax()
    with progress.progress(options.quiet) as notify:
        try:
            found = verify.verify(
                options.path,
                cells=options.cells,
                seed=options.seed,
                whole=options.whole,
                tasks=options.places,
                jobs=options.jobs,
                notify=notify,
            )
        except verify.NoRunsThere as error:
            raise NothingMatched(str(error)) from error
    verify.print_report(found, options.format)
    return found.exit_code


def _doctor(options: argparse.Namespace) -> int:
    from . import doctor

    found = doctor.examine(options.results)
    print(doctor.text(found, options.format))
    return doctor.exit_code(found)


def _clean(options: argparse.Namespace) -> int:
    from pathlib import Path

    from . import cleaning
    from .results import StoreError

    chosen = {name for name in ("stale", "temporary", "compiled") if getattr(options, name)}
    if chosen != {"compiled"} and not Path(options.results).is_dir():
        raise StoreError(f"there is no results folder {options.results}; name another with --results")
    print(cleaning.clean(options.results, {f"--{name}" for name in chosen}, options.format))
    return 0


def _compare(options: argparse.Namespace) -> int:
    from . import compare_tables, comparison, noise, sides
    from .results import StoreError

    if options.self or options.attribute:
        _require_jax()
    if options.self:
        from . import progress

        if options.after is not None:
            raise StoreError("--self measures the noise of one side; leave the second out")
        side = sides.resolve(options.before, options.results, options.tier, options.only)
        with progress.progress(options.quiet) as notify:
            found = noise.measure(side, repeats=options.repeats, jobs=options.jobs, notify=notify)
        print(compare_tables.noise_text(side, found, options.format))
        return 0
    if options.after is None:
        raise StoreError("compare needs a second side; or --self, to measure the noise of one")
    names = (options.before, options.after)
    if any(name.startswith("asv:") for name in names):
        from . import compare_asv

        moved = compare_asv.between(*names)
        print(compare_tables.text(moved, options.format))
        return 3 if moved.regressed else 0
    where = (options.results, options.tier)
    if not options.no_run:
        from . import commits

        commits.provide(names, *where, options.only, jobs=options.jobs, quiet=options.quiet)
    moved = comparison.between(*names, *where, options.folder, options.only)
    causes = []
    if options.attribute:
        from . import attribution, reruns

        before, after = (sides.resolve(name, *where, options.only) for name in names)
        with reruns.rerunner(before, after, quiet=options.quiet) as rerun:
            measured = noise.joined(noise.read(before), noise.read(after))
            causes = attribution.attribute(before, after, rerun, measured)
    print(compare_tables.text(moved, options.format, causes=causes))
    return 3 if moved.regressed else 0


def _report(options: argparse.Namespace) -> int:
    """The page is written whatever its verdicts are; how they came out is on it."""
    from pathlib import Path

    from . import provenance, report, suite
    from .results import Store, StoreError

    planned = suite.plan(_tasks(options), options.tier, seeds=options.seeds, base_seed=options.base_seed)
    if not Path(options.results).is_dir():
        raise StoreError(f"there is no results folder {options.results}; `tangentbench leaderboard` makes it")
    store, code = Store(options.results), provenance.code_digest()
    found = report.collect(planned, store, suite.lookup(store, code, any_code=options.any_code), code)
    if not any(item.runs for item in found.tasks):
        raise NothingMatched(_no_runs(options, store, code))
    try:
        written = report.write(found, Path(options.output), figures=options.figures)
    except OSError as error:
        hint = "; -o names a folder" if Path(options.output).exists() else ""
        raise CannotDraw(f"cannot write to {options.output}: {error.strerror or error}{hint}") from error
    print(written.page)
    if waiting := sum(verdict.verdict == "not run" for verdict in found.verdicts):
        what = shlex.join(["claims", *options.tasks]) if options.tasks else "leaderboard"
        again = f"`tangentbench {what} --tier {options.tier}`"
        if waiting == len(found.verdicts) and (tiers := _tiers(options, store, code, options.any_code, all)):
            again += f"; {options.results} has {tiers[0]} runs of them: add --tier {tiers[0]}"
        print(f"{waiting} claims and controls were not run at the {options.tier} tier: {again}", file=sys.stderr)
    if written.figures:
        print(f"{len(written.figures)} figures in {Path(options.output) / 'figures'}")
    return 0


def _no_runs(options: argparse.Namespace, store: Any, code: str) -> str:
    """Why a page would be empty, and which option fills it: another tier's, or other code's, if there are such runs."""
    what = f"{options.results} has no run of these tasks at the {options.tier} tier"
    for any_code in (False,) if options.any_code else (False, True):
        if tiers := _tiers(options, store, code, any_code, any):
            tier = options.tier if options.tier in tiers else tiers[0]
            words = [*([] if tier == options.tier else [f"--tier {tier}"]), *(["--any-code"] if any_code else [])]
            whose = _of_other_code(_asked(options, store, code, any_code, tier)) if any_code else ""
            return f"{what}; it has {tier} runs{whose}: add {' '.join(words)}"
    there = {run.task for run in store.runs(code) if run.tier == options.tier}
    if not options.tasks and (other := sorted(there - {task.id for task in _tasks(options)})):
        files = "their files" if other[1:] else "its file"
        return f"{what}; it has runs of {', '.join(other)}: name {files} after `report`"
    folder = ["--tasks", options.folder] if options.folder else []
    words = shlex.join([*options.tasks, *folder, "--tier", options.tier, "--results", options.results])
    return f"{what}; `tangentbench run {words}` makes them"


def _of_other_code(found: Iterator[Any]) -> str:
    from .verify_records import variables_apart

    names = variables_apart([run for run in found if run is not None])
    return f" made with other {names}" if names else " of other code"


def _tiers(options: argparse.Namespace, store: Any, code: str, any_code: bool, enough: Any) -> list[str]:
    """Tiers at which the store has any, or all, runs of what was asked for."""
    from .arguments import TIERS

    return [tier for tier in TIERS if enough(run is not None for run in _asked(options, store, code, any_code, tier))]


def _asked(options: argparse.Namespace, store: Any, code: str, any_code: bool, tier: str) -> Iterator[Any]:
    """The run, or None, of every cell and seed that was asked for, at another tier."""
    from . import suite

    asked = argparse.Namespace(**{**vars(options), "tier": tier})
    cells = suite.plan(_tasks(asked), tier, seeds=options.seeds, base_seed=options.base_seed).first_wave
    runs = suite.lookup(store, code, any_code=any_code)
    return (runs(cell, seed) for cell in cells for seed in cell.seeds)


def _run(options: argparse.Namespace, argv: Sequence[str]) -> int:
    from . import suite

    _check_plot(options)
    planned = suite.plan(_tasks(options), options.tier, seeds=options.seeds, base_seed=options.base_seed)
    if options.dry_run:
        return _dry_run(planned, options)
    _require_jax()
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


def _require_jax() -> None:
    """Flags and platforms with which no worker runs anything are found before one starts."""
    if os.environ.get("XLA_FLAGS") or os.environ.get("JAX_PLATFORMS"):
        from . import doctor

        doctor.require_jax()


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
        left = [task.id for task in tasks if task.leaderboard is None]
        tasks = [task for task in tasks if task.leaderboard is not None]
        other = "no arena among these tasks; `tangentbench claims` prints what they claim"
        if tasks and left:
            which = ", ".join([*left[:MOST], *([f"{len(left) - MOST} more"] if left[MOST:] else [])])
            print(f"left out, no arena: {which}; `tangentbench claims` prints what they claim", file=sys.stderr)
    else:
        other = ""
    if not tasks:
        raise NothingMatched(other)
    return tasks


def _stored(planned: Any, runs: Any) -> list[Any]:
    """All stored runs of the plan."""
    from . import suite

    cells = planned.first_wave + suite.second_wave(planned, runs)
    return [run for cell in cells for seed in cell.seeds if (run := runs(cell, seed)) is not None]


def _broken(found: Sequence[Any]) -> bool:
    """Whether a run ended in error, timeout or out of memory; says why, and how to try again, on standard error."""
    from . import attempts

    causes = attempts.causes(found)
    for cause in causes:
        print(f"{cause}; `--fresh` tries again", file=sys.stderr)
    return bool(causes)


def _print_runs(planned: Any, runs: Any, options: argparse.Namespace) -> int:
    from . import output

    found = _stored(planned, runs)
    print(output.runs(found, options.format))
    return 2 if _broken(found) else 0


def _boards(planned: Any, runs: Any, code: str, options: argparse.Namespace, done: int) -> int:
    from pathlib import Path

    from . import output, suite, verdicts
    from .text_table import hanging, terminal_width

    both = options.command == "leaderboard" and not options.tasks
    arenas = suite.arenas(planned, runs, code) if options.command == "leaderboard" else []
    claims = suite.verdicts(planned, runs, code) if both or options.command == "claims" else []
    print(output.boards(arenas, claims, options.format))
    if options.tier == "smoke" and options.format in ("table", "markdown"):
        said = "smoke tier: checks that everything runs; its sizes decide nothing, verdicts count from laptop on"
        print("\n" + hanging(said, terminal_width() if options.format == "table" else len(said)))
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
    if _broken(_stored(planned, runs)):
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
