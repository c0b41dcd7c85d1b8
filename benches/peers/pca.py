"""Times scikit-learn's randomised PCA beside ours on the same matrix.

    cargo build -p tutti-benches --example pca
    TUTTI_PEER_VENV's python benches/peers/pca.py target/debug/examples/pca [n_cells n_genes density]

Our program generates the matrix, writes it to a temporary folder, and prints its own time and singular values; both use two threads.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "2")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "2")

import numpy as np
import scipy.sparse as sp
from sklearn.decomposition import PCA

program, *shape = sys.argv[1:]
with tempfile.TemporaryDirectory() as folder:
    ours = json.loads(subprocess.run([program, folder, *shape], check=True, capture_output=True, text=True).stdout)
    load = lambda name, kind: np.fromfile(Path(folder) / name, dtype=kind)
    x = sp.csr_matrix((load("data", "<f4"), load("indices", "<u4").astype(np.int32), load("indptr", "<u8").astype(np.int64)), shape=ours["shape"])
    begin = time.perf_counter()
    rows = []
    for solver in ["arpack", "covariance_eigh"]:
        begin = time.perf_counter()
        model = PCA(50, svd_solver=solver, random_state=0)
        model.fit_transform(x)
        seconds = time.perf_counter() - begin
        error = float(np.max(np.abs(np.array(ours["singular_values"]) / model.singular_values_ - 1)))
        rows.append((f"scikit-learn PCA, {solver} (centred)", seconds, error))
    from sklearn.utils.extmath import randomized_svd

    begin = time.perf_counter()
    randomized_svd(x, 50, n_iter="auto", random_state=0)
    rows.append(("scikit-learn randomized_svd (not centred)", time.perf_counter() - begin, float("nan")))
print(f"{ours['shape']}, {x.nnz} values; tutti {ours['seconds']:.2f} s")
for name, seconds, error in rows:
    print(f"{name}: {seconds:.2f} s, {seconds / ours['seconds']:.2f} x tutti; largest relative difference of singular values {error:.1e}")
