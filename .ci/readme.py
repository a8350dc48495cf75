"""The commands of README.md, CONTRIBUTING.md and docs: print one of them, or run them at the smoke tier.

python3 .ci/readme.py main            the line that runs the main job on a fresh machine
python3 .ci/readme.py test            the line that runs the tests
python3 .ci/readme.py run RESULTS     run every `tangentbench` command with its runs in RESULTS, and compare boards
python3 .ci/readme.py pages RESULTS   run every command and Python block of the other pages, each page in a new folder,
                                      and compare their boards

A board stands below a comment `<!-- from: COMMAND -->`. Its numbers belong to the machine and the day;
what must agree with COMMAND's output is its structure: the columns, and the entries of the first column, of which the
smoke tier may have fewer.
"""

import contextlib
import os
import re
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

SUCCESS = (0, 3)  # 3: a claim fails, which at the smoke tier's sizes it may
REMARK = re.compile(r" \((cannot be rejected: )?\d+ of \d+ seeds .*\)$")
Table = tuple[tuple[str, ...], frozenset[str]]


def commands(text: str) -> list[str]:
    """Every line of the fenced `sh` blocks of a Markdown `text`; a trailing backslash joins lines."""
    blocks = re.findall(r"^```sh\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    lines = "".join(blocks).replace("\\\n", " ").splitlines()
    return [line for line in (line.split("  #")[0].strip() for line in lines) if line]


def line(text: str, which: str) -> str:
    """The `main` or the `test` line: the only one that installs the package and then does that."""
    does = {"main": "tangentbench leaderboard", "test": "-m pytest"}[which]
    found = [command for command in commands(text) if "pip install" in command and does in command]
    if len(found) != 1:
        raise SystemExit(f"README.md: expected one `{which}` line, found {len(found)}")
    return found[0]


def tangentbench(text: str) -> list[list[str]]:
    """The words of each `tangentbench …` command, without the program's own name; the main line's is the first."""
    parts = [part.strip() for command in commands(text) for part in command.split("&&")]
    words = [shlex.split(part) for part in parts]
    return [word[1:] for word in words if Path(word[0]).name == "tangentbench"]


def tables(text: str) -> list[Table]:
    """Header and first column of every Markdown table in `text`."""
    found = re.findall(r"^(\|.*)\n\|[ :|-]+\n((?:\|.*\n?)+)", text, re.MULTILINE)
    cells = [[[cell.strip() for cell in row.strip("|\n ").split("|")] for row in (head, *body.splitlines())]
             for head, body in found]  # fmt: skip
    # without a remark in brackets, which a board adds where seeds were lost
    return [(tuple(rows[0]), frozenset(REMARK.sub("", row[0]) for row in rows[1:] if row[0])) for rows in cells]


def boards(text: str) -> list[tuple[list[str], list[Table]]]:
    """Each `<!-- from: tangentbench … -->` of `text`: the command's words, and the tables up to the next heading."""
    found = re.findall(r"^<!-- from: tangentbench (.*?) -->\n(.*?)(?=^##? |^<!-- |\Z)", text, re.MULTILINE | re.DOTALL)
    return [(shlex.split(command), tables(body)) for command, body in found]


def smoke(words: list[str], results: str) -> list[str]:
    """The same command at the smoke tier and with its store in `results`, where it takes such options."""
    usage = subprocess.run([program(), words[0], "--help"], capture_output=True, text=True, check=True).stdout
    for option, value in (("--tier", "smoke"), ("--results", results)):
        if option in usage and option not in words:
            words = [*words, option, value]
    return words


def program() -> str:
    return str(Path(sys.executable).parent / "tangentbench")


def run(words: list[str], results: str) -> str:
    """Run one command, echo what it prints, and return it; any other exit code than `SUCCESS` ends the script."""
    words = smoke(words, results)
    print("$ tangentbench", shlex.join(words), flush=True)
    done = subprocess.run([program(), *words], stdout=subprocess.PIPE, text=True)
    print(done.stdout, flush=True)
    if done.returncode not in SUCCESS:
        raise SystemExit(f"README.md: `tangentbench {shlex.join(words)}` ended with {done.returncode}")
    return done.stdout


def snippets(text: str) -> list[str]:
    """The fenced `python` blocks of a Markdown `text`."""
    return re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def run_snippet(snippet: str, results: str) -> None:
    """Run one Python block as it stands, but for its calls: at the smoke tier, with their runs in `results`."""
    smoke = (
        "import functools, tangentbench.runners as package\n"
        "for name in package.__all__:\n"
        f"    part = functools.partial(getattr(package, name), tier='smoke', results={results!r})\n"
        "    setattr(package, name, part)\n"
    )
    print(snippet, flush=True)
    if subprocess.run([sys.executable, "-c", smoke + snippet]).returncode:
        raise SystemExit("README.md: a Python block failed")


def blocks(text: str) -> list[tuple[str, str]]:
    """(language, content) of every fenced `sh`, `yaml` and `python` block, in order."""
    return re.findall(r"^```(sh|yaml|python)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def file_of(block: str) -> str:
    """The file that a YAML block is to be saved as, by its first line `# file: NAME`; empty for none."""
    found = re.match(r"# file: (\S+)\n", block)
    return found[1] if found else ""


def pages(root: Path) -> list[Path]:
    """CONTRIBUTING.md's recipes and the pages of docs, but the one whose commands need two commits."""
    return [
        root / "CONTRIBUTING.md",
        *(page for page in sorted((root / "docs").glob("*.md")) if page.stem != "compare"),
    ]


def run_page(text: str, results: str) -> None:
    """Run the blocks of a page in order, in the current folder; what is installed with `pip install -e` is so here."""
    site = Path("site").resolve()
    os.environ["PYTHONPATH"] = str(site)
    for language, block in blocks(text):
        if language == "yaml" and file_of(block):
            Path(file_of(block)).write_text(block)
        elif language == "python":
            run_snippet(block, results)
        elif language == "sh":
            for words in map(shlex.split, commands(f"```sh\n{block}```\n")):
                if words[0] == "tangentbench":
                    run(words[1:], results)
                elif words[:3] == ["pip", "install", "-e"] and len(words) == 4:
                    options = ["--quiet", "--no-deps", "--no-build-isolation", "--target", str(site)]
                    subprocess.run([sys.executable, "-m", "pip", "install", *options, words[3]], check=True)


def main(text: str, results: str) -> None:
    for words in tangentbench(text):
        run(words, results)
    for snippet in snippets(text):
        run_snippet(snippet, results)
    compare_boards("README.md", text, results)


def compare_boards(page: str, text: str, results: str) -> None:
    """Print each board of a page anew, and compare its structure with that on the page."""
    for words, promised in boards(text):
        printed = tables(run(words, results))
        for table in promised:
            if not any(columns == table[0] and entries and entries <= table[1] for columns, entries in printed):
                raise SystemExit(f"{page}: no board of `{shlex.join(words)}` looks like\n{table}\nbut\n{printed}")


if __name__ == "__main__":
    readme = (Path(__file__).resolve().parent.parent / "README.md").read_text()
    if sys.argv[1] == "run":
        main(readme, sys.argv[2])
    elif sys.argv[1] == "pages":
        results = str(Path(sys.argv[2]).resolve())
        for page in pages(Path(__file__).resolve().parent.parent):
            with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
                run_page(page.read_text(), results)
            compare_boards(page.name, page.read_text(), results)
    else:
        print(line(readme, sys.argv[1]))
