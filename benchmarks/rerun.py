"""Runs resolved cells with the package that is installed where it runs: `python rerun.py CELLS.json RESULTS TIER`.

`tangentbench compare --attribute` calls it in asv's environments, to run one side's cells with the other's code.
"""

import json
import sys
from pathlib import Path


def main(cells: str, results: str, tier: str) -> None:
    # here, because asv imports every file of this folder, and a commit of long ago may lack one of these
    from tangentbench.runners import progress, provenance, schedule
    from tangentbench.runners.results import Store
    from tangentbench.tasks.spec import Cell

    wanted = [Cell(**fields) for fields in json.loads(Path(cells).read_text(encoding="utf-8"))]
    store = Store(results, create=True)
    with progress.progress(quiet=False) as notify:
        schedule.execute(wanted, store, code=provenance.code_digest(), tier=tier, notify=notify)


if __name__ == "__main__":
    main(*sys.argv[1:])
