"""What runs in an environment of another package: `python worker.py JOB JSON`, then one line per run on standard input.

A job is prepared once; each line runs it once. The answer to a line is JSON: the seconds, and a number that says what
came out, so that both sides can be seen to compute the same.
"""

import importlib
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path


def main() -> None:
    sys.path.insert(0, str(Path(__file__).resolve().parent))
    module, _, name = sys.argv[1].partition(":")
    job: Callable[[], float] = getattr(importlib.import_module(module), name)(**json.loads(sys.argv[2]))
    job()  # compiled here
    print(json.dumps("ready"), flush=True)
    for _ in sys.stdin:
        began = time.perf_counter()
        value = job()
        print(json.dumps({"seconds": time.perf_counter() - began, "value": value}), flush=True)


if __name__ == "__main__":
    main()
