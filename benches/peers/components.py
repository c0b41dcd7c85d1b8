"""Principal components of an h5ad file, and a file of them, for the comparisons of what is done with an embedding."""

from pathlib import Path

import anndata
import numpy as np
import scanpy as sc


def components(path, repeat):
    adata = anndata.read_h5ad(path)
    adata.uns.clear()
    if float(adata.X.max()) > 50:
        sc.pp.normalize_total(adata, target_sum=1e4)
        sc.pp.log1p(adata)
    z = sc.pp.pca(adata.X, n_comps=50, random_state=0, return_info=False).astype(np.float32)
    z = np.tile(z, (repeat, 1))
    if repeat > 1:
        z = z + np.random.default_rng(0).normal(scale=0.3 * z.std(0), size=z.shape)
    return np.ascontiguousarray(z, dtype=np.float32)


def write(z, folder):
    """An h5ad file of nothing but the embedding, X_pca."""
    file = Path(folder) / "z.h5ad"
    anndata.AnnData(obs={"n": np.arange(len(z))}, obsm={"X_pca": z}, shape=(len(z), 0)).write_h5ad(file)
    return file
