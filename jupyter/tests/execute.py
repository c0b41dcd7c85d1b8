#!/usr/bin/env python3
"""Executes notebooks with the kernel `tutti` and writes each as a page: execute.py FOLDER FILE.ipynb...

Fails for a cell that fails, for a figure with nothing in it, and for a notebook without a figure or kept without its outputs.
`--keep` writes the outputs into the notebooks too.
"""

import base64
import re
import sys
import time
import zlib
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbconvert import HTMLExporter


def png_has_content(png: bytes) -> bool:
    """More than a few values among its pixels."""
    at, data = 8, b""
    while at + 8 <= len(png):
        length = int.from_bytes(png[at : at + 4], "big")
        if png[at + 4 : at + 8] == b"IDAT":
            data += png[at + 8 : at + 8 + length]
        at += length + 12
    return len(set(zlib.decompress(data))) > 16


def svg_has_content(svg: str) -> bool:
    return len(re.findall(r"<(path|circle|polyline|polygon|rect|image)\b", svg)) > 3


def figures(cell) -> list[bool]:
    """Whether each figure among the outputs has content."""
    found = []
    for output in cell.get("outputs", []):
        data = output.get("data", {})
        if "image/png" in data:
            found.append(png_has_content(base64.b64decode(data["image/png"])))
        elif "image/svg+xml" in data:
            found.append(svg_has_content(data["image/svg+xml"]))
    return found


def problems(kept, executed) -> list[str]:
    out = []
    code = [cell for cell in executed.cells if cell.cell_type == "code"]
    drawn = [content for cell in code for content in figures(cell)]
    if not drawn:
        out.append("has no figure")
    if not all(drawn):
        out.append(f"figure {drawn.index(False) + 1} is empty")
    if not any(cell.get("outputs") for cell in kept.cells if cell.cell_type == "code"):
        out.append("is kept without its outputs: run this program with --keep")
    return out


def main() -> int:
    arguments = [a for a in sys.argv[1:] if a != "--keep"]
    keep = len(arguments) < len(sys.argv) - 1
    folder, files = Path(arguments[0]), [Path(a) for a in arguments[1:]]
    folder.mkdir(parents=True, exist_ok=True)
    failed = 0
    for file in files:
        kept = nbformat.read(file, 4)
        executed = nbformat.from_dict(kept.copy())
        for cell in executed.cells:
            if cell.cell_type == "code":
                cell.outputs, cell.execution_count = [], None
        started = time.time()
        try:
            client = NotebookClient(executed, timeout=600, kernel_name="tutti", record_timing=False, resources={"metadata": {"path": str(file.parent)}})
            client.execute()
            found = problems(executed if keep else kept, executed)
        except CellExecutionError as e:
            found = [str(e)]
        print(f"{file}: {time.time() - started:.1f} s", *(f"; {p}" for p in found), flush=True)
        failed += bool(found)
        if keep and not found:
            nbformat.write(executed, file)
        html, _ = HTMLExporter().from_notebook_node(executed)
        # Pages link to pages.
        html = re.sub(r'(href="[^":]*)\.ipynb', r"\1.html", html)
        html = re.sub(r'href="\.\./r-package/vignettes/([^":]*)\.Rmd', r'href="r/\1.html', html)
        (folder / f"{file.stem}.html").write_text(html)
    print(f"{len(files) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
