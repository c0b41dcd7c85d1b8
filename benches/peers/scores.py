"""Scores of an integrated embedding, the same code for every method."""

import numpy as np
from sklearn.metrics import silhouette_samples
from sklearn.neighbors import NearestNeighbors

K = 30

# What a score says, and whether more is better.
MEANING = {
    "label_silhouette": ("mean silhouette of the labels, scaled to 0..1 (scIB)", True),
    "batch_silhouette": ("1 - |silhouette of the batches| within each label, mean over labels (scIB)", True),
    "label_purity": (f"share of the {K} nearest neighbours with the cell's label", True),
    "same_batch_ratio": (f"share of the {K} nearest neighbours from the cell's batch, over the share among cells of its label", False),
}


def scores(z, label, batch, metric):
    """The four scores. z: [n_cells, n_dims]; label, batch: one text per cell; metric: `cosine` or `euclidean`."""
    label, batch = np.asarray(label, dtype=str), np.asarray(batch, dtype=str)
    return {
        "label_silhouette": float((silhouette_samples(z, label, metric=metric).mean() + 1) / 2),
        "batch_silhouette": batch_silhouette(z, label, batch, metric),
    } | neighbours(z, label, batch, metric)


def batch_silhouette(z, label, batch, metric):
    """Labels found in one batch only, or with a cell alone in each batch, say nothing about mixing and are left out."""
    per_label = []
    for name in np.unique(label):
        rows = label == name
        n_batches = len(np.unique(batch[rows]))
        if 1 < n_batches < rows.sum():
            per_label.append(np.mean(1 - np.abs(silhouette_samples(z[rows], batch[rows], metric=metric))))
    return float(np.mean(per_label))


def neighbours(z, label, batch, metric):
    index = NearestNeighbors(n_neighbors=K + 1, metric=metric, algorithm="brute").fit(z)
    found = index.kneighbors(z, return_distance=False)
    # A duplicate cell may stand before the cell itself, so the cell is removed by its number.
    itself = found == np.arange(len(z))[:, None]
    itself[~itself.any(axis=1), -1] = True
    found = found[~itself].reshape(len(z), K)
    expected = [
        (np.sum((label == label[i]) & (batch == batch[i])) - 1) / max(np.sum(label == label[i]) - 1, 1) for i in range(len(z))
    ]
    return {
        "label_purity": float(np.mean(label[found] == label[:, None])),
        "same_batch_ratio": float(np.mean(batch[found] == batch[:, None]) / np.mean(expected)),
    }
