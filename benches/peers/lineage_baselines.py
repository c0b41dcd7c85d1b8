"""What LCL is compared with: embeddings and classifiers of the same log-normalised cells, which see the same training cells."""

import numpy as np
import torch
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler


def components(x, train, seed, n=50):
    """Principal components of the training cells, [n_cells, n]."""
    n = min(n, len(train) - 1, x.shape[1] - 1)
    return PCA(n, random_state=seed).fit(x[train]).transform(x)


def autoencoder(x, train, seed, width=32, epochs=100, batch=128):
    """Bottleneck of an MLP with batch norm, 128-64-32-64-128, trained by the mean squared error on the training cells; [n_cells, width]."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    dims = [x.shape[1], 128, 64]
    layers = [part for a, b in zip(dims, dims[1:]) for part in (torch.nn.Linear(a, b), torch.nn.BatchNorm1d(b), torch.nn.ReLU())]
    encoder = torch.nn.Sequential(*layers, torch.nn.Linear(64, width))
    back = [width, 64, 128]
    layers = [part for a, b in zip(back, back[1:]) for part in (torch.nn.Linear(a, b), torch.nn.BatchNorm1d(b), torch.nn.ReLU())]
    model = torch.nn.Sequential(encoder, *layers, torch.nn.Linear(128, x.shape[1]))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    cells = torch.from_numpy(np.ascontiguousarray(x, dtype=np.float32))
    for _ in range(epochs):
        for rows in np.array_split(rng.permutation(train), max(1, len(train) // batch)):
            optimizer.zero_grad()
            torch.nn.functional.mse_loss(model(cells[rows]), cells[rows]).backward()
            optimizer.step()
    model.eval()
    with torch.no_grad():
        return encoder(cells).numpy()


def neighbours(z, lineage, known, asked, k=5):
    """Error of the majority of the k nearest known cells (Euclidean) on the asked ones."""
    model = KNeighborsClassifier(min(k, len(known))).fit(z[known], lineage[known])
    return float(np.mean(model.predict(z[asked]) != lineage[asked]))


def regression(x, lineage, known, asked):
    """Error of logistic regression (L2, C = 1, features scaled) on the asked cells."""
    scaler = StandardScaler().fit(x[known])
    model = LogisticRegression(max_iter=300).fit(scaler.transform(x[known]), lineage[known])
    return float(np.mean(model.predict(scaler.transform(x[asked])) != lineage[asked]))


def pair_auroc(z, lineage, cells):
    """How well the cosine of two cells says whether they are of one lineage."""
    unit = z[cells] - 0.0
    unit /= np.maximum(np.linalg.norm(unit, axis=1, keepdims=True), 1e-12)
    a, b = np.triu_indices(len(cells), 1)
    score, same = (unit @ unit.T)[a, b], lineage[cells][a] == lineage[cells][b]
    rank = np.empty(len(score))
    rank[np.argsort(score)] = np.arange(1, len(score) + 1)
    p, n = same.sum(), (~same).sum()
    return float((rank[same].sum() - p * (p + 1) / 2) / (p * n))


def fates(x, shares, known, asked):
    """Mean Kullback-Leibler divergence and share of right largest fates of a softmax regression on shares (L2, C = 1, features scaled).

    A cell with shares s is one observation of each fate f of weight s_f: its log likelihood is the divergence but for a constant.
    """
    scaler = StandardScaler().fit(x[known])
    n_fates = shares.shape[1]
    rows = np.repeat(scaler.transform(x[known]), n_fates, axis=0)
    model = LogisticRegression(max_iter=300).fit(rows, np.tile(np.arange(n_fates), len(known)), sample_weight=shares[known].ravel())
    return divergence(shares[asked], model.predict_proba(scaler.transform(x[asked])))


def divergence(observed, predicted):
    kl = np.sum(observed * (np.log(observed) - np.log(np.maximum(predicted, 1e-30))), axis=1)
    return float(kl.mean()), float(np.mean(observed.argmax(axis=1) == predicted.argmax(axis=1)))
