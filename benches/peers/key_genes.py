"""Key-gene hit rate of CellPredX on real data, beside a rank-sum test of the reference's types and chance.

    python benches/peers/key_genes.py --tutti target/debug/tutti --data-dir shared/data --seeds 5 --out benches/results/key_genes.md

Needs scanpy. For each pair of a reference and a query `tutti annotate --genes --markers` names the query and lists 50 genes of each class; counted are the known
markers of the class (`benches/markers`) among them. The test (scanpy's `rank_genes_groups`, Wilcoxon) ranks the same genes between the types of the reference, and
its first 50 are counted in the same way, over the same classes.
"""

import argparse
import json
import subprocess
import tempfile
import warnings
from pathlib import Path

warnings.filterwarnings("ignore")
import anndata
import numpy as np
import scanpy

TOP = 50


def parts(folder):
    """Name, reference, query, table of markers."""
    read = lambda name: anndata.read_h5ad(folder / f"{name}.h5ad")
    yield "pancreas, Xin to Wang", read("pancreas_xin_lognorm"), read("pancreas_wang_lognorm"), "pancreas"
    baron = read("pancreas_human_mouse_baron")
    human, mouse = baron[baron.obs["batch"] == "human"].copy(), baron[baron.obs["batch"] == "mouse"].copy()
    yield "pancreas, human to mouse", human, mouse, "pancreas"
    yield "pancreas, mouse to human", mouse, human, "pancreas"
    blood = read("pbmc_10x_three_chemistries")
    for batch in sorted(blood.obs["batch"].unique()):
        is_query = (blood.obs["batch"] == batch).to_numpy()
        yield f"blood, others to {batch}", blood[~is_query].copy(), blood[is_query].copy(), "pbmc"


def known(table, classes, genes):
    """Markers by class among these genes."""
    lines = [l.split("\t") for l in (Path(__file__).parent.parent / "markers" / f"{table}.tsv").read_text().splitlines() if not l.startswith("#")]
    return {c: {g for k, g in lines if k == c and g in genes} for c in classes}


def by_test(reference, genes, classes, markers):
    cells = reference[:, sorted(genes)].copy()
    cells = cells[~cells.obs["cell_type"].isna()].copy()
    if float(cells.X.max()) > 50:
        scanpy.pp.normalize_total(cells, target_sum=1e4)
        scanpy.pp.log1p(cells)
    sizes = cells.obs["cell_type"].value_counts()
    cells = cells[cells.obs["cell_type"].isin(sizes.index[sizes > 1])].copy()
    cells.obs["cell_type"] = cells.obs["cell_type"].astype(str).astype("category")
    scanpy.tl.rank_genes_groups(cells, "cell_type", method="wilcoxon", n_genes=TOP)
    ranked = cells.uns["rank_genes_groups"]["names"]
    return float(np.mean([len(markers[c] & set(ranked[c])) / len(markers[c]) for c in classes]))


def run(tutti, folder, reference, query, table, seed):
    paths = [folder / "reference.h5ad", folder / "query.h5ad"]
    reference.write_h5ad(paths[0])
    query.write_h5ad(paths[1])
    command = [tutti, "annotate", *map(str, paths), "--label", "cell_type", "--system", "cellpredx", "--scenario", "rna-to-rna", "--hvg", "0", "--no-rejection"]
    command += ["--genes", str(folder / "genes.csv"), "--markers", str(Path(__file__).parent.parent / "markers" / f"{table}.tsv"), "--top-genes", str(TOP)]
    command += ["--seed", str(seed), "-o", str(folder / "out.csv"), "--truth", "cell_type", "--json", "--quiet"]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main():
    arguments = argparse.ArgumentParser()
    for name in ["--tutti", "--data-dir", "--out"]:
        arguments.add_argument(name, required=True)
    arguments.add_argument("--seeds", type=int, default=5)
    arguments = arguments.parse_args()
    rows, details = [], []
    for name, reference, query, table in parts(Path(arguments.data_dir)):
        genes = set(reference.var_names) & set(query.var_names)
        rates, accuracies = [], []
        hits = {}
        for seed in range(arguments.seeds):
            with tempfile.TemporaryDirectory() as folder:
                found = run(arguments.tutti, Path(folder), reference, query, table, seed)
            told = {c["class"]: c["markers"] for c in found["determinants"]["classes"] if c["markers"]}
            rates.append(found["determinants"]["key_gene_hit_rate"])
            accuracies.append(found["truth"]["coverage"]["accuracy"])
            for c, h in told.items():
                hits.setdefault(c, []).append((h["n_hits"], h["n_markers"]))
        markers = known(table, hits, genes)
        assert all(len(markers[c]) == of[0][1] for c, of in hits.items()), "the same markers on both sides"
        counted = [c for c in hits if (reference.obs["cell_type"] == c).sum() > 1]
        test = by_test(reference, genes, counted, markers)
        spread = np.std(rates, ddof=1) if len(rates) > 1 else float("nan")
        rows.append((name, len(genes), len(hits), np.mean(accuracies), np.mean(rates), spread, test, found["determinants"]["expected_by_chance"]))
        details += [(name, c, of[0][1], np.mean([h for h, _ in of]), sum(s == c for s in reference.obs["cell_type"]), len(of)) for c, of in sorted(hits.items())]
        print(rows[-1], flush=True)
    lines = ["| reference to query | genes | classes | names right | hit rate | rank-sum test | chance |", "|---|---|---|---|---|---|---|"]
    lines += [f"| {n} | {g:,} | {k} | {a:.3f} | {r:.3f} ± {s:.3f} | {t:.3f} | {c:.3f} |" for n, g, k, a, r, s, t, c in rows]
    lines += ["", "By class, mean over the seeds in which a query cell is called so:", "", "| reference to query | class | reference cells | markers read | hits |", "|---|---|---|---|---|"]
    lines += [f"| {n} | {c} | {size} | {m} | {h:.1f} |" for n, c, m, h, size, _ in details]
    Path(arguments.out).write_text("\n".join(lines) + "\n")


main()
