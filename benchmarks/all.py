"""Every benchmark one after another; --write puts what was measured into docs/benchmarks.md.

`./console bench all [--write] [--large] [--rounds 5]`; with DATABASE_URL set on that database.
Only on a machine that does nothing else.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.results import Result, machine

DOCUMENT = Path(__file__).resolve().parent.parent / "docs" / "benchmarks.md"
BEGIN, END = "<!-- numbers: begin -->", "<!-- numbers: end -->"


def commands(*, large: bool, rounds: int) -> dict[str, list[str]]:
    """Return the arguments of each benchmark."""
    more = ["--large"] if large else []
    return {
        "rollout": ["--rounds", str(rounds), *more],
        "watch": ["--table"],
        "push": [],
        "memory": ["--demo"],
        "pages": ["--rounds", str(rounds)],
        "evidence": [],
    }


def section(name: str, rows: list[dict[str, Any]], about: dict[str, Any]) -> str:
    """Return the numbers of one benchmark as Markdown, with when and where they were measured."""
    lines = [
        f"### {name}",
        "",
        f"Measured {about['at']} UTC at {about['revision']}: {about['cpu']},"
        f" {about['cores']} cores, {about['system']}, Python {about['python']},"
        f" {about['database']}; load before it {about['load_before']:.1f}.",
        "",
        "| what | median | spread | goal | remark |",
        "| --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        one = Result(**{**row, "values": tuple(row["values"])})
        spread = f"{min(one.values):.3g} to {max(one.values):.3g} ({len(one.values)})"
        goal = "" if one.goal is None else f"{one.goal:g}: {'kept' if one.kept else 'missed'}"
        lines.append(
            f"| {one.name} | {one.median:.3g} {one.unit} | {spread} | {goal} | {one.note} |"
        )
    return "\n".join(lines)


def with_sections(numbers: str, fresh: dict[str, str]) -> str:
    """Return the numbers of the document with these sections in place of their older ones."""
    kept: dict[str, str] = {}
    for part in f"\n{numbers.strip()}".split("\n### ")[1:]:
        kept[part.partition("\n")[0].strip()] = f"### {part.strip()}"
    return "\n\n".join((kept | fresh).values())


def main() -> None:
    """Run everything and print, or write down, what was found."""
    parser = argparse.ArgumentParser(prog="bench all")
    parser.add_argument("--write", action="store_true", help="into docs/benchmarks.md")
    parser.add_argument("--large", action="store_true", help="also what takes long")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default="", help="names of benchmarks, with commas")
    options = parser.parse_args()
    fresh: dict[str, str] = {}
    for name, arguments in commands(large=options.large, rounds=options.rounds).items():
        if options.only and name not in options.only.split(","):
            continue
        print(f"== {name}", flush=True)
        about = machine()
        with tempfile.NamedTemporaryFile(suffix=".json") as out:
            command = [sys.executable, "-m", f"benchmarks.{name}", *arguments, "--json", out.name]
            if subprocess.run(command, check=False).returncode:
                print(f"{name} failed; the others go on", flush=True)
                continue
            rows = json.loads(Path(out.name).read_text(encoding="utf-8"))["results"]
        # Numbers of one database do not take the place of the other's.
        title = name if about["database"] == "SQLite" else f"{name} on {about['database']}"
        fresh[title] = section(title, rows, about)
        if options.write:
            write_down(fresh)
    if not options.write:
        print("\n\n".join(fresh.values()))


def write_down(fresh: dict[str, str]) -> None:
    """Put these sections into the document; the others stay."""
    document = DOCUMENT.read_text(encoding="utf-8")
    before, _begin, rest = document.partition(BEGIN)
    numbers, _end, after = rest.partition(END)
    text = with_sections(numbers, fresh)
    DOCUMENT.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
