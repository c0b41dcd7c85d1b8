#!/usr/bin/env python3
"""Writes the first page of the vignettes, from the table in their README: index.py FOLDER. FOLDER has the notebooks' pages, and in r/ those of
the R package. Fails for a page that is missing, or that no line of the table names."""

import html
import re
import sys
from pathlib import Path

import nbformat

ROW = re.compile(r"^\| \[([\w-]+)\]\(([\w-]+)\.ipynb\) \| (.+?) \| (.*?) ?\|$", re.MULTILINE)
R_PAGE = re.compile(r"\[[^\]]*\]\(\.\./r-package/vignettes/([\w-]+)\.Rmd\)")
PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Tutti: vignettes</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; color: #222; background: #fff; max-width: 64rem; margin: 2rem auto; padding: 0 1rem; }}
h1 {{ font-size: 1.7rem; margin-bottom: .3rem; }}
table {{ border-collapse: collapse; width: 100%; margin-top: 1.5rem; }}
th, td {{ text-align: left; vertical-align: top; padding: .7rem .9rem .7rem 0; border-bottom: 1px solid #ddd; }}
th {{ font-weight: 600; }}
td p {{ margin: .2rem 0 0; color: #555; }}
td:nth-child(2) {{ width: 34%; }}
a {{ color: #0b5cad; text-decoration: none; }}
a:hover {{ text-decoration: underline; }}
</style>
</head>
<body>
<h1>Tutti: vignettes</h1>
<p>One page per question. All data are simulated on the page itself: nothing is downloaded.</p>
<table>
<thead><tr><th>Rust notebook</th><th>R</th></tr></thead>
<tbody>
{rows}
</tbody>
</table>
{others}
</body>
</html>
"""


def text(markdown: str) -> str:
    """A line of Markdown as HTML: code and nothing else."""
    return re.sub(r"`([^`]*)`", r"<code>\1</code>", html.escape(markdown, quote=False))


def link(page: str, title: str) -> str:
    return f'<a href="{page}">{text(title)}</a>'


def title_of_notebook(path: Path) -> str:
    return nbformat.read(path, 4).cells[0].source.splitlines()[0].lstrip("# ")


def title_of_r(name: str) -> str:
    return re.search(r'^title: "(.*)"$', Path(f"r-package/vignettes/{name}.Rmd").read_text(), re.MULTILINE)[1]


def main() -> int:
    folder = Path(sys.argv[1])
    readme = Path("vignettes/README.md").read_text()
    rows, named, in_table = [], set(), set()
    for _, notebook, sentence, beside in ROW.findall(readme):
        named.add(f"{notebook}.html")
        r_names = R_PAGE.findall(beside)
        in_table.update(r_names)
        # What stands beside the link in the table, such as the part of a page, stays.
        cell = R_PAGE.sub(lambda m: link(f"r/{m[1]}.html", title_of_r(m[1])), beside if r_names else text(beside))
        title = title_of_notebook(Path(f"vignettes/{notebook}.ipynb"))
        rows.append(f"<tr><td>{link(f'{notebook}.html', title)}<p>{text(sentence)}</p></td><td>{cell}</td></tr>")
    others = sorted({p.stem for p in Path("r-package/vignettes").glob("*.Rmd")} - in_table)
    named.update(f"r/{name}.html" for name in in_table | set(others))
    line = ", ".join(link(f"r/{name}.html", title_of_r(name)) for name in others)
    page = PAGE.format(rows="\n".join(rows), others=f"<p>For R alone: {line}.</p>" if others else "")
    (folder / "index.html").write_text(page)
    there = {str(p.relative_to(folder)) for p in [*folder.glob("*.html"), *folder.glob("r/*.html")]} - {"index.html"}
    for page in sorted(named - there):
        print(f"{page} is missing")
    for page in sorted(there - named):
        print(f"{page} is in no line of vignettes/README.md")
    print(f"{folder}/index.html: {len(rows)} notebooks, {len(in_table | set(others))} pages for R")
    return 1 if named != there else 0


if __name__ == "__main__":
    sys.exit(main())
