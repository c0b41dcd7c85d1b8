"""Writes expected_open_set.json: a temperature by scipy, average precision and the receiver operating curve by scikit-learn, and shares of open-set
labels by numpy.

    pip install scikit-learn scipy
    python tests/data/expected_open_set.py

Logits of four classes and the classes of the cells are drawn, too sure of themselves; cells of the class 4 are of no known class, and have small
logits. Confidences have two digits, so that many are tied.
"""

import json
from pathlib import Path

import numpy as np
import scipy
import sklearn
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax
from sklearn.metrics import average_precision_score, roc_auc_score

rng = np.random.default_rng(0)
N, K = 240, 4
truth = rng.integers(0, K + 1, N)
logits = (3 * rng.normal(size=(N, K))).round(2)
logits[np.arange(N)[truth < K], truth[truth < K]] += 5
known = truth < K


def nll(log_t):
    return -log_softmax(logits[known] / np.exp(log_t), axis=1)[np.arange(known.sum()), truth[known]].mean()


best = minimize_scalar(nll, bounds=(-5, 5), method="bounded", options={"xatol": 1e-12})
temperature = float(np.exp(best.x))
p = softmax(logits / temperature, axis=1)
confidence, label = p.max(axis=1).round(2), p.argmax(axis=1)
rejected = confidence < 0.6
# Every threshold, the largest first; the curve begins at (0, 0).
points = [(0.0, 0.0)]
for t in np.unique(confidence)[::-1]:
    passing = confidence >= t
    points.append(((passing & ~known).sum() / (~known).sum(), (passing & known & (label == truth)).sum() / known.sum()))
points = np.array(points)
out = {
    "scikit_learn": sklearn.__version__,
    "scipy": scipy.__version__,
    "truth": truth.tolist(),
    "logits": logits.tolist(),
    "temperature": temperature,
    "nll_before": nll(0.0),
    "nll_after": nll(best.x),
    "confidence": confidence.tolist(),
    "label": label.tolist(),
    "auroc": roc_auc_score(~known, 1 - confidence),
    "aupr": average_precision_score(~known, 1 - confidence),
    "oscr": float(np.trapezoid(points[:, 1], points[:, 0])),
    "limit": 0.6,
    "coverage": float((~rejected).mean()),
    "accuracy_of_kept": float((label == truth)[~rejected].mean()),
    "accuracy": float((label == truth)[known].mean()),
    "overall_accuracy": float(np.where(known, (label == truth) & ~rejected, rejected).mean()),
    "false_rejection_rate": float(rejected[known].mean()),
    "detection_rate": float(rejected[~known].mean()),
}
Path(__file__).with_suffix(".json").write_text(json.dumps(out) + "\n")
print({k: v for k, v in out.items() if not isinstance(v, list)})
