"""Writes expected_transfer.json: votes, means and distances of scikit-learn's nearest neighbours, of the principal components and clusters in
expected_scib.json: every sixth cell is the query, the others the reference.

    python tests/data/expected_transfer.py
"""

import json
from pathlib import Path

import numpy as np
import sklearn
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor, NearestNeighbors

K = 15
here = Path(__file__)
stored = json.loads(here.with_name("expected_scib.json").read_text())
pca, clusters = np.array(stored["pca"], dtype=np.float32).astype(float), np.array(stored["clusters"])
is_query = np.arange(len(pca)) % 6 == 0
reference, query, labels = pca[~is_query, 2:], pca[is_query, 2:], clusters[~is_query]
layout = pca[~is_query, :2]


def gaussian(d):
    return np.exp(-(d**2) / (2 * (d**2).mean(axis=1, keepdims=True)))


def similarity(d):
    return 1 - d


cases = []
for metric, name, weights in [
    ("cosine", "similarity", similarity),
    ("cosine", "uniform", "uniform"),
    ("euclidean", "gaussian", gaussian),
    ("euclidean", "uniform", "uniform"),
]:
    how = {"n_neighbors": K, "metric": metric, "weights": weights}
    shares = KNeighborsClassifier(**how).fit(reference, labels).predict_proba(query)
    means = KNeighborsRegressor(**how).fit(reference, layout).predict(query)
    search = NearestNeighbors(n_neighbors=K, metric=metric).fit(reference)
    # Without an argument, a cell is not its own neighbour.
    usual, found = search.kneighbors()[0].mean(axis=1), search.kneighbors(query)[0].mean(axis=1)
    novelty = (usual[None, :] < found[:, None]).mean(axis=1)
    case = {"metric": metric, "weights": name, "shares": shares, "means": means, "novelty": novelty}
    cases.append({k: np.round(v, 5).tolist() if isinstance(v, np.ndarray) else v for k, v in case.items()})
out = {"scikit_learn": sklearn.__version__, "n_neighbors": K, "levels": sorted(set(labels)), "cases": cases}
here.with_suffix(".json").write_text(json.dumps(out) + "\n")
print([(c["metric"], c["weights"], np.mean(c["novelty"]), np.max(c["shares"], axis=1).mean()) for c in cases])
