"""UMAP beside umap-learn: time of the layout and trustworthiness, on the same exact neighbours.

    pip install umap-learn scanpy
    cargo build --example umap
    python benches/peers/layout.py ../shared/data/pbmc_10x_three_chemistries.h5ad ... [--repeat N] [--seeds N]

Each file gives 50 principal components of its log-normalised genes; a file of many copies of the cells with noise (--repeat 20) shows
larger sizes. Both tools get 15 neighbours and start from the principal components; umap-learn runs once before it is timed (numba).
Prints a line of Markdown per file and number of dimensions.
"""

import argparse
import json
import subprocess
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import umap
from sklearn.manifold import trustworthiness

from components import components, write

warnings.filterwarnings("ignore")
parser = argparse.ArgumentParser()
parser.add_argument("files", nargs="+", type=Path)
parser.add_argument("--example", default="target/debug/examples/umap")
parser.add_argument("--repeat", type=int, default=1)
parser.add_argument("--threads", type=int, default=2)
parser.add_argument("--seeds", type=int, default=1)
arguments = parser.parse_args()


def theirs(z, n_components, seed, n_jobs):
    start = z[:, :n_components] / np.abs(z[:, :n_components]).max() * 10
    graph, _, _ = umap.umap_.fuzzy_simplicial_set(z, 15, np.random.RandomState(0), "euclidean")
    a, b = umap.umap_.find_ab_params(1.0, 0.1)
    n_epochs = 500 if len(z) <= 10_000 else 200
    started = time.perf_counter()
    layout, _ = umap.umap_.simplicial_set_embedding(
        z, graph, n_components, 1.0, a, b, 1.0, 5, n_epochs, start.astype(np.float32),
        np.random.RandomState(seed), "euclidean", {}, False, {}, False, parallel=n_jobs > 1, verbose=False)
    return layout, time.perf_counter() - started


def trusted(z, layout):
    chosen = np.random.default_rng(1).permutation(len(z))[:4000]
    return trustworthiness(z[chosen], layout[chosen], n_neighbors=15)


print("| file | cells | dimensions | tutti, s (1 thread) | umap-learn, s (seeded, 1 thread) | umap-learn, s (unseeded, all) | "
      "trustworthiness tutti | umap-learn |")
print("|---|---|---|---|---|---|---|---|")
with tempfile.TemporaryDirectory() as folder:
    for path in arguments.files:
        z = components(path, arguments.repeat)
        file = write(z, folder)
        for n_components in (2, 3):
            theirs(z[:2000], n_components, 0, 1)
            theirs(z[:2000], n_components, 0, 2)

            def ours(threads):
                out = Path(folder) / "layout.csv"
                said = subprocess.run([arguments.example, file, "X_pca", str(threads), str(n_components), out],
                                      capture_output=True, text=True, check=True).stdout
                return np.loadtxt(out, delimiter=",", skiprows=1, usecols=range(1, 1 + n_components)), json.loads(said)["layout"]

            mine, seconds = ours(arguments.threads)
            _, alone = ours(1)
            runs = [theirs(z, n_components, seed, 1) for seed in range(arguments.seeds)]
            _, parallel = theirs(z, n_components, 0, 2)
            peer = [trusted(z, layout) for layout, _ in runs]
            print(f"| {path.name} | {len(z)} | {n_components} | {seconds:.2f} ({alone:.2f}) | {runs[0][1]:.2f} | {parallel:.2f} | "
                  f"{trusted(z, mine):.4f} | {np.mean(peer):.4f} |", flush=True)
