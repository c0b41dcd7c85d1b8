"""Writes expected_classification.json: scores of predicted labels, of confidences, of groups and of probes by scikit-learn.

    pip install scikit-learn scipy
    python tests/data/expected_classification.py

Labels and confidences are drawn and stored beside the scores; some labels are only true, some only predicted, and confidences have two digits,
so that many are tied and some lie on the edge of a bin. Groups and probes read the principal components and the clusters in
expected_scib.json. Their number to find is the square of the first component plus ten times the second.
"""

import json
from pathlib import Path

import numpy as np
import sklearn
from scipy.spatial.distance import pdist
from scipy.stats import spearmanr
from sklearn.calibration import calibration_curve
from sklearn.linear_model import Ridge, RidgeClassifier
from sklearn.metrics import (accuracy_score, balanced_accuracy_score, brier_score_loss, calinski_harabasz_score, f1_score, r2_score,
                             roc_auc_score)
from sklearn.neighbors import KNeighborsClassifier, NearestCentroid
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

HERE = Path(__file__).resolve().parent
rng = np.random.default_rng(0)


def labels(n_cells):
    truth = rng.choice(["B", "CD4 T", "CD8 T", "NK", "rare"], n_cells, p=[0.4, 0.3, 0.2, 0.08, 0.02])
    guess = rng.choice(["B", "CD4 T", "CD8 T", "NK", "doublet"], n_cells)
    predicted = np.where((rng.uniform(size=n_cells) < 0.6) & (truth != "rare"), truth, guess)
    return {
        "truth": truth.tolist(),
        "predicted": predicted.tolist(),
        "accuracy": accuracy_score(truth, predicted),
        "balanced_accuracy": balanced_accuracy_score(truth, predicted),
        "macro_f1": f1_score(truth, predicted, average="macro"),
    }


def confidences(n_cells, n_bins):
    confidence = rng.beta(2, 1, n_cells).round(2)
    correct = rng.uniform(size=n_cells) < confidence**1.5
    accuracy, mean = calibration_curve(correct, confidence, n_bins=n_bins, strategy="uniform")
    # calibration_curve tells no sizes; its bins hold their upper end.
    bins = np.searchsorted(np.linspace(0, 1, n_bins + 1)[1:-1], confidence)
    sizes = np.unique(bins, return_counts=True)[1]
    return {
        "confidence": confidence.tolist(),
        "correct": correct.tolist(),
        "auroc": roc_auc_score(correct, confidence),
        "brier": brier_score_loss(correct, confidence),
        "n_bins": n_bins,
        "bins": [[int(n), c, a] for n, c, a in zip(sizes, mean, accuracy)],
        "expected_error": float(np.average(np.abs(accuracy - mean), weights=sizes)),
    }


scib = json.loads((HERE / "expected_scib.json").read_text())
pca, clusters = np.array(scib["pca"], dtype=np.float32).astype(float), np.array(scib["clusters"])


def groups():
    means, flat = (NearestCentroid().fit(x, clusters).centroids_ for x in (pca, pca[:, :2]))
    return {
        "calinski_harabasz": calinski_harabasz_score(pca, clusters),
        "state_distance_correlation": float(spearmanr(pdist(means), pdist(flat))[0]),
    }


# The cells of 300 that the probes hold out for the seed 0; the test compares them with those that it draws.
HELD_OUT = [
    122, 220, 44, 233, 47, 298, 277, 236, 275, 172, 20, 181, 211, 91, 254, 191, 110, 244, 136, 80, 240, 85, 227, 141,
    257, 252, 234, 132, 138, 208, 164, 59, 1, 118, 66, 45, 261, 280, 97, 114, 274, 276, 259, 292, 269, 32, 77, 171, 101,
    11, 22, 74, 103, 196, 178, 204, 271, 224, 125, 93,
]
N_CELLS, N_NEIGHBORS, RIDGE = 300, 20, 0.5


def probes():
    x, y = pca[:N_CELLS], clusters[:N_CELLS]
    number = x[:, 0] ** 2 + 10 * x[:, 1]
    train = np.setdiff1d(np.arange(N_CELLS), HELD_OUT)
    # Our ridge is per cell of the training.
    alpha = RIDGE * len(train)
    classifier = make_pipeline(StandardScaler(), RidgeClassifier(alpha=alpha)).fit(x[train], y[train])
    regression = make_pipeline(StandardScaler(), Ridge(alpha=alpha)).fit(x[train], number[train])
    # Each neighbour adds more to its vote than all farther ones together, yet all less than one vote: only ties go to the nearest.
    nearest_first = KNeighborsClassifier(N_NEIGHBORS, weights=lambda d: 1 + 0.5 ** np.arange(1.0, N_NEIGHBORS + 1) * np.ones_like(d))
    # Without cells to predict, those of the training are left out one by one.
    return {
        "held_out": HELD_OUT,
        "ridge": RIDGE,
        "linear_probe": accuracy_score(y[HELD_OUT], classifier.predict(x[HELD_OUT])),
        "linear_probe_r2": r2_score(number[HELD_OUT], regression.predict(x[HELD_OUT])),
        "n_neighbors": N_NEIGHBORS,
        "knn_probe": accuracy_score(y, nearest_first.fit(x, y).predict(None)),
    }


out = {"scikit_learn": sklearn.__version__, "labels": labels(200), "confidences": confidences(200, 15), "groups": groups(), "probes": probes()}
Path(__file__).with_suffix(".json").write_text(json.dumps(out) + "\n")
print(json.dumps({part: {k: v for k, v in values.items() if not isinstance(v, list)} for part, values in out.items() if part != "scikit_learn"}))
