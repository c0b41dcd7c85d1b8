"""Training in memory and from the disk on one generated file: `backed.py TUTTI [n_cells]`. Needs a Python with anndata."""

import subprocess
import sys
import tempfile
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import scipy.sparse as sp

program, n = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 300_000
rng = np.random.default_rng(0)
level = rng.lognormal(0, 1.2, 2000)
programmes = np.exp(rng.normal(0, 0.8, (12, 2000)))
blocks = []
for start in range(0, n, 20_000):
    rates = level * programmes[rng.integers(12, size=min(20_000, n - start))]
    blocks.append(sp.csr_matrix(rng.poisson(350 * rates / rates.sum(1, keepdims=True)).astype(np.float32)))
x = sp.vstack(blocks, format="csr")
obs = pd.DataFrame({"batch": pd.Categorical([f"b{i % 4}" for i in range(n)])}, index=[f"c{i}" for i in range(n)])
adata = anndata.AnnData(x, obs=obs, var=pd.DataFrame(index=[f"g{i}" for i in range(2000)]))
with tempfile.TemporaryDirectory() as folder:
    for compression in [None, "gzip"]:
        path = Path(folder) / f"{compression}.h5ad"
        adata.write_h5ad(path, compression=compression)
        for more in [[], ["--backed"]]:
            command = [program, "concord", path, "--batch", "batch", "--hvg", "0", "--n-epochs", "1", "--threads", "2", "--quiet"]
            command = ["/usr/bin/time", "-f", "%e s, %M KiB", *command, *more, "-o", Path(folder) / "out.csv"]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            size = path.stat().st_size / 1e6
            print(f"{x.nnz} values, {compression}, {size:.0f} MB {more}: {done.stderr.strip().splitlines()[-1]}", flush=True)
