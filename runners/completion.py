"""Scripts for shells that complete commands, options, and the names of tasks and components."""

from __future__ import annotations

import shtab

from .arguments import parser

# asked when the key is pressed, so that a new plug-in's are there, too
_NAMES = "tangentbench list {} --format csv 2>/dev/null | tail -n +2 | cut -d, -f1"
TASKS = _NAMES.format("tasks")
COMPONENTS = f"for kind in datasets models losses methods metrics; do {_NAMES.format('$kind')}; done"


def script(shell: str) -> str:
    """The script for bash, zsh or tcsh."""
    top = parser()
    for name, command in top.commands.items():
        for action in command._actions:
            if action.metavar == "TASK":
                action.complete = shtab.cmd(TASKS)  # pyright: ignore[reportAttributeAccessIssue]
            elif name == "check" and action.metavar == "NAME":
                action.complete = shtab.cmd(COMPONENTS)  # pyright: ignore[reportAttributeAccessIssue]
            elif action.metavar in ("DIR", "PATH"):
                action.complete = shtab.DIRECTORY if action.metavar == "DIR" else shtab.FILE  # pyright: ignore
    return shtab.complete(top, shell=shell)
