"""Shipped networks against their papers: parameters and MACs worked out here from the published
configuration, without a graph, and published totals where there are any.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np
import pytest
import yaml

import accelsim as acc
from accelsim.base.errors import InputError
from accelsim.base.shipped import shipped_folder
from accelsim.engines import event
from accelsim.engines.golden import golden_network
from accelsim.hardware.architecture import load_architecture
from accelsim.mapping.files import sources
from accelsim.mapping.nest import Nest
from accelsim.workload.arithmetic import Array
from accelsim.workload.graph.float_run import evaluate
from accelsim.workload.graph.graph import Graph
from accelsim.workload.graph.weights import random_images, random_weights
from accelsim.workload.network import Workload, load_workload
from accelsim.workload.problem import Problem
from accelsim.workload.quantize import calibrate, quantize

Tensors = Mapping[str, Array]


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


@dataclass(frozen=True)
class Decoder:
    """A published configuration: layers of ``d`` features, ``heads`` of ``each`` over ``groups`` of
    keys and values, ``wide`` features in between, ``words``.  ``experts``: how many there are and
    how many a token goes to; ``head_norms`` says that queries and keys have factors, too.
    """

    layers: int
    d: int
    heads: int
    groups: int
    each: int
    wide: int
    words: int
    published: int  # parameters, the embedding's too
    experts: tuple[int, int] = (1, 1)
    head_norms: bool = False

    @property
    def attention(self) -> int:
        """Weights of a layer's attention."""
        return 2 * self.d * self.heads * self.each + 2 * self.d * self.groups * self.each

    @property
    def router(self) -> int:
        return self.d * self.experts[0] if self.experts[0] > 1 else 0

    def parameters(self, active: int) -> int:
        """With ``active`` experts and without the embedding."""
        norms = 2 * self.d + 2 * self.each * self.head_norms
        layer = self.attention + self.router + active * 3 * self.d * self.wide + norms
        return self.layers * layer + self.d + self.words * self.d

    def macs(self, seq: int, past: int) -> int:
        """Every head of queries meets every token; the last token alone makes logits."""
        weights = self.attention + self.router + self.experts[1] * 3 * self.d * self.wide
        attention = 2 * self.heads * seq * (past + seq) * self.each
        return self.layers * (seq * weights + attention) + self.words * self.d


# Table 3 of arXiv 2407.21783, table 1 of 2505.09388, table 1 of 2401.04088; the totals are those of
# the weights that were published, said as 8B, 8.2B and 47B.
DECODERS = {
    "llama3_8b": Decoder(32, 4096, 32, 8, 128, 14336, 128256, 8_030_261_248),
    "qwen3_8b": Decoder(36, 4096, 32, 8, 128, 12288, 151936, 8_190_735_360, head_norms=True),
    "mixtral_8x7b": Decoder(32, 4096, 32, 8, 128, 14336, 32000, 46_702_792_704, experts=(8, 2)),
}


@pytest.mark.parametrize("name", DECODERS)
@pytest.mark.parametrize(("seq", "past", "active"), [(2048, 0, 8), (1, 2048, 2), (4, 5, 4)])
def test_a_decoder_is_its_paper_s(name: str, seq: int, past: int, active: int) -> None:
    """Keys and values are of the groups alone: 128 KiB a token in 16 bits for Llama-3-8B."""
    model = DECODERS[name]
    some = {"active": active} if model.experts[0] > 1 else {}
    workload = load_workload(name, {"seq": seq, "past": past, **some})
    assert workload.network is not None
    parameters = sum(workload.network.parameter_count(n) for n in workload.network.nodes)
    assert parameters == model.parameters(some.get("active", 1))
    assert model.parameters(model.experts[0]) + model.words * model.d == model.published
    assert workload.macs == model.macs(seq, past)
    assert _cache(workload) == 2 * model.layers * (past + seq) * model.groups * model.each


def test_mixtral_s_active_parameters_are_its_paper_s() -> None:
    """Section 2.1 and table 2: a token uses 13 of 47 billion."""
    model = DECODERS["mixtral_8x7b"]
    assert round(model.parameters(2) / 1e9) == 13 and round(model.published / 1e9) == 47


def test_tokens_that_cannot_be_dealt_are_refused() -> None:
    """8 experts cannot share the two choices of one token."""
    with pytest.raises(InputError, match="dealt"):
        load_workload("mixtral_8x7b", {"seq": 1, "past": 2048})


@pytest.mark.parametrize("seq", [128, 512, 3])
def test_bert_base_is_its_paper_s(seq: int) -> None:
    """12 layers of 768; the published 109 482 240 words have three embeddings."""
    d, wide, tables = 768, 3072, 30522 + 512 + 2
    workload = load_workload("bert_base", {"seq": seq})
    assert workload.network is not None
    layer = 4 * (d * d + d) + 2 * d * wide + wide + d + 4 * d
    parameters = sum(workload.network.parameter_count(n) for n in workload.network.nodes)
    assert parameters == 12 * layer + 2 * d + d * d + d == 109_482_240 - tables * d
    layer_macs = seq * (4 * d * d + 2 * d * wide) + 2 * seq * seq * d
    assert workload.macs == 12 * layer_macs + d * d


def test_vit_b16_is_its_paper_s() -> None:
    """Table 1 says 86 M; torchvision.models (0.19) lists 86 567 656 words and 17.56 G MACs."""
    d, wide, tokens, patch = 768, 3072, 197, 3 * 16 * 16
    workload = load_workload("vit_b16")
    assert workload.network is not None
    layer = 4 * (d * d + d) + 2 * d * wide + wide + d + 4 * d
    ends = patch * d + d + d + tokens * d + 2 * d + 1000 * d + 1000
    parameters = sum(workload.network.parameter_count(n) for n in workload.network.nodes)
    assert parameters == 12 * layer + ends == 86_567_656
    layer_macs = tokens * (4 * d * d + 2 * d * wide) + 2 * tokens * tokens * d
    assert workload.macs == 196 * patch * d + 12 * layer_macs + 1000 * d
    assert round(workload.macs / 1e9, 2) == 17.56


def _cache(workload: Workload) -> int:
    """Words of keys and values that a network leaves for the next token."""
    assert workload.network is not None
    shapes = workload.network.shapes
    return sum(prod(shapes[x]) for x in workload.network.outputs if x != "logits")


SMALL = {  # sizes of a file and those of a small network of the same graph
    "gpt2": {"3072": "24", "768": "12", "50257": "11"},
    "llama3_8b": {
        **{"14336": "32", "4096": "128", "1024": "32", "128256": "11"},
        **{"128": "4", "64": "2"},
    },
    "qwen3_8b": {
        **{"12288": "32", "4096": "128", "1024": "32", "151936": "11"},
        **{"128": "4", "64": "2"},
    },
}


def small(folder: Path, name: str, sizes: Mapping[str, str], layers: int | None = None) -> Path:
    """A file of a shipped graph with other ``sizes``, with its first ``layers`` alone."""
    graph = (shipped_folder("workloads") / f"{name}.yaml").read_text().partition("\nname:")[2]
    text = re.sub(r"\b\d+\b", lambda m: sizes.get(m[0], m[0]), graph.replace(name, "small"))
    data = yaml.safe_load(f"name:{text}")
    if layers is not None:
        *_, norm, last, logits = data["graph"]
        norm["inputs"] = f"h{layers}"
        data["graph"] = [*data["graph"][:layers], norm, last, logits]
        there = range(1, layers + 1)
        caches = {f"{which}_{at}" for which in "kv" for at in there}
        data["input"] = {
            k: v for k, v in data["input"].items() if k[:2] not in ("k_", "v_") or k in caches
        }
        data["outputs"] = ["logits", *(f"h{at}_{x}" for at in there for x in ("keys", "values"))]
    (folder / "small.yaml").write_text(yaml.safe_dump(data))
    return folder / "small.yaml"


@pytest.mark.parametrize("name", SMALL)
def test_a_token_with_the_cache_is_the_last_of_a_prompt(tmp_path: Path, name: str) -> None:
    """Reading 5 tokens under a causal mask, or 4 and then one with what they left, is the same."""
    file = small(tmp_path, name, SMALL[name])
    rng = np.random.default_rng(5)
    whole, first, last = (
        load_workload(file, {"seq": seq, "past": past}).network
        for seq, past in ((5, 0), (4, 0), (1, 4))
    )
    assert whole is not None and first is not None and last is not None
    images = {k: rng.standard_normal((1, *shape)) for k, shape in whole.inputs.items()}
    mask = np.triu(np.full((5, 5), -1e9), 1)[None, None]
    weights = {k: rng.standard_normal(s) for k, s in whole.all_parameters.items()}

    def given(start: int, stop: int) -> dict[str, Array]:
        """The inputs of tokens ``start`` to before ``stop``."""
        taken = {key: x[:, start:stop] for key, x in images.items() if key != "mask"}
        return taken | {"mask": mask[:, :, start:stop, :stop]}

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


HIDDEN_256 = {"4096": "256", "32": "8", "8": "2", "128": "32", "64": "16", "14336": "512"}


def test_a_block_of_llama_on_the_event_engine(tmp_path: Path) -> None:
    """Hidden 256, 8 heads over 2 groups: every tensor of prefill and of decoding equals the golden
    network's, and with the prompt's scales a token's words are its column of the prompt, exactly.
    """
    sizes = HIDDEN_256 | {"1024": "64", "128256": "32"}
    file, seq, arch = small(tmp_path, "llama3_8b", sizes, 1), 6, load_architecture("systolic")
    prompt, one = (load_workload(file, {"seq": n, "past": seq - n}).network for n in (seq, 1))
    assert prompt is not None and one is not None
    queries, keys = (prompt.shapes[f"h1_{x}"] for x in ("q_heads_sum", "keys"))
    assert queries == (8, seq, 32) and keys == (2, seq, 32)
    weights = random_weights(prompt)
    rng = np.random.default_rng(7)
    images = {k: rng.standard_normal((1, *shape)) for k, shape in prompt.inputs.items()}
    images["mask"] = np.triu(np.full((seq, seq), -40.0), 1)[None, None]
    (source,) = sources("ws", None)

    def on_the_array(problem: Problem, data: Mapping[str, Array]) -> Array:
        nest = Nest(problem, arch, source.mapping_of("layer", problem, arch))
        return np.asarray(event.run(nest, data).outputs)

    def words(graph: Graph, given: Mapping[str, Array], ranges: Mapping[str, float]) -> Tensors:
        net = quantize(graph, weights, ranges)
        want = golden_network.run_network(net, given, psums=True)
        got = golden_network.run_network(net, given, on_the_array, psums=True)
        assert got.keys() == want.keys()
        for name, tensor in want.items():
            np.testing.assert_array_equal(got[name], tensor, err_msg=name)
        return got

    ranges = calibrate(prompt, images, weights)
    left = words(prompt, images, ranges)
    last = {k: x[:, :, -1:] if k == "mask" else x[:, -1:] for k, x in images.items()}
    cache = {"k_1": "h1_keys", "v_1": "h1_values"}
    last |= {name: left[of][:, :, :-1] for name, of in cache.items()}
    token = words(one, last, ranges | {name: ranges[of] for name, of in cache.items()})
    for name in left:
        column = tuple(
            slice(None) if there == here else slice(-1, None)
            for there, here in zip(left[name].shape, token[name].shape, strict=True)
        )
        np.testing.assert_array_equal(token[name], left[name][column], err_msg=name)
    shares = left["h1_softmax"]
    assert (np.triu(shares[0, 0], 1) == 0).all() and shares.any()


def test_a_token_of_llama_end_to_end(tmp_path: Path) -> None:
    file = small(tmp_path, "llama3_8b", HIDDEN_256 | {"1024": "64", "128256": "32"}, 1)
    run = acc.simulate(
        file, arch="systolic", dataflow="ws", params={"seq": 1, "past": 5},
        engine="event", end_to_end=True, tiles="rule",
    )  # fmt: skip
    assert len(run.rows) > 30 and all(row.columns["bit_exact"] for row in run.rows)


def test_experts_read_the_tokens_dealt_to_them(tmp_path: Path) -> None:
    """Token t's choice c is the (c seq + t)-th that is dealt, an equal number to each expert."""
    d, wide, seq, active = 8, 6, 4, 4
    sizes = {"4096": str(d), "14336": str(wide), "1024": "8", "32": "2", "8": "2", "128": "4"}
    file = small(tmp_path, "mixtral_8x7b", sizes | {"64": "2", "32000": "11"}, 1)
    graph = load_workload(file, {"seq": seq, "past": 0, "active": active}).network
    assert graph is not None
    weights = random_weights(graph)
    tensors = evaluate(graph, random_images(graph), weights)
    x, part = tensors["h1_norm2_scaled"][0], "h1_moe_"
    gate, up, down = (
        weights[f"{part}{name}.weight"].reshape(active, -1, n)
        for name, n in (("gate", d), ("up", d), ("down", wide))
    )
    logits = x @ weights[f"{part}router.weight"].T
    shares = np.exp(logits[:, :2]) / np.exp(logits[:, :2]).sum(axis=1, keepdims=True)
    want = np.zeros_like(x)
    for c in range(2):
        for t in range(seq):
            expert = (c * seq + t) // (2 * seq // active)
            inner = gate[expert] @ x[t]
            inner = inner / (1 + np.exp(-inner)) * (up[expert] @ x[t])
            want[t] += shares[t, c] * (down[expert] @ inner)
    assert np.allclose(tensors["h1_moe_sum"][0], want, rtol=1e-6, atol=1e-9)


@pytest.mark.slow
def test_llama3_8b_whole_is_answered_quickly() -> None:
    """All layers, prompt and token, best mapping, on both arrays: at most 10 s of one core."""
    machines = ("tpu_v1", {}), ("systolic", {"array.rows": 128, "array.cols": 128})
    start = time.process_time()
    for arch, overrides in machines:
        for params in ({"seq": 2048, "past": 0}, {"seq": 1, "past": 2048}):
            run = acc.simulate("llama3_8b", arch, "ws", params=params, overrides=overrides)
            assert len(run.rows) == 32 * 9 + 1 and not run.failures
            assert run.totals()[0]["macs"] == DECODERS["llama3_8b"].macs(**params)
    assert time.process_time() - start < 10
