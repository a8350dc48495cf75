"""The command line as argparse sees it: commands, options, help texts with examples, and one-line usage errors."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from .text_table import PIPE_WIDTH, hanging, terminal_width

FORMATS = ("table", "markdown", "csv", "json")
TIERS = ("smoke", "laptop", "paper")
SHELLS = ("bash", "zsh", "tcsh")
NEW = ("task", "dataset", "model", "method", "metric")
KINDS = ("tasks", "datasets", "models", "losses", "methods", "metrics", "claims")
EXAMPLES = {
    "": """
  tangentbench leaderboard                     the whole suite: both boards
  tangentbench claims quadratic                one family's claims
  tangentbench list metrics                    what can be measured
  tangentbench show quadratic/single_example   what a task asks
  tangentbench run my_task.yaml --tier smoke   your own task, in seconds""",
    "list": """
  tangentbench list                            every task
  tangentbench list models                     every model
  tangentbench list models wide                its options, with types and defaults
  tangentbench list tasks --tasks my_tasks     with those of a folder of yours""",
    "show": """
  tangentbench show quadratic/single_example
  tangentbench show my_task.yaml --tier paper
  tangentbench show sgd                        a component and its options""",
    "validate": """
  tangentbench validate                        the whole suite
  tangentbench validate my_task.yaml my_tasks/
  tangentbench validate my_task.yaml --run     what its claims say of it, of no training and of plain gd
  tangentbench validate --schema > task.schema.json""",
    "new": """
  tangentbench new task my_question            my_question.yaml, ready to run
  tangentbench new dataset my_data -o mine     a folder that pip installs
  tangentbench new model my_network""",
    "check": """
  tangentbench check wide                      one of the suite's own
  tangentbench check my_network my_data        of installed plug-ins
  tangentbench check my_network --format json""",
    "run": """
  tangentbench run quadratic --dry-run         what it would compute
  tangentbench run my_task.yaml --tier smoke
  tangentbench run 'arena/*' --format csv > runs.csv""",
    "leaderboard": """
  tangentbench leaderboard                     the whole suite, minutes on two cores
  tangentbench leaderboard arena/digits --plot board.svg
  tangentbench leaderboard arena/digits --format markdown""",
    "claims": """
  tangentbench claims                          every claim of the suite
  tangentbench claims quadratic --seeds 16     with more seeds; only the new ones are computed
  tangentbench claims my_task.yaml --tier smoke""",
    "report": """
  tangentbench report -o report                one page of everything that has been run
  tangentbench report quadratic -o report --figures
  tangentbench report --tier smoke --any-code""",
    "compare": """
  tangentbench compare commit:main commit:HEAD
  tangentbench compare commit:main commit:HEAD --attribute   code, environment or precision
  tangentbench compare dir:results_of_main dir:results --format markdown > comment.md
  tangentbench compare results --self          how much moves though nothing changed""",
    "verify": """
  tangentbench verify their_results            the records, and three cells run again
  tangentbench verify their_results --cells 10 --seed 1 --tasks their_tasks
  tangentbench compare their_results results   their boards, then yours, and what differs""",
    "doctor": """
  tangentbench doctor                          device, versions, precision, cache, space, and what is odd
  tangentbench doctor --format markdown        for a bug report; it names no host, user or path""",
    "completion": """
  tangentbench completion bash > ~/.bash_completion_tangentbench
  tangentbench completion zsh > ~/.zfunc/_tangentbench
  tangentbench completion tcsh""",
    "clean": """
  tangentbench clean                           what could be removed, and how much space it takes
  tangentbench clean --stale                   runs of other sources, which no board shows
  tangentbench clean --compiled                compiled programs; the next run compiles again""",
}
EXIT_CODES = """exit codes:
  0    done; `undecided`, `skipped` and diverged runs included
  1    wrong usage or an invalid task file
  2    a cell ended in error, timeout or out of memory
  3    a claim fails, a control is not rejected, something regressed, or results do not verify
  4    nothing matched
  130  interrupted; the same command continues"""


class _Help(argparse.RawDescriptionHelpFormatter):
    """Lines of at most 100 characters, which stay where they end, as those of examples, unless they are longer."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, width=min(terminal_width(), PIPE_WIDTH))

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return super()._fill_text(hanging(text, width), width, indent)


class Parser(argparse.ArgumentParser):
    """An argparse parser whose usage errors end with exit code 1, in one line and with a hint."""

    commands: Mapping[str, argparse.ArgumentParser] = {}

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        options, unknown = self.parse_known_args(args, namespace)
        if unknown:
            from ..tasks.problem import did_you_mean

            used = self.commands.get(options.command or "", self)
            known = used._option_string_actions
            hint = did_you_mean(unknown[0].partition("=")[0], known) if unknown[0].startswith("-") else ""
            used.error(f"unknown argument '{unknown[0]}'" + (f": {hint}" if hint.startswith("did") else ""))
        return options

    def error(self, message: str) -> NoReturn:
        print(f"{self.prog}: {message} (try `{self.prog} --help`)", file=sys.stderr)
        raise SystemExit(1)

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        choices = None if action.choices is None else list(action.choices)
        if choices is not None and value not in choices:
            from ..tasks.problem import did_you_mean

            what = action.metavar or "/".join(action.option_strings) or action.dest
            hint = did_you_mean(str(value), choices, otherwise=f"choose {', '.join(map(str, choices))}")
            raise argparse.ArgumentError(None, f"unknown {str(what).lower()} '{value}': {hint}")


class _Version(argparse.Action):
    """Prints the version, which takes the installed metadata to know: looked up only here."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        from importlib.metadata import version

        print(f"tangentbench {version('tangentbench')}")
        parser.exit()


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


def _folder_for(command: str) -> Callable[[str], str]:
    """What checks a folder of task files: a single file is named to a command as a task."""

    def folder(text: str) -> str:
        if os.path.isfile(text):
            again = shlex.join(["tangentbench", command, text])
            raise argparse.ArgumentTypeError(f"{text} is a file; name it as a task: `{again}`")
        return text

    return folder


def parser() -> Parser:
    """The whole command line."""
    top = Parser(
        prog="tangentbench",
        description="Benchmark suite for the training dynamics of neural networks: which methods learn best on which "
        "tasks, and which claims of six papers hold here.",
        epilog=_epilog(""),
        formatter_class=_Help,
        allow_abbrev=False,
    )
    top.add_argument("--version", action=_Version, nargs=0, help="print the version and exit")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", parser_class=Parser)

    def stored(sub: Parser) -> None:
        sub.add_argument("--seeds", type=_positive, metavar="N", help="seeds per cell, instead of each task's own")
        sub.add_argument("--base-seed", type=_natural, default=0, metavar="N", help="number of the first seed")
        sub.add_argument("--results", default="results", metavar="DIR", help="where runs are stored (%(default)s/)")

    def command(name: str, text: str, *, tasks: str | None = None, runs: bool = False, tier: bool = True) -> Parser:
        sub = commands.add_parser(
            name,
            help=text,
            description=text,
            epilog=_epilog(name),
            formatter_class=_Help,
            allow_abbrev=False,
        )
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
            sub.add_argument(
                "--tasks", dest="folder", type=_folder_for(name), metavar="DIR", help="a folder of more task files"
            )
        if runs:
            stored(sub)
            sub.add_argument(
                "--jobs",
                type=_positive,
                metavar="N",
                help="worker processes (default: 2 on a CPU, else 1)",
            )
            sub.add_argument("--fresh", action="store_true", help="run again what the results folder already has")
            sub.add_argument("--dry-run", action="store_true", help="only say what would run")
            sub.add_argument("--quiet", action="store_true", help="no progress on standard error")
        if name not in ("report", "new", "completion"):
            sub.add_argument("--format", choices=FORMATS, default="table", help="how to print (default: %(default)s)")
        return sub

    sub = command("list", "List tasks or components, or one component with its options.", tier=False)
    sub.add_argument(
        "kind",
        nargs="?",
        choices=KINDS,
        default="tasks",
        metavar="KIND",
        help=f"{', '.join(KINDS)} (default: %(default)s)",
    )
    sub.add_argument("name", nargs="?", metavar="NAME", help="one component of that kind: its options and defaults")
    sub.add_argument(
        "--tasks", dest="folder", type=_folder_for("show"), metavar="DIR", help="a folder of more task files"
    )
    sub = command("show", "Show one task: what it asks, its cells and its claims; or one component.")
    sub.add_argument("task", metavar="TASK", help="a task id, the path of a YAML file, or the name of a component")
    sub = command(
        "validate",
        "Check task files; says file, line and column of every mistake. For files that are named it also notes claims "
        "without a control and costs estimated above a tier's budget, and prints the estimates.",
        tier=False,
    )
    sub.add_argument("paths", nargs="*", metavar="PATH", help="YAML files or folders; the whole suite if none is given")
    sub.add_argument("--schema", action="store_true", help="print the JSON Schema of task files, for editors, and stop")
    sub.add_argument(
        "--run",
        action="store_true",
        help="also run each valid task, keeping nothing: at the smoke tier, then at --tier as it is written, with a "
        "null method (gd at rate 0) and with a reference (gd at its rate, or an arena's); prints the verdicts that "
        "each gives, and the seconds against the tier's budget",
    )
    sub.add_argument(
        "--tier", choices=TIERS, default="laptop", help="where --run decides claims (default: %(default)s)"
    )
    sub.add_argument("--jobs", type=_positive, metavar="N", help="worker processes of --run")
    sub.add_argument("--quiet", action="store_true", help="no progress of --run on standard error")
    sub = command("new", "Write a task file, or a folder with a component that pip installs.", tier=False)
    sub.add_argument("kind", choices=NEW, metavar="KIND", help=", ".join(NEW))
    sub.add_argument("name", metavar="NAME", help="its name in task files: small letters, digits and _")
    sub.add_argument("-o", "--output", default=".", metavar="DIR", help="where it is put (the current folder)")
    sub = command("check", "Check that a component keeps what all of its kind must keep.", tier=False)
    sub.add_argument(
        "names", nargs="*", metavar="NAME", help="datasets, models, losses, methods and metrics; all if none is given"
    )
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
    sub = command("report", "Write one HTML page with boards and plots of what is stored; runs nothing.", tasks="*")
    stored(sub)
    sub.add_argument("-o", "--output", default="report", metavar="DIR", help="where index.html is put (%(default)s/)")
    sub.add_argument(
        "--figures", action="store_true", help="also write every plot as PNG, SVG and PDF, to DIR/figures/"
    )
    sub.add_argument("--any-code", action="store_true", help="show stored runs of other code too, marked stale")
    sub = command("compare", "Say what moved between two sets of stored runs, and whether it matters.", tier=False)
    sub.add_argument(
        "before",
        metavar="A",
        help="dir:PATH, a results folder; commit:REV, with runs in --results, made if missing; or asv:REV",
    )
    sub.add_argument("after", nargs="?", metavar="B", help="the same, for what is compared with A")
    sub.add_argument("--only", action="append", default=[], metavar="TASK", help="a task id or glob; may be repeated")
    sub.add_argument("--no-run", action="store_true", help="refuse a commit without runs instead of running it")
    sub.add_argument("--self", action="store_true", help="measure the noise of A's cells here and keep it beside them")
    sub.add_argument(
        "--attribute", action="store_true", help="run again what moved, to blame code, environment or precision"
    )
    sub.add_argument("--repeats", type=_positive, default=3, metavar="N", help="of each run for --self (%(default)s)")
    sub.add_argument("--tier", choices=TIERS, help="which runs count (default: the only tier there is)")
    sub.add_argument("--tasks", dest="folder", metavar="DIR", help="a folder of more task files, for their boards")
    sub.add_argument("--results", default="results", metavar="DIR", help="where runs of commits are (%(default)s/)")
    sub.add_argument("--jobs", type=_positive, metavar="N", help="worker processes of what is run")
    sub.add_argument("--quiet", action="store_true", help="no progress on standard error")
    sub = command(
        "verify",
        "Check results that someone else made: that records are whole and are what their digests and the tasks here "
        "say, that numbers agree with their curves, and that some cells, run again, give the same.",
        tier=False,
    )
    sub.add_argument("path", metavar="DIR", help="a results folder")
    sub.add_argument(
        "--cells",
        type=_natural,
        default=3,
        metavar="N",
        help="cells to run again, for 200 steps (default: %(default)s)",
    )
    sub.add_argument("--whole", action="store_true", help="run them to their end: only this tells all their numbers")
    sub.add_argument("--seed", type=_natural, metavar="N", help="chooses the cells (default: another one each time)")
    sub.add_argument(
        "--tasks",
        dest="places",
        action="append",
        default=[],
        metavar="PATH",
        help="a folder of more task files, or one file; may be repeated",
    )
    sub.add_argument("--jobs", type=_positive, metavar="N", help="worker processes (default: 2 on a CPU, else 1)")
    sub.add_argument("--quiet", action="store_true", help="no progress on standard error")
    sub = command("doctor", "Say what runs are made with and on here, and what is odd about it.", tier=False)
    sub.add_argument("--results", default="results", metavar="DIR", help="where runs are stored (%(default)s/)")
    sub = command("completion", "Print a script that lets a shell complete commands and options.", tier=False)
    sub.add_argument("shell", choices=SHELLS, metavar="SHELL", help=", ".join(SHELLS))
    sub = command("clean", "Say what could be removed, and remove what is asked for.", tier=False)
    sub.add_argument("--stale", action="store_true", help="remove runs that other sources made on this device")
    sub.add_argument("--temporary", action="store_true", help="remove what interrupted writes left an hour ago or more")
    sub.add_argument("--compiled", action="store_true", help="remove compiled programs, of all results folders")
    sub.add_argument("--results", default="results", metavar="DIR", help="where runs are stored (%(default)s/)")
    top.commands = commands.choices
    return top


def _epilog(command: str) -> str:
    promised = ""
    if command == "check":
        from .contracts.promises import words

        promised = "\n\n" + words()
    return f"examples:{EXAMPLES[command]}{promised}\n\n{EXIT_CODES}"
