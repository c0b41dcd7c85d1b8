"""Writes expected_geometry.json: trustworthiness by scikit-learn and correlations of distances by scipy, of the principal components in
expected_scib.json (the original) and the first two of them (the embedding).

    python tests/data/expected_geometry.py
"""

import json
from pathlib import Path

import numpy as np
from scipy.spatial.distance import pdist
from scipy.stats import kendalltau, pearsonr, spearmanr
from sklearn.manifold import trustworthiness

HERE = Path(__file__).resolve().parent
pca = np.array(json.loads((HERE / "expected_scib.json").read_text())["pca"], dtype=np.float32)[:600]
out = []
for metric in ["euclidean", "cosine"]:
    x, z = pca.astype(float), pca[:, :2].astype(float)
    # scikit-learn takes Euclidean neighbours in the embedding whatever the metric: unit rows make both the same.
    unit = lambda v: v / np.linalg.norm(v, axis=1, keepdims=True) if metric == "cosine" else v  # noqa: E731
    a, b = pdist(x, metric), pdist(z, metric)
    out.append(
        {
            "metric": metric,
            "trustworthiness": {k: float(trustworthiness(unit(x), unit(z), n_neighbors=k)) for k in [10, 50, 100]},
            "pearson": float(pearsonr(a, b)[0]),
            "spearman": float(spearmanr(a, b)[0]),
            "kendall": float(kendalltau(a, b)[0]),
        }
    )
(HERE / "expected_geometry.json").write_text(json.dumps(out) + "\n")
print(out)
