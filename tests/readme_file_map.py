"""The file map of README.md out of the first lines of the modules' docstrings.

    python tests/readme_file_map.py        print it
    python tests/readme_file_map.py --write    put it into README.md

`test_readme.py` holds README.md to it.
"""

import ast
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
BEGIN, END = "<!-- files: begin -->", "<!-- files: end -->"
PACKAGES = ("avdata", "avtrain")
SUFFIXES = (".py", ".html", ".css", ".js")
COMMENT_MARKS = ("//", "/*", "*/", "<!--", "-->")


def first_line(path: Path) -> str:
    """What a file says of itself in its first line."""
    text = path.read_text()
    if path.suffix == ".py":
        return (ast.get_docstring(ast.parse(text)) or "").split("\n\n")[0].replace("\n", " ")
    lines = text.strip().splitlines()
    head = next(line for line in lines if line.startswith(COMMENT_MARKS))
    for mark in COMMENT_MARKS:
        head = head.replace(mark, "")
    return head.strip()


def file_map() -> str:
    """The tables, one a folder."""
    parts = []
    for package in PACKAGES:
        folders = sorted({p.parent for p in (ROOT / package).rglob("*.py")})
        for folder in folders:
            about = first_line(folder / "__init__.py")
            files = sorted(
                p for p in folder.iterdir() if p.suffix in SUFFIXES and p.name != "__init__.py"
            )
            rows = [f"| `{p.name}` | {first_line(p)} |" for p in files]
            title = f"`{folder.relative_to(ROOT)}/`: {about}"
            table = ["| file | what it is |", "|---|---|", *rows] if rows else []
            parts.append("\n".join([title, *([""] if table else []), *table]))
    return "\n\n".join(parts)


def readme_with_map(readme: str) -> str:
    """`readme` with the map of the files as they are."""
    before, _, rest = readme.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{file_map()}\n{END}{after}"


if __name__ == "__main__":
    if "--write" in sys.argv:
        path = ROOT / "README.md"
        path.write_text(readme_with_map(path.read_text()))
    else:
        print(file_map())
