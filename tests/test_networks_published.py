"""Shipped networks against their papers: parameters and MACs worked out here from the published
configuration, without a graph, and published totals where there are any.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from math import prod
from pathlib import Path

import numpy as np
import pytest

from accelsim.base.shipped import shipped_folder
from accelsim.workload.arithmetic import Array
from accelsim.workload.graph.float_run import evaluate
from accelsim.workload.network import Workload, load_workload


class Tally:
    """Parameters and MACs of convolutions one after another on square maps.

    ``h`` is the side of the maps now and ``c`` their channels; a branch that goes elsewhere sets
    them back.
    """

    def __init__(self, c: int, h: int) -> None:
        self.c, self.h, self.parameters, self.macs = c, h, 0, 0

    def conv(
        self,
        m: int,
        r: int = 1,
        s: int = 0,
        stride: int = 1,
        pad: int | None = None,
        groups: int = 1,
        bias: bool = False,
        norm: bool = True,
    ) -> int:
        """``m`` filters of r x s; ``norm`` has two words a channel.  Same padding unless given.
        Returns ``m``.
        """
        s = s or r
        if pad is not None or r == s:
            self.h = (self.h + 2 * (r // 2 if pad is None else pad) - r) // stride + 1
        weights = m * self.c // groups * r * s
        self.parameters += weights + m * bias + 2 * m * norm
        self.macs += weights * self.h**2
        self.c = m
        return m

    def norm(self) -> None:
        """A scale and a shift for each channel."""
        self.parameters += 2 * self.c

    def pool(self, r: int, stride: int, pad: int = 0) -> None:
        self.h = (self.h + 2 * pad - r) // stride + 1

    def gate(self, squeezed: int) -> None:
        """Squeeze and excitation: two layers of 1x1 on the means of the maps."""
        self.parameters += 2 * self.c * squeezed + squeezed + self.c
        self.macs += 2 * self.c * squeezed

    def dense(self, m: int) -> None:
        """A linear layer on the means of the maps."""
        self.parameters += m * self.c + m
        self.macs += m * self.c
        self.c = m

    def branches(self, *chains: list[tuple[int, ...]]) -> None:
        """Chains of (m, r, s) or (m, r, s, stride, pad) from the same maps, side by side.  The
        maps after them are as the last chain leaves them.
        """
        c, h, total = self.c, self.h, 0
        for chain in chains:
            self.c, self.h = c, h
            for step in chain:
                self.conv(step[0], step[1], step[2], *step[3:])
            total += self.c
        self.c = total


def squeezenet() -> Tally:
    t = Tally(3, 224)
    t.conv(96, 7, stride=2, pad=0, bias=True, norm=False)
    t.h = 54  # 109 pooled by 3 every 2, the tail kept
    for fire, (s, e) in enumerate(
        [(16, 64), (16, 64), (32, 128), (32, 128), (48, 192), (48, 192), (64, 256), (64, 256)], 2
    ):
        t.h = {5: 27, 9: 13}.get(fire, t.h)
        t.conv(s, bias=True, norm=False)
        t.conv(e, bias=True, norm=False)
        t.c = s
        t.conv(e, 3, bias=True, norm=False)
        t.c = 2 * e
    t.conv(1000, bias=True, norm=False)
    return t


def densenet121() -> Tally:
    t = Tally(3, 224)
    t.conv(64, 7, stride=2)
    t.pool(3, 2, 1)
    for layers in (6, 12, 24, 16):
        for _ in range(layers):
            c = t.c
            t.norm()
            t.conv(128)
            t.conv(32, 3, norm=False)
            t.c = c + 32
        t.norm()
        if layers != 16:
            t.conv(t.c // 2, norm=False)
            t.pool(2, 2)
    t.dense(1000)
    return t


def mobilenet_v3_large() -> Tally:
    """Table 1: filter, expanded and output channels, a gate or not, stride."""
    t = Tally(3, 224)
    t.conv(16, 3, stride=2)
    for r, wide, m, gate, stride in [
        *[(3, 16, 16, 0, 1), (3, 64, 24, 0, 2), (3, 72, 24, 0, 1), (5, 72, 40, 1, 2)],
        *[(5, 120, 40, 1, 1), (5, 120, 40, 1, 1), (3, 240, 80, 0, 2), (3, 200, 80, 0, 1)],
        *[(3, 184, 80, 0, 1), (3, 184, 80, 0, 1), (3, 480, 112, 1, 1), (3, 672, 112, 1, 1)],
        *[(5, 672, 160, 1, 2), (5, 960, 160, 1, 1), (5, 960, 160, 1, 1)],
    ]:
        if wide != t.c:
            t.conv(wide)
        t.conv(wide, r, stride=stride, groups=wide)
        if gate:
            nearest = (wide // 4 + 4) // 8 * 8
            t.gate(nearest if nearest >= 0.9 * (wide // 4) else nearest + 8)
        t.conv(m)
    t.conv(960)
    t.dense(1280)
    t.dense(1000)
    return t


def efficientnet_b0() -> Tally:
    """Table 1: expansion, filter, stride, output channels, layers."""
    t = Tally(3, 224)
    t.conv(32, 3, stride=2)
    for expand, r, stride, m, layers in [
        *[(1, 3, 1, 16, 1), (6, 3, 2, 24, 2), (6, 5, 2, 40, 2), (6, 3, 2, 80, 3)],
        *[(6, 5, 1, 112, 3), (6, 5, 2, 192, 4), (6, 3, 1, 320, 1)],
    ]:
        for i in range(layers):
            c = t.c
            if expand > 1:
                t.conv(expand * c)
            t.conv(t.c, r, stride=1 if i else stride, groups=t.c)
            t.gate(c // 4)
            t.conv(m)
    t.conv(1280)
    t.dense(1000)
    return t


def convnext_tiny() -> Tally:
    t = Tally(3, 224)
    t.conv(96, 4, stride=4, pad=0, bias=True)
    for m, blocks in [(96, 3), (192, 3), (384, 9), (768, 3)]:
        if m > 96:
            t.norm()
            t.conv(m, 2, stride=2, pad=0, bias=True, norm=False)
        for _ in range(blocks):
            t.conv(m, 7, groups=m, bias=True)
            t.conv(4 * m, bias=True, norm=False)
            t.conv(m, bias=True, norm=False)
            t.parameters += m  # a factor for each channel
    t.norm()
    t.dense(1000)
    return t


def unet() -> Tally:
    t = Tally(1, 572)

    def twice(m: int) -> None:
        for _ in range(2):
            t.conv(m, 3, pad=0, bias=True, norm=False)

    for m in (64, 128, 256, 512):
        twice(m)
        t.pool(2, 2)
    twice(1024)
    for m in (512, 256, 128, 64):
        # Every word of 2 m channels makes 2 x 2 words of m.
        t.parameters += 4 * 2 * m * m + m
        t.macs += 4 * 2 * m * m * t.h**2
        t.h, t.c = 2 * t.h, 2 * m
        twice(m)
    t.conv(2, bias=True, norm=False)
    assert t.h == 388
    return t


def inception_v4() -> Tally:
    """Figures 3 to 8 and table 1: chains of (m, r, s)."""
    t = Tally(3, 299)
    t.conv(32, 3, stride=2, pad=0)
    t.conv(32, 3, pad=0)
    t.conv(64, 3)
    t.branches([(96, 3, 3, 2, 0)])
    t.c += 64
    t.branches(
        [(64, 1, 1), (96, 3, 3, 1, 0)], [(64, 1, 1), (64, 7, 1), (64, 1, 7), (96, 3, 3, 1, 0)]
    )
    t.branches([(192, 3, 3, 2, 0)])
    t.c += 192
    for _ in range(4):
        one, three = [(96, 1, 1)], [(64, 1, 1), (96, 3, 3)]
        t.branches(one, one, three, [*three, (96, 3, 3)])
    c = t.c
    t.branches([(384, 3, 3, 2, 0)], [(192, 1, 1), (224, 3, 3), (256, 3, 3, 2, 0)])
    t.c += c
    for _ in range(7):
        t.branches(
            [(128, 1, 1)],
            [(384, 1, 1)],
            [(192, 1, 1), (224, 1, 7), (256, 7, 1)],
            [(192, 1, 1), (192, 1, 7), (224, 7, 1), (224, 1, 7), (256, 7, 1)],
        )
    c = t.c
    t.branches(
        [(192, 1, 1), (192, 3, 3, 2, 0)],
        [(256, 1, 1), (256, 1, 7), (320, 7, 1), (320, 3, 3, 2, 0)],
    )
    t.c += c
    for _ in range(3):
        assert (t.c, t.h) == (1536, 8)
        t.branches([(256, 1, 1)], [(256, 1, 1)])
        for chain in ([(384, 1, 1)], [(384, 1, 1), (448, 1, 3), (512, 3, 1)]):
            t.c = 1536
            t.branches(chain)
            t.branches([(256, 1, 3)], [(256, 3, 1)])
        t.c = 1536
    t.dense(1000)
    return t


def enet_encoder() -> Tally:
    """Table 1; a normalized tensor has a slope for each channel if a PReLU follows."""
    t = Tally(3, 512)

    def bottleneck(m: int, down: bool = False, asymmetric: bool = False) -> None:
        t.conv(m // 4, 2 if down else 1, stride=1 + down, pad=0)
        if asymmetric:
            t.conv(m // 4, 1, 5, norm=False)
            t.conv(m // 4, 5, 1, bias=True)
        else:
            t.conv(m // 4, 3, bias=True)
        t.conv(m)
        t.parameters += 2 * (m // 4) + m

    t.conv(13, 3, stride=2, bias=True, norm=False)
    t.c = 16
    t.norm()
    t.parameters += 16
    bottleneck(64, down=True)
    for _ in range(4):
        bottleneck(64)
    bottleneck(128, down=True)
    for _ in range(2):
        for i in range(1, 9):
            bottleneck(128, asymmetric=i in (3, 7))
    assert (t.c, t.h) == (128, 64)
    return t


# Published parameters in millions and MACs in billions: SqueezeNet, DenseNet-121, MobileNet-v3,
# EfficientNet-B0, ConvNeXt-T as torchvision.models lists them (0.19), which are also the papers'
# (Howard 2019 table 3: 5.4 M, 219 M; Tan 2019 table 2: 5.3 M, 0.39 B; Liu 2022 table 9: 29 M,
# 4.5 G).
PUBLISHED: dict[str, tuple[Callable[[], Tally], float | None, float | None]] = {
    "squeezenet": (squeezenet, 1.248424, 0.82),
    "densenet121": (densenet121, 7.978856, 2.83),
    "mobilenet_v3_large": (mobilenet_v3_large, 5.483032, 0.22),
    "efficientnet_b0": (efficientnet_b0, 5.288548, 0.39),
    "convnext_tiny": (convnext_tiny, 28.589128, 4.46),
    "unet": (unet, None, None),
    "inception_v4": (inception_v4, None, None),
    "enet_encoder": (enet_encoder, None, None),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_convolutional_network_is_its_paper_s(name: str) -> None:
    formula, millions, billions = PUBLISHED[name]
    workload, counted = load_workload(name), formula()
    assert workload.network is not None
    parameters = sum(workload.network.parameter_count(n) for n in workload.network.nodes)
    assert (parameters, workload.macs) == (counted.parameters, counted.macs)
    assert millions is None or parameters == round(millions * 1e6)
    assert billions is None or abs(workload.macs / 1e9 - billions) < 0.006


# Transformers -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("seq", "past"), [(1024, 0), (1, 1023), (7, 0), (5, 11)])
def test_gpt2_is_its_paper_s(seq: int, past: int) -> None:
    """12 layers of 768 features; the published 124 439 808 words have both embeddings."""
    d, layers, words, places = 768, 12, 50257, 1024
    workload = load_workload("gpt2", {"seq": seq, "past": past})
    assert workload.network is not None
    layer = 4 * (d * d + d) + 8 * d * d + 5 * d + 4 * d
    parameters = sum(workload.network.parameter_count(n) for n in workload.network.nodes)
    assert parameters == layers * layer + 2 * d + words * d == 124_439_808 - places * d
    attention = 2 * seq * (past + seq) * d
    assert workload.macs == layers * (12 * seq * d * d + attention) + words * d
    assert _cache(workload) == 2 * layers * (past + seq) * d


@pytest.mark.parametrize(("seq", "past"), [(2048, 0), (1, 2048), (3, 5)])
def test_llama3_8b_is_its_paper_s(seq: int, past: int) -> None:
    """Table 3 of the paper: 32 layers, 32 heads over 8; the published 8 030 261 248 words have the
    embedding, too.  Keys and values are of 8 heads, and every head meets every one of them.
    """
    d, wide, heads, groups, layers, words = 4096, 14336, 32, 8, 32, 128256
    each = d // heads
    workload = load_workload("llama3_8b", {"seq": seq, "past": past})
    assert workload.network is not None
    weights = 2 * d * d + 2 * d * groups * each + 3 * d * wide
    parameters = sum(workload.network.parameter_count(n) for n in workload.network.nodes)
    assert parameters == layers * (weights + 2 * d) + d + words * d
    assert parameters + words * d == 8_030_261_248
    attention = 2 * heads * seq * (past + seq) * each
    assert workload.macs == layers * (seq * weights + attention) + words * d
    assert _cache(workload) == 2 * layers * (past + seq) * groups * each


def _cache(workload: Workload) -> int:
    """Words of keys and values that a network leaves for the next token."""
    assert workload.network is not None
    shapes = workload.network.shapes
    return sum(prod(shapes[x]) for x in workload.network.outputs if x != "logits")


SMALL = {  # sizes of a file and those of a small network of the same graph
    "gpt2": {"3072": "24", "768": "12", "50257": "11"},
    "llama3_8b": {
        **{"14336": "32", "4096": "128", "1024": "32", "128256": "11"},
        **{"512": "16", "128": "4", "64": "2"},
    },
}


@pytest.mark.parametrize("name", SMALL)
def test_a_token_with_the_cache_is_the_last_of_a_prompt(tmp_path: Path, name: str) -> None:
    """Reading 5 tokens under a causal mask, or 4 and then one with what they left, is the same."""
    graph = (shipped_folder("workloads") / f"{name}.yaml").read_text().partition("\nname:")[2]
    number = re.compile(r"\b\d+\b")
    text = number.sub(lambda m: SMALL[name].get(m[0], m[0]), graph.replace("llama3_8b", "small"))
    (tmp_path / "small.yaml").write_text(f"name:{text}")
    rng = np.random.default_rng(5)
    whole, first, last = (
        load_workload(tmp_path / "small.yaml", {"seq": seq, "past": past}).network
        for seq, past in ((5, 0), (4, 0), (1, 4))
    )
    assert whole is not None and first is not None and last is not None
    rows = whole.inputs["mask"][1] // 5  # of the mask, for each token
    images = {k: rng.standard_normal((1, *shape)) for k, shape in whole.inputs.items()}
    mask = np.triu(np.full((5, 5), -1e9), 1).repeat(rows, axis=0)[None, None]
    weights = {k: rng.standard_normal(s) for k, s in whole.all_parameters.items()}

    def given(start: int, stop: int) -> dict[str, Array]:
        """The inputs of tokens ``start`` to before ``stop``."""
        taken = {key: x[:, start:stop] for key, x in images.items() if key != "mask"}
        return taken | {"mask": mask[:, :, start * rows : stop * rows, :stop]}

    prompt = evaluate(whole, given(0, 5), weights)
    left = evaluate(first, given(0, 4), weights)
    cache = {
        key: left[f"h{key[2:]}_{'keys' if key[0] == 'k' else 'values'}"]
        for key in last.inputs
        if key[:2] in ("k_", "v_")
    }
    token = evaluate(last, given(4, 5) | cache, weights)
    assert cache and np.allclose(token["logits"], prompt["logits"], rtol=1e-6, atol=1e-6)
    for name_of in last.outputs:
        assert np.allclose(token[name_of], prompt[name_of], rtol=1e-6, atol=1e-6), name_of
