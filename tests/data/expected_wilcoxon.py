"""Writes expected_wilcoxon.json: rank-sum tests of genes between groups by scipy, p values adjusted by its false discovery control.

    python tests/data/expected_wilcoxon.py     # needs numpy, scipy
"""

import json
from pathlib import Path

import numpy as np
import scipy
from scipy import stats

CELLS, GENES = 90, 12
rng = np.random.default_rng(11)
groups = rng.choice(["a", "b", "c"], CELLS, p=[0.5, 0.3, 0.2])
level = np.where(groups[:, None] == "a", 0.4, 0.9) * rng.uniform(0.1, 3, GENES)
x = np.log1p(rng.poisson(level)).astype(np.float32)
# Values below zero, and a gene that is the same in all cells.
x[:, 10] -= 0.5
x[:, 11] = 2

out = {"scipy": scipy.__version__, "x": x.astype(float).tolist(), "groups": groups.tolist(), "tests": {}}
for group in "abc":
    inside, outside = x[groups == group], x[groups != group]
    tests = [stats.mannwhitneyu(inside[:, j].astype(float), outside[:, j].astype(float), method="asymptotic", use_continuity=False) for j in range(GENES - 1)]
    p = [float(t.pvalue) for t in tests] + [1.0]
    auc = [float(t.statistic) / (len(inside) * len(outside)) for t in tests] + [0.5]
    out["tests"][group] = {"p": p, "auc": auc, "p_adjusted": stats.false_discovery_control(p).tolist()}
Path(__file__).with_suffix(".json").write_text(json.dumps(out) + "\n")
print({g: (min(t["p"]), sum(q < 0.05 for q in t["p_adjusted"])) for g, t in out["tests"].items()})
