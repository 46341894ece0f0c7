"""PyTorch modules as workloads: their outputs, MACs and parameters are PyTorch's.

Skipped without PyTorch, which is an extra.  The modules are written here, after those of
torchvision; MACs are counted a second time by hooks on their layers.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import accelsim as acc
from accelsim.base.errors import InputError
from accelsim.engines.golden import golden_network
from accelsim.importers.network_builder import UnsupportedError
from accelsim.workload.profile import profile

torch = pytest.importorskip("torch")
nn = torch.nn
functional = torch.nn.functional


class Residual(nn.Module):  # type: ignore[misc]
    """Two convolutions with normalization, and what they read beside them."""

    def __init__(self, inside: int, outside: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(inside, outside, 3, stride, 1, bias=False),
            nn.BatchNorm2d(outside),
            nn.ReLU(inplace=True),
            nn.Conv2d(outside, outside, 3, 1, 1, bias=False),
            nn.BatchNorm2d(outside),
        )
        self.beside = nn.Conv2d(inside, outside, 1, stride) if stride > 1 else nn.Identity()

    def forward(self, x: Any) -> Any:
        return functional.relu(self.body(x) + self.beside(x))


class Inverted(nn.Module):  # type: ignore[misc]
    """An inverted residual with squeeze and excitation, as MobileNet-v3 has."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        wide = 3 * channels
        self.expand = nn.Conv2d(channels, wide, 1)
        self.depth = nn.Conv2d(wide, wide, 5, padding=2, groups=wide)
        self.squeeze, self.excite = nn.Conv2d(wide, 4, 1), nn.Conv2d(4, wide, 1)
        self.project = nn.Conv2d(wide, channels, 1)

    def forward(self, x: Any) -> Any:
        y = functional.hardswish(self.depth(functional.hardswish(self.expand(x))))
        share = functional.adaptive_avg_pool2d(y, 1)
        share = functional.hardsigmoid(self.excite(functional.relu(self.squeeze(share))))
        return x + self.project(y * share)


class Dense(nn.Module):  # type: ignore[misc]
    """Layers that read everything before them, then half the size and back, as a U-Net does."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Conv2d(4 + 3 * i, 3, 3, padding=1) for i in range(3))
        self.up = nn.ConvTranspose2d(13, 4, 2, 2)

    def forward(self, x: Any) -> Any:
        for layer in self.layers:
            x = torch.cat([x, functional.gelu(layer(x))], 1)
        return self.up(functional.max_pool2d(x, 2))


class Encoder(nn.Module):  # type: ignore[misc]
    """A transformer's block on patches, its sizes read from the tensor."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.first, self.second = nn.LayerNorm(width), nn.LayerNorm(width)
        self.q, self.k, self.v, self.out = (nn.Linear(width, width) for _ in range(4))
        self.mlp = nn.Sequential(
            nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )

    def parted(self, x: Any) -> Any:
        return x.view(x.size(0), x.size(1), self.heads, -1).transpose(1, 2)

    def forward(self, x: Any) -> Any:
        y = self.first(x)
        q, k, v = (self.parted(layer(y)) for layer in (self.q, self.k, self.v))
        y = functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        x = x + self.out(y)
        return x + self.mlp(self.second(x))


class Patches(nn.Module):  # type: ignore[misc]
    """Pictures in patches, a block, and classes of their mean."""

    def __init__(self) -> None:
        super().__init__()
        self.cut = nn.Conv2d(3, 8, 4, 4)
        self.block, self.head = Encoder(8, 2), nn.Linear(8, 5)

    def forward(self, x: Any) -> Any:
        x = self.block(self.cut(x).flatten(2).transpose(1, 2))
        return self.head(x.mean(dim=1))


def classifier() -> Any:
    return nn.Sequential(
        nn.Conv2d(3, 8, 7, 2, 3),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.MaxPool2d(3, 2, 1),
        Residual(8, 8, 1),
        Residual(8, 12, 2),
        Inverted(12),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Dropout(0.2),
        nn.Linear(12, 5),
    )


MODULES = {
    "classifier": (classifier, (3, 32, 32)),
    "dense": (Dense, (4, 8, 10)),
    "patches": (Patches, (3, 16, 16)),
}


def macs_by_hooks(module: Any, x: Any) -> int:
    """Products of weights, by each layer's output and weights."""
    counts = []

    def count(layer: Any, given: Any, made: Any) -> None:
        if isinstance(layer, nn.ConvTranspose2d):
            counts.append(given[0].numel() * layer.weight[0].numel())
        elif isinstance(layer, nn.Conv2d | nn.Linear):
            counts.append(made.numel() * layer.weight[0].numel())

    hooks = [part.register_forward_hook(count) for part in module.modules()]
    module(x)
    for hook in hooks:
        hook.remove()
    return sum(counts)


@pytest.mark.parametrize("name", MODULES)
@pytest.mark.parametrize("batch", [1, 2])
def test_a_module_is_its_workload(name: str, batch: int) -> None:
    make, shape = MODULES[name]
    torch.manual_seed(0)
    module = make()
    for part in module.modules():  # what training would have measured
        if isinstance(part, nn.BatchNorm2d):
            part.running_mean.normal_(0, 0.1)
            part.running_var.uniform_(0.5, 1.5)
    x = torch.randn(batch, *shape)
    imported = acc.from_torch(module, x, name)
    assert module.training and imported.workload.name == name and imported.workload.batch == batch
    module.eval()
    with torch.no_grad():
        want, macs = module(x).numpy(), macs_by_hooks(module, x)
    graph = imported.workload.network
    got = golden_network.run(graph, x.numpy().astype(float), imported.weights)
    np.testing.assert_allclose(got[graph.outputs[0]], want, rtol=1e-3, atol=1e-5)
    products = 2 * batch * 2 * 16 * 16 * 4 if name == "patches" else 0
    assert imported.workload.macs == macs + products
    parameters = sum(p.numel() for p in module.parameters())
    assert profile(imported.workload).total.parameters == parameters
    assert not imported.notes


def test_a_module_runs() -> None:
    imported = acc.from_torch(Inverted(4), torch.randn(1, 4, 6, 6))
    result = acc.simulate(imported.workload, "systolic", "ws", tiles="rule")
    assert [row.columns["workload"] for row in result.rows] == ["Inverted"] * 5
    assert sum(row.columns["macs"] for row in result.rows) == imported.workload.macs


def test_two_inputs_and_shared_weights() -> None:
    class Both(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Conv2d(2, 2, 3, padding=1)

        def forward(self, x: Any, y: Any) -> Any:
            return self.layer(x) - self.layer(y)

    imported = acc.from_torch(Both(), [torch.randn(1, 2, 4, 4)] * 2)
    assert profile(imported.workload).total.parameters == 2 * 2 * 9 + 2
    assert imported.workload.macs == 2 * 2 * 2 * 9 * 16


def test_what_cannot_be() -> None:
    class Sorted(nn.Module):  # type: ignore[misc]
        def forward(self, x: Any) -> Any:
            return torch.sort(x, dim=1)[0]

    class Broken(nn.Module):  # type: ignore[misc]
        def forward(self, x: Any) -> Any:
            raise RuntimeError("no\nway")

    x = torch.randn(1, 4)
    with pytest.raises(UnsupportedError, match="TopK"):
        acc.from_torch(Sorted(), x)
    for module, example, why in (
        (Broken(), x, "Broken cannot be exported by PyTorch: no way"),
        ("resnet18", x, "must be a torch.nn.Module"),
        (nn.Linear(4, 2), "x", "must be a tensor, or several"),
        (nn.Linear(4, 2), (x, 3), "must be tensors"),
        (nn.Linear(3, 2), x, "cannot be exported by PyTorch"),
    ):
        with pytest.raises(InputError) as error:
            acc.from_torch(module, example)
        assert why in str(error.value) and "\n" not in str(error.value)
