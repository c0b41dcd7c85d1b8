"""Writes expected_attribution.json: small networks with their weights, and integrated gradients by Captum on them.

    python tests/data/expected_attribution.py     # needs numpy, torch, captum
"""

import json
from pathlib import Path

import captum
import numpy as np
import torch
from captum.attr import IntegratedGradients
from torch import nn

GENES, STEPS = 14, 50
rng = np.random.default_rng(7)


def draw(*shape, scale=1.0):
    return torch.tensor(rng.normal(0, scale, shape), dtype=torch.float64)


class BatchNorm(nn.Module):
    """In evaluation: by running statistics."""

    def __init__(self, d):
        super().__init__()
        self.gamma, self.beta = 1 + draw(d, scale=0.2), draw(d, scale=0.3)
        self.running_mean, self.running_variance = draw(d, scale=0.5), draw(d).abs() + 0.3

    def forward(self, x):
        return (x - self.running_mean) / torch.sqrt(self.running_variance + 1e-5) * self.gamma + self.beta


class LayerNorm(nn.Module):
    def __init__(self, d):
        super().__init__()
        self.gamma, self.beta = 1 + draw(d, scale=0.2), draw(d, scale=0.3)

    def forward(self, x):
        return nn.functional.layer_norm(x, x.shape[-1:], self.gamma, self.beta)


class Layer(nn.Module):
    def __init__(self, n_in, n_out, norm, slope):
        super().__init__()
        self.weight, self.bias = draw(n_out, n_in, scale=1.4 / n_in**0.5), draw(n_out, scale=0.2)
        self.norm, self.slope = norm(n_out) if norm else None, slope

    def forward(self, x):
        x = x @ self.weight.T + self.bias
        x = self.norm(x) if self.norm else x
        return torch.where(x < 0, self.slope * x, x)

    def tensors(self, name, first=False):
        # The first layer on sparse rows is stored genes x hidden.
        out = {"weight": self.weight.T if first else self.weight, "bias": self.bias}
        out |= {k: v for k, v in vars(self.norm).items() if isinstance(v, torch.Tensor)} if self.norm else {}
        return {f"{name}.{k}": {"shape": list(v.shape), "values": v.flatten().tolist()} for k, v in out.items()}


def single(layers):
    """Weights as they are stored: in single precision."""
    for layer in layers:
        for part in [layer, layer.norm] if layer.norm else [layer]:
            for k, v in vars(part).items():
                if isinstance(v, torch.Tensor):
                    setattr(part, k, v.float().double())


x = torch.tensor(rng.poisson(0.6, (6, GENES)) * rng.uniform(0.3, 1.5, (6, GENES))).float().double()
direction = draw(4).float().double()

lcl = [Layer(GENES, 9, BatchNorm, 0.0), Layer(9, 6, BatchNorm, 0.0), Layer(6, 5, BatchNorm, 0.0), Layer(5, 4, BatchNorm, 1.0)]
concord = [Layer(GENES, 9, LayerNorm, 0.1), Layer(9, 4, LayerNorm, 0.1), Layer(4, 4, LayerNorm, 0.1), Layer(4, 3, None, 1.0)]
single(lcl)
single(concord)
latent = nn.Sequential(*lcl)
def cosine(v):
    return nn.functional.cosine_similarity(latent(v), direction[None], dim=1)


def classes(v):
    return nn.Sequential(*concord)(v).softmax(dim=1)


predicted = classes(x).argmax(dim=1)


def attribute(f, baseline, target=None):
    start = torch.zeros(1, GENES, dtype=torch.float64) if baseline == "zero" else x.mean(dim=0, keepdim=True)
    method = IntegratedGradients(f)
    values, delta = method.attribute(x, start, target=target, n_steps=STEPS, method="gausslegendre", return_convergence_delta=True)
    return {"baseline": baseline, "values": values.tolist(), "delta": delta.abs().tolist()}


names = [["encoder.0", "encoder.1", "projection.0", "projection.out"], ["encoder.0", "encoder.1", "classifier.0", "classifier.out"]]
out = {
    "captum": captum.__version__,
    "n_steps": STEPS,
    "x": x.tolist(),
    "direction": direction.tolist(),
    "lcl": {k: v for layer, name in zip(lcl, names[0]) for k, v in layer.tensors(name, name == "encoder.0").items()},
    "concord": {k: v for layer, name in zip(concord, names[1]) for k, v in layer.tensors(name, name == "encoder.0").items()},
    "predicted": predicted.tolist(),
    "cases": [
        {"network": "lcl", "target": "cosine", **attribute(cosine, "zero")},
        {"network": "lcl", "target": "cosine", **attribute(cosine, "mean")},
        {"network": "lcl", "target": "latent 2", **attribute(lambda v: latent(v)[:, 2], "zero")},
        {"network": "concord", "target": "class 1", **attribute(classes, "mean", target=1)},
        {"network": "concord", "target": "predicted class", **attribute(classes, "zero", target=predicted)},
    ],
}
rounded = json.loads(json.dumps(out), parse_float=lambda v: float(f"{float(v):.9g}"))
Path(__file__).with_suffix(".json").write_text(json.dumps(rounded) + "\n")
print([(c["target"], c["baseline"], np.abs(c["values"]).mean(), max(c["delta"])) for c in out["cases"]])
