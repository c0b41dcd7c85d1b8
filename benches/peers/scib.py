"""The scIB scores beside scib-metrics on one generated embedding: `scib.py TUTTI [n_cells] [n_dimensions]`.

Needs a Python with scib-metrics, scikit-learn and anndata. Both sides take the same distances (Euclidean) and find their own neighbours, and both
are timed from the embedding in memory or in the file to the scores; k-means and, on the other side, its compilation are part of it.
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import scib_metrics
import scipy.sparse as sp
from scib_metrics.nearest_neighbors import pynndescent

program, *shape = sys.argv[1:]
n, d = [int(v) for v in shape] + [50_000, 50][len(shape) :]
rng = np.random.default_rng(0)
label, batch = rng.integers(8, size=n), rng.integers(3, size=n)
z = (rng.normal(0, 1.5, (8, d))[label] + rng.normal(0, 0.5, (3, d))[batch] + rng.normal(size=(n, d))).astype(np.float32)
label, batch = label.astype(str), batch.astype(str)
with tempfile.TemporaryDirectory() as folder:
    path = Path(folder) / "cells.h5ad"
    obs = pd.DataFrame({"label": pd.Categorical(label), "batch": pd.Categorical(batch)}, index=[f"c{i}" for i in range(n)])
    anndata.AnnData(sp.csr_matrix((n, 1), dtype=np.float32), obs=obs, obsm={"X_made": z, "X_pca": z}).write_h5ad(path)
    command = [program, "score", path, "--embedding", "X_made", "--label", "label", "--batch", "batch", "--threads", "2", "--json"]
    begin = time.perf_counter()
    ours = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)["X_made"]
    our_seconds = time.perf_counter() - begin

begin = time.perf_counter()
kmeans = scib_metrics.nmi_ari_cluster_labels_kmeans(z, label)
wide = pynndescent(z, n_neighbors=90, random_state=0)
leiden = scib_metrics.nmi_ari_cluster_labels_leiden(wide.subset_neighbors(15), label, n_jobs=2)
theirs = {
    "isolated_labels": scib_metrics.isolated_labels(z, label, batch),
    "nmi_leiden": leiden["nmi"],
    "ari_leiden": leiden["ari"],
    "bras": scib_metrics.metrics.bras(z, label, batch),
    "kbet": scib_metrics.kbet_per_label(wide.subset_neighbors(50), batch, label),
    "nmi": kmeans["nmi"],
    "ari": kmeans["ari"],
    "label_silhouette": scib_metrics.silhouette_label(z, label),
    "clisi": scib_metrics.clisi_knn(wide, label),
    "batch_silhouette": scib_metrics.silhouette_batch(z, label, batch),
    "ilisi": scib_metrics.ilisi_knn(wide, batch),
    "graph_connectivity": scib_metrics.graph_connectivity(wide.subset_neighbors(15), label),
    "pcr_comparison": scib_metrics.pcr_comparison(z, z, batch, categorical=True),
}
their_seconds = time.perf_counter() - begin
print(f"{n} cells x {d}: tutti {our_seconds:.1f} s (whole command), scib-metrics {scib_metrics.__version__} {their_seconds:.1f} s, "
      f"{their_seconds / our_seconds:.1f} times faster")
for name, value in theirs.items():
    print(f"{name:20} tutti {ours[name]:.4f}  scib-metrics {float(value):.4f}")
