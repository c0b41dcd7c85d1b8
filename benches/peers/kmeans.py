"""k-means beside scikit-learn: time and inertia on the same points with the same rule of stopping (tol 1e-4 of the mean variance, 300 rounds).

    pip install scikit-learn anndata
    cargo build --example k_means
    python benches/peers/kmeans.py [--sizes CELLSxDIMENSIONSxCLUSTERS ...] [--seeds N] [--threads N]

Points are drawn around as many overlapping centers as clusters are asked for; single precision on both sides. Both tools run in turn
with every seed, scikit-learn after a warm-up. Prints a line of Markdown per size and number of starts: median seconds, median ratio of the pairs,
and mean inertia over the seeds (lowest in brackets).
"""

import argparse
import json
import subprocess
import tempfile
import time
from pathlib import Path

import anndata
import numpy as np
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_limits

parser = argparse.ArgumentParser()
parser.add_argument("--sizes", nargs="+", default=["20000x50x20", "20000x50x100", "200000x30x20"])
parser.add_argument("--example", default="target/debug/examples/k_means")
parser.add_argument("--seeds", type=int, default=10)
parser.add_argument("--threads", type=int, default=2)
arguments = parser.parse_args()


def points(n_cells, d, n_centers):
    rng = np.random.default_rng(0)
    centers = rng.normal(0, 1, (n_centers, d))
    return (centers[rng.integers(n_centers, size=n_cells)] + rng.normal(0, 1, (n_cells, d))).astype(np.float32)


def theirs(x, n_clusters, n_init, seed):
    started = time.perf_counter()
    found = KMeans(n_clusters, n_init=n_init, tol=1e-4, max_iter=300, random_state=seed).fit(x)
    return {"inertia": float(found.inertia_), "seconds": time.perf_counter() - started}


print("| cells x dimensions, clusters | starts | tutti, s | scikit-learn, s | ratio | inertia tutti | scikit-learn |")
print("|---|---|---|---|---|---|---|")
with tempfile.TemporaryDirectory() as folder, threadpool_limits(arguments.threads):
    for size in arguments.sizes:
        n_cells, d, n_clusters = map(int, size.split("x"))
        x = points(n_cells, d, n_clusters)
        file = Path(folder) / "x.h5ad"
        anndata.AnnData(obs={"n": np.arange(n_cells)}, obsm={"X": x}, shape=(n_cells, 0)).write_h5ad(file)
        for n_init in (1, 10):

            def ours(seed):
                said = subprocess.run([arguments.example, file, "X", *map(str, [arguments.threads, n_clusters, n_init, seed])],
                                      capture_output=True, text=True, check=True).stdout
                return json.loads(said)

            theirs(x, n_clusters, 1, 0)
            pairs = [(ours(seed), theirs(x, n_clusters, n_init, seed)) for seed in range(arguments.seeds)]
            mine, peer = (np.array([run["seconds"] for run in runs]) for runs in zip(*pairs))
            inertia = ["{:.0f} ({:.0f})".format(np.mean(i), np.min(i)) for i in ([run["inertia"] for run in runs] for runs in zip(*pairs))]
            print(f"| {n_cells:,} x {d}, {n_clusters} | {n_init} | {np.median(mine):.3f} | {np.median(peer):.3f} | {np.median(peer / mine):.1f} | "
                  f"{inertia[0]} | {inertia[1]} |", flush=True)
