"""Integration scores on real data: Tutti, concord-sc and PCA, same input, same settings, same scorer."""

import hashlib
import json
import sys
import tempfile
from pathlib import Path

import anndata
import numpy as np
import scanpy as sc

import measure
from scores import MEANING, scores

# File, obs column of the batch, obs column of the label.
DATA = {
    "pbmc_10x_three_chemistries": ("batch", "cell_type"),
    "pancreas_three_technologies": ("batch", "cell_type"),
}
EPOCHS = 15


def run(options):
    if missing := [name for name in DATA if not (options.data_dir / f"{name}.h5ad").exists()]:
        sys.exit(f"{options.data_dir} lacks {', '.join(f'{name}.h5ad' for name in missing)}; give its folder with --data-dir")
    binary = None if options.peers_only else measure.tutti(options)
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        for name, (batch, label) in DATA.items():
            path = Path(scratch) / f"{name}.h5ad"
            adata = log_normalised(options.data_dir / f"{name}.h5ad", path)

            def add(method, seed, z, metric):
                values = scores(z, adata.obs[label], adata.obs[batch], metric)
                rows.append({"data": name, "method": method, "seed": seed} | values)

            add("PCA", 0, sc.pp.pca(adata, n_comps=50, random_state=0, copy=True).obsm["X_pca"], "euclidean")
            for seed in range(options.seeds):
                print(f"{name}, seed {seed}", file=sys.stderr)
                add("concord-sc", seed, peer(path, batch, seed, options), "cosine")
                if binary:
                    add("tutti", seed, ours(binary, path, batch, seed, options, Path(scratch)), "cosine")
    report(rows, options)


def log_normalised(source, target):
    """The input of every method: 10,000 counts per cell, log(1 + x), all genes."""
    adata = anndata.read_h5ad(source)
    adata.uns.clear()
    sc.pp.normalize_total(adata, target_sum=1e4)
    sc.pp.log1p(adata)
    adata.write_h5ad(target)
    return adata


def peer(path, batch, seed, options):
    """Embedding by concord-sc. It is slow, so it is kept; the key is all that it depends on."""
    versions = measure.machine(options.threads)["versions"]
    adata = anndata.read_h5ad(path)
    content = hashlib.sha256(adata.X.data.tobytes() + adata.X.indices.tobytes() + adata.X.indptr.tobytes())
    content.update("\n".join(adata.obs[batch].astype(str)).encode())
    settings = [options.method, EPOCHS, seed, options.threads, versions["concord-sc"], versions["torch"], versions["numpy"]]
    key = hashlib.sha256(json.dumps([content.hexdigest(), *settings]).encode()).hexdigest()[:24]
    measure.CACHE.mkdir(exist_ok=True)
    kept = measure.CACHE / f"{key}.npy"
    if not kept.exists():
        fit = Path(__file__).with_name("concord_fit.py")
        part = kept.with_suffix(".part.npy")
        arguments = [sys.executable, fit, path, "--batch", batch, "--seed", seed, "--preset", options.method]
        measure.command([*arguments, "--epochs", EPOCHS, "--threads", options.threads, "--output", part], options.threads)
        part.rename(kept)
    return np.load(kept)


def ours(binary, path, batch, seed, options, scratch):
    output = scratch / "tutti.h5ad"
    # `--hvg 0`: all genes, as the peer.
    arguments = [binary, "concord", path, "--batch", batch, "--preset", options.method, "--hvg", 0, "--n-epochs", EPOCHS]
    measure.command([*arguments, "--seed", seed, "--threads", options.threads, "--quiet", "--json", "-o", output], options.threads)
    return np.asarray(anndata.read_h5ad(output).obsm["X_concord"])


def report(rows, options):
    names = list(MEANING)
    lines, summary = [], []
    for data in DATA:
        for method in ["PCA", "concord-sc", "tutti"]:
            chosen = [r for r in rows if r["data"] == data and r["method"] == method]
            if not chosen:
                continue
            values = np.array([[r[n] for n in names] for r in chosen])
            mean = values.mean(axis=0)
            error = values.std(axis=0, ddof=1) / np.sqrt(len(chosen)) if len(chosen) > 1 else None
            cells = [f"{m:.3f}" + (f" ± {e:.3f}" if error is not None else "") for m, e in zip(mean, error if error is not None else mean)]
            lines.append([data, method, len(chosen), *cells])
            entry = {"data": data, "method": method, "n_seeds": len(chosen), "mean": dict(zip(names, mean.tolist()))}
            summary.append(entry | {"standard_error": dict(zip(names, error.tolist())) if error is not None else None})
    header = ["data", "method", "seeds", *(f"{n} {'↑' if MEANING[n][1] else '↓'}" for n in names)]
    meaning = "\n".join(f"- `{n}`: {text}; {'more' if better else 'less'} is better." for n, (text, better) in MEANING.items())
    text = (
        f"# Integration of real data\n\nPreset `{options.method}`, {EPOCHS} epochs, all genes, normalised to 10,000 counts and log(1 + x). "
        "Mean ± standard error over seeds. Embeddings are scored by cosine distance, PCA (50 components) by Euclidean distance.\n\n"
        f"Command: `python3 benches/peers/run.py quality --seeds {options.seeds} --method {options.method}{' --peers-only' if options.peers_only else ''}`\n\n{measure.table(header, lines)}\n\n{meaning}"
    )
    result = {"machine": measure.machine(options.threads), "method": options.method, "epochs": EPOCHS, "summary": summary, "runs": rows}
    name = "quality" if not options.peers_only else "quality_peers"
    measure.write(name if options.method == "hard-negative" else f"{name}_{options.method}", result, text)
