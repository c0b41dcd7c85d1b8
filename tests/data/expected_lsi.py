"""Writes expected_lsi.json: TF-IDF by the formula of Signac's RunTFIDF (method 1) in numpy, and scikit-learn's truncated singular value decomposition
of it, for multiome_pbmc40_atac_peaks.h5ad.

    pip install scikit-learn anndata
    python tests/data/expected_lsi.py ../shared/data
"""

import json
import sys
from pathlib import Path

import anndata
import numpy as np
import scipy.sparse as sp
import sklearn
from sklearn.decomposition import TruncatedSVD

counts = anndata.read_h5ad(Path(sys.argv[1]) / "multiome_pbmc40_atac_peaks.h5ad").X.astype(float)
depth = np.asarray(counts.sum(axis=1)).ravel()
idf = counts.shape[0] / np.asarray(counts.sum(axis=0)).ravel()
tfidf = sp.csr_matrix(sp.diags(1 / depth) @ counts @ sp.diags(idf))
tfidf.data = np.log1p(1e4 * tfidf.data)
svd = TruncatedSVD(10, algorithm="arpack", random_state=0)
coordinates = svd.fit_transform(tfidf)
out = {
    "scikit_learn": sklearn.__version__,
    "sum": float(tfidf.sum()),
    "first_row": tfidf[0].data[:20].round(6).tolist(),
    "singular_values": svd.singular_values_.tolist(),
    "size_of_coordinates": np.abs(coordinates).round(4).tolist(),
    "depth_correlation": [abs(float(np.corrcoef(c, np.log(depth))[0, 1])) for c in coordinates.T],
}
Path(__file__).with_suffix(".json").write_text(json.dumps(out) + "\n")
print(out["sum"], out["singular_values"], out["depth_correlation"])
