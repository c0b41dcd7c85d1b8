"""Leiden and Louvain beside leidenalg and igraph: modularity and time on the same graph.

    pip install leidenalg scanpy
    cargo build --example leiden
    python benches/peers/leiden.py ../shared/data/pbmc_10x_three_chemistries.h5ad ... [--repeat N]

Each file gives 50 principal components of its log-normalised genes (--repeat: of many copies of the cells with noise) and these our graph of
15 neighbours. leidenalg runs until stable, as scanpy's default does (n_iterations -1), igraph too; three seeds each; all on one thread.
Modularity is computed by igraph's formula for everything but ours, which the tests prove. Prints a line of Markdown per resolution.
"""

import argparse
import json
import random
import subprocess
import tempfile
import time
from pathlib import Path

import igraph
import leidenalg
import numpy as np

from components import components, write

parser = argparse.ArgumentParser()
parser.add_argument("files", nargs="+", type=Path)
parser.add_argument("--example", default="target/debug/examples/leiden")
parser.add_argument("--repeat", type=int, default=1)
arguments = parser.parse_args()
RESOLUTIONS = [0.2, 1.0, 2.0]


def timed(run):
    out = []
    for seed in range(3):
        started = time.perf_counter()
        membership = run(seed)
        out.append((membership, time.perf_counter() - started))
    return out


print("| file | cells | resolution | tool | modularity, mean of 3 seeds (range) | communities | seconds |")
print("|---|---|---|---|---|---|---|")
with tempfile.TemporaryDirectory() as folder:
    for path in arguments.files:
        z = components(path, arguments.repeat)
        file = write(z, folder)
        said = subprocess.run([arguments.example, file, "X_pca", folder, *map(str, RESOLUTIONS)],
                              capture_output=True, text=True, check=True).stdout
        ours = [json.loads(line) for line in said.splitlines()]
        ends = np.fromfile(Path(folder) / "ends", "<u4").reshape(-1, 2)
        weights = np.fromfile(Path(folder) / "weights", "<f4").astype(float)
        graph = igraph.Graph(len(z), ends.tolist(), edge_attrs={"weight": weights})

        def by_leidenalg(resolution, seed):
            return leidenalg.find_partition(graph, leidenalg.RBConfigurationVertexPartition, weights="weight",
                                            resolution_parameter=resolution, n_iterations=-1, seed=seed).membership

        def by_igraph(resolution, seed, n_iterations):
            igraph.set_random_number_generator(random.Random(seed))
            return graph.community_leiden("modularity", weights="weight", resolution=resolution, n_iterations=n_iterations).membership

        for resolution in RESOLUTIONS:
            rows = {}
            for algorithm in ["leiden", "louvain"]:
                mine = [o for o in ours if o["resolution"] == resolution and o["algorithm"] == algorithm]
                rows[f"tutti {algorithm}"] = [(o["modularity"], o["communities"], o["seconds"]) for o in mine]
            for name, run in [("leidenalg", lambda seed: by_leidenalg(resolution, seed)),
                              ("igraph, until stable", lambda seed: by_igraph(resolution, seed, -1)),
                              ("igraph, 2 iterations", lambda seed: by_igraph(resolution, seed, 2))]:
                rows[name] = [(graph.modularity(m, weights="weight", resolution=resolution), max(m) + 1, s) for m, s in timed(run)]
            for name, found in rows.items():
                q, n, s = map(np.array, zip(*found))
                print(f"| {path.name} | {len(z)} | {resolution} | {name} | {q.mean():.5f} ({q.min():.5f}–{q.max():.5f}) | "
                      f"{n.mean():.1f} | {np.median(s):.2f} |", flush=True)
