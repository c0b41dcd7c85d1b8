"""RunConcord of the R package beside the command line, on the same simulated cells and settings, in turn.

    R CMD INSTALL r-package          # release profile, as users have it
    cargo build --release --bin tutti
    python benches/peers/r_package.py [--cells N] [--genes N] [--epochs N] [--pairs N] [--tutti PATH]

Memory is the peak above the cells themselves: of R above what the process held with the matrix, of the command line above its matrix (8 bytes per
value). Prints a line of Markdown.
"""

import argparse
import statistics
import tempfile
from pathlib import Path

from measure import ROOT, command

parser = argparse.ArgumentParser()
parser.add_argument("--cells", type=int, default=6000)
parser.add_argument("--genes", type=int, default=2000)
parser.add_argument("--epochs", type=int, default=5)
parser.add_argument("--pairs", type=int, default=3)
parser.add_argument("--threads", type=int, default=2)
parser.add_argument("--tutti", type=Path, default=ROOT / "target/release/tutti")
arguments = parser.parse_args()
sizes = [arguments.cells, arguments.genes, arguments.epochs, arguments.threads]

with tempfile.TemporaryDirectory() as folder:
    file, out = Path(folder) / "cells.h5ad", Path(folder) / "z.csv"
    command([arguments.tutti, "simulate", "--preset", "ladder_10", "--n-cells", arguments.cells, "--n-genes", arguments.genes, "--seed", 1,
             "--layers", "none", "-o", file, "--quiet"], arguments.threads)
    speed, memory = [], []
    for _ in range(arguments.pairs):
        r = command(["Rscript", Path(__file__).with_name("r_package.R"), *sizes], arguments.threads)
        line = command([arguments.tutti, "concord", file, "--batch", "batch", "--hvg", 0, "--n-epochs", arguments.epochs, "--seed", 1,
                        "--threads", arguments.threads, "-o", out, "--json"], arguments.threads)
        above = line["peak_mib"] - 8 * r["nnz"] / 2**20
        speed.append((r["cells_per_second"], line["cells_per_second"]))
        memory.append((r["above_mib"], above))

median = statistics.median
print("| cells x genes | R, cells/s | command line | ratio | memory above the cells R, MiB | command line | ratio |")
print("|---|---|---|---|---|---|---|")
print(f"| {arguments.cells} x {arguments.genes} | {median(a for a, _ in speed):.0f} | {median(b for _, b in speed):.0f} | "
      f"{median(a / b for a, b in speed):.2f} | {median(a for a, _ in memory):.0f} | {median(b for _, b in memory):.0f} | "
      f"{median(a / b for a, b in memory):.2f} |")
