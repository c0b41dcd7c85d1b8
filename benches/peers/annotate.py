"""Probabilities of each class for the query cells of an h5ad file by another tool, for `examples/annotation.rs`.

    python annotate.py METHOD IN.h5ad SEED OUT.csv

METHOD: logistic (scikit-learn), celltypist or scanvi. obs has `kind` (reference or query) and `cell_type`, empty for the query; X is
log-normalised.
"""

import sys
import warnings

warnings.filterwarnings("ignore")
method, source, seed, target = sys.argv[1:]
seed = int(seed)

import anndata
import numpy as np
import pandas as pd

adata = anndata.read_h5ad(source)
adata.X = adata.X.tocsr().astype(np.float32)
is_query = (adata.obs["kind"] == "query").to_numpy()
reference, query = adata[~is_query].copy(), adata[is_query].copy()
labels = reference.obs["cell_type"].astype(str).to_numpy()
if method == "logistic":
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import MaxAbsScaler

    model = make_pipeline(MaxAbsScaler(), LogisticRegression(max_iter=2000, random_state=seed)).fit(reference.X, labels)
    classes, p = model.classes_, model.predict_proba(query.X)
elif method == "celltypist":
    import celltypist

    model = celltypist.train(reference, labels=labels, n_jobs=2, check_expression=False, feature_selection=False)
    found = celltypist.annotate(query, model=model).probability_matrix
    classes, p = found.columns, found.to_numpy()
    p = p / np.maximum(p.sum(axis=1, keepdims=True), 1e-12)
elif method == "scanvi":
    import scvi

    scvi.settings.seed = seed
    adata.obs["label"] = np.where(is_query, "unknown", adata.obs["cell_type"].astype(str))
    scvi.model.SCVI.setup_anndata(adata, batch_key="kind", labels_key="label")
    vae = scvi.model.SCVI(adata, n_latent=30, n_layers=2, gene_likelihood="normal")
    options = dict(accelerator="cpu", enable_progress_bar=False, logger=False)
    vae.train(max_epochs=100, **options)
    lvae = scvi.model.SCANVI.from_scvi_model(vae, unlabeled_category="unknown")
    lvae.train(max_epochs=20, **options)
    found = lvae.predict(query_rows := adata[is_query].copy(), soft=True)
    classes, p = found.columns, found.to_numpy()
else:
    sys.exit(f"{method} is not known: give logistic, celltypist or scanvi")
pd.DataFrame(p, index=query.obs_names, columns=list(classes)).to_csv(target, index_label="cell")
