#!/usr/bin/env python3
"""Writes odd_columns.h5ad and not_finite_*.h5ad beside itself, with anndata and h5py: what users' files hold beyond the usual.

`pip install anndata==0.12.*`; run once, the files are kept.
"""

from pathlib import Path

import anndata
import h5py
import numpy as np
import pandas as pd
import scipy.sparse as sp

HERE = Path(__file__).resolve().parent
obs = pd.DataFrame(
    {
        "half": np.array([0.5, 1.5, -2.0], dtype=np.float16),
        "flag": [True, False, True],
        "maybe": pd.array([True, None, False], dtype="boolean"),
        "count": pd.array([1, None, 3], dtype="Int64"),
        "level": pd.Categorical([10, 9, 10]),
        "yes": pd.Categorical([True, False, True]),
        "text": ["a", "b", "c"],
    },
    index=["1", "2", "10"],
)
x = sp.csr_matrix(np.array([[0, 1.0, 0, 2], [3, 0, 0, 0], [0, 0, 4, 0]], dtype=np.float32))
adata = anndata.AnnData(x, obs=obs, var=pd.DataFrame(index=["g1", "g2", "g3", "g4"]))
adata.obsm["X_half"] = np.array([[1, 2], [3, 4], [5, 6]], dtype=np.float16)
adata.write_h5ad(HERE / "odd_columns.h5ad")
with h5py.File(HERE / "odd_columns.h5ad", "r+") as f:
    # An index of numbers, as other programs write it.
    del f["obs/_index"]
    f["obs"].create_dataset("_index", data=np.array([1, 2, 10]))
    # A column in an encoding that nobody knows.
    group = f["obs"].create_group("strange")
    group.attrs["encoding-type"], group.attrs["encoding-version"] = "awkward-array", "0.1.0"
    f["obs"].attrs["column-order"] = np.array([*obs.columns, "strange"], dtype=h5py.string_dtype())

for name, matrix in [("csr", x), ("csc", x.tocsc()), ("dense", x.toarray())]:
    bad = anndata.AnnData(matrix.copy(), obs=pd.DataFrame(index=["c1", "c2", "c3"]), var=adata.var)
    if name == "dense":
        bad.X[1, 0] = np.inf
    else:
        bad.X.data[list(bad.X.data).index(3)] = np.inf
    bad.write_h5ad(HERE / f"not_finite_{name}.h5ad")
