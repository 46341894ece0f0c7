"""Caffe: every layer type that can be imported, phases and data layers, and random networks against
a second reader of protobuf text.
"""

from __future__ import annotations

import re
from math import ceil, prod
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_importers import accelsim, refused

from accelsim.base.yaml_writing import to_yaml
from accelsim.engines.golden import golden_network
from accelsim.importers.caffe import import_caffe
from accelsim.importers.network_builder import UnsupportedError
from accelsim.workload.graph.weights import random_weights
from accelsim.workload.network import load_workload
from accelsim.workload.profile import profile

HEAD = 'input: "data" input_shape { dim: 1 dim: 4 dim: 7 dim: 9 }\n'
# The layers under test stand before a convolution, since a network must have one.
LAST = """layer { name: "last" type: "Convolution" bottom: "%s" top: "last" convolution_param { \
num_output: 1 kernel_size: 1 } }\n"""


def caffe(tmp_path: Path, text: str, *options: Any, **named: Any) -> Any:
    file = tmp_path / "net.prototxt"
    file.write_text(text)
    return import_caffe(file, *options, **named)


def layer(kind: str, fields: str = "", bottoms: str = "data", tops: str = "y") -> str:
    ends = "".join(f' bottom: "{b}"' for b in bottoms.split())
    ends += "".join(f' top: "{t}"' for t in tops.split())
    return f'layer {{ name: "y" type: "{kind}"{ends} {fields} }}\n'


def computed(tmp_path: Path, text: str, node: str, x: Any = None) -> tuple[Any, Any, Any]:
    """What a layer makes of its input, with the input and the weights by name."""
    imported = caffe(tmp_path, HEAD + text + LAST % "data")
    graph = imported.workload.network
    weights = random_weights(graph, 1)
    x = np.random.default_rng(0).normal(size=(2, 4, 7, 9)) if x is None else x
    tensors = golden_network.run(graph, x, weights)
    (tmp_path / "w.yaml").write_text(to_yaml(imported.workload))
    assert load_workload(tmp_path / "w.yaml") == imported.workload
    return tensors[node], x, weights


def lrn(x: Any) -> Any:
    """Within a channel, as Caffe pools: means over the whole window, zeros outside."""
    framed = np.pad(x * x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    total = sum(framed[:, :, i : i + 7, j : j + 9] for i in range(3) for j in range(3))
    return x * (1 + 2 * total / 9) ** -0.75


def interp(x: Any, height: int, width: int) -> Any:
    """Bilinear, corners on corners, a pixel at a time."""
    n, c, h, w = x.shape
    made = np.empty((n, c, height, width))
    for i in range(height):
        for j in range(width):
            y = i * (h - 1) / (height - 1) if height > 1 else 0
            z = j * (w - 1) / (width - 1) if width > 1 else 0
            a, b = int(y), int(z)
            up, right = min(a + 1, h - 1), min(b + 1, w - 1)
            top = x[:, :, a, b] * (b + 1 - z) + x[:, :, a, right] * (z - b)
            low = x[:, :, up, b] * (b + 1 - z) + x[:, :, up, right] * (z - b)
            made[:, :, i, j] = top * (a + 1 - y) + low * (y - a)
    return made


def pyramid(x: Any) -> Any:
    """The largest of all words, and of four windows of 4x5 on maps of 7x9, framed on top and left
    and below and right by the padding of one that 8x10 has more.
    """
    framed = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)), constant_values=-np.inf)
    four = [framed[:, :, i : i + 4, j : j + 5].max(axis=(2, 3)) for i in (0, 4) for j in (0, 5)]
    return np.concatenate([x.max(axis=(2, 3)), np.stack(four, axis=2).reshape(len(x), -1)], axis=1)


def normalized(x: Any, axes: tuple[int, ...]) -> Any:
    centred = x - x.mean(axis=axes, keepdims=True)
    return centred / (np.sqrt((centred**2).mean(axis=axes, keepdims=True)) + 1e-9)


def selu(x: Any) -> Any:
    return 1.0507009873554805 * np.where(x > 0, x, 1.6732632423543772 * np.expm1(x))


PLAIN = {
    "AbsVal": ("", np.abs),
    "BNLL": ("", lambda x: np.log1p(np.exp(x))),
    "ReLU6": ("", lambda x: np.clip(x, 0, 6)),
    "Clip": ("clip_param { min: -0.5 max: 0.25 }", lambda x: np.clip(x, -0.5, 0.25)),
    "Power": ("power_param { power: 2 scale: 0.5 shift: 3 }", lambda x: (3 + 0.5 * x) ** 2),
    "Exp": ("exp_param { base: 2 scale: 0.5 shift: 1 }", lambda x: 2 ** (1 + 0.5 * x)),
    "Log": ("log_param { base: 10 shift: 9 }", lambda x: np.log10(9 + x)),
    "Swish": ("", lambda x: x / (1 + np.exp(-x))),
    "SeLu": ("", selu),
    "LRN": (
        "lrn_param { local_size: 3 alpha: 2 beta: 0.75 norm_region: WITHIN_CHANNEL }",
        lrn,
    ),
    "Permute": (
        "permute_param { order: 0 order: 2 order: 3 order: 1 }",
        lambda x: x.transpose(0, 2, 3, 1),
    ),
    "Reshape": (
        "reshape_param { shape { dim: 0 dim: 2 dim: -1 dim: 0 } }",
        lambda x: x.reshape(2, 2, 14, 9),
    ),
    "ShuffleChannel": (
        "shuffle_channel_param { group: 2 }",
        lambda x: x[:, [0, 2, 1, 3]],
    ),
    "Tile": ("tile_param { tiles: 3 }", lambda x: np.tile(x, (1, 3, 1, 1))),
    "Flatten": ("flatten_param { axis: 2 }", lambda x: x.reshape(2, 4, 63)),
    "Reduction": (
        "reduction_param { operation: SUMSQ axis: 2 coeff: 2 }",
        lambda x: 2 * (x * x).sum(axis=(2, 3)),
    ),
    "Upsample": ("upsample_param { scale: 2 }", lambda x: x.repeat(2, 2).repeat(2, 3)),
    "Interp": ("interp_param { height: 5 width: 17 }", lambda x: interp(x, 5, 17)),
    "Interp zoom": ("interp_param { zoom_factor: 2 }", lambda x: interp(x, 13, 17)),
    "Interp shrink": (
        "interp_param { shrink_factor: 2 pad_beg: -1 pad_end: -1 }",
        lambda x: interp(x[:, :, 1:-1, 1:-1], 3, 4),
    ),
    "Interp zoom, shrink": (
        "interp_param { zoom_factor: 3 shrink_factor: 4 }",
        lambda x: interp(x, 4, 7),
    ),
    "Interp to one": ("interp_param { height: 1 width: 9 }", lambda x: x[:, :, :1]),
    "MVN": ("", lambda x: normalized(x, (2, 3))),
    "MVN whole": ("mvn_param { across_channels: true }", lambda x: normalized(x, (1, 2, 3))),
    "MVN mean": (
        "mvn_param { normalize_variance: false }",
        lambda x: x - x.mean(axis=(2, 3), keepdims=True),
    ),
    "SPP": ("spp_param { pyramid_height: 2 }", pyramid),
    "SPP of one": (
        "spp_param { pyramid_height: 1 pool: AVE }",
        lambda x: x.mean(axis=(2, 3), keepdims=True),
    ),
}


@pytest.mark.parametrize("kind", PLAIN)
def test_layers_without_weights(tmp_path: Path, kind: str) -> None:
    fields, wanted = PLAIN[kind]
    got, x, _ = computed(tmp_path, layer(kind.split()[0], fields), "y")
    np.testing.assert_allclose(got, wanted(x), rtol=1e-9, atol=1e-12)


def test_layers_of_several_tensors(tmp_path: Path) -> None:
    slices = layer("Slice", "slice_param { slice_point: 1 slice_point: 3 }", "data", "a b c")
    for fields, wanted in (
        ("operation: MAX", lambda a, b: np.maximum(a, b)),
        ("operation: PROD", lambda a, b: a * b),
        ("coeff: 1 coeff: -1", lambda a, b: a - b),
        ("coeff: 0.5 coeff: 3", lambda a, b: 0.5 * a + 3 * b),
    ):
        text = (
            slices
            + f'layer {{ name: "z" type: "Eltwise" bottom: "a" bottom: "c" top: "z" \
eltwise_param {{ {fields} }} }}\n'
        )
        got, x, _ = computed(tmp_path, text, "z")
        np.testing.assert_allclose(got, wanted(x[:, :1], x[:, 3:]), rtol=1e-12)
    text = (
        slices
        + 'layer { name: "z" type: "Crop" bottom: "data" bottom: "d" top: "z" \
crop_param { axis: 2 offset: 1 offset: 2 } }\n'
    )
    pool = 'layer { name: "d" type: "Pooling" bottom: "data" top: "d" pooling_param { \
kernel_size: 3 } }\n'
    got, x, _ = computed(tmp_path, pool + text, "z")
    np.testing.assert_array_equal(got, x[:, :, 1:6, 2:9])


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (layer("Scale"), lambda x, w: x * w["y_scale.value"]),
        (
            layer("Scale", "scale_param { bias_term: true }"),
            lambda x, w: x * w["y_scale.value"] + w["y_shift.value"],
        ),
        (
            layer("Scale", "scale_param { axis: 2 num_axes: -1 }"),
            lambda x, w: x * w["y_scale.value"],
        ),
        (layer("Bias"), lambda x, w: x + w["y_shift.value"]),
        (layer("PReLU"), lambda x, w: np.where(x > 0, x, x * w["y_slope.value"])),
        (
            layer("Normalize", "norm_param { across_spatial: false channel_shared: false }"),
            lambda x, w: x / np.sqrt((x * x).sum(1, keepdims=True) + 1e-10) * w["y_scale.value"],
        ),
    ],
)
def test_layers_with_weights(tmp_path: Path, text: str, wanted: Any) -> None:
    got, x, weights = computed(tmp_path, text, "y")
    np.testing.assert_allclose(got, wanted(x, weights), rtol=1e-9, atol=1e-12)
    sizes = {weights[name].shape for name in weights if name.startswith("y_")}
    assert sizes <= {(4, 1, 1), (1, 7, 9)}


def test_squeeze_and_excitation(tmp_path: Path) -> None:
    """A second tensor scales channels: Scale with axis 0, and the fork's Axpy."""
    pool = 'layer { name: "p" type: "Pooling" bottom: "data" top: "p" pooling_param { pool: AVE \
global_pooling: true } }\nlayer { name: "f" type: "Flatten" bottom: "p" top: "f" }\n'
    text = pool + layer("Scale", "scale_param { axis: 0 }", "data f")
    got, x, _ = computed(tmp_path, text, "y")
    np.testing.assert_allclose(got, x * x.mean((2, 3), keepdims=True), rtol=1e-12)
    got, x, _ = computed(tmp_path, pool + layer("Axpy", "", "p data data"), "y")
    np.testing.assert_allclose(got, x * x.mean((2, 3), keepdims=True) + x, rtol=1e-12)


BN = 'layer { name: "bn" type: "BatchNorm" bottom: "data" top: "bn" }\n'


def test_the_second_half_of_a_normalization(tmp_path: Path) -> None:
    """Once, in place or read by it alone; anything else is a product of its own."""
    half = layer("Scale", "scale_param { bias_term: true }", "bn", "bn")
    for text, kinds in (
        (BN + half, ["batch_norm"]),
        (BN + half + half, ["batch_norm", "parameter", "multiply", "parameter", "add"]),
        (
            BN + half.replace('top: "bn"', 'top: "s"') + layer("ReLU", "", "bn", "r"),
            ["batch_norm", "parameter", "multiply", "parameter", "add", "relu"],
        ),
    ):
        graph = caffe(tmp_path, HEAD + text + LAST % "bn").workload.network
        assert [n.op.type for n in graph.nodes][:-1] == kinds


def test_pooling_that_rounds_down(tmp_path: Path) -> None:
    for fields, side in (("", 4), ("ceil_mode: false", 3), ("round_mode: FLOOR", 3)):
        pool = layer("Pooling", f"pooling_param {{ kernel_size: 2 stride: 2 {fields} }}")
        assert caffe(tmp_path, HEAD + pool + LAST % "y").workload.network.shapes["y"][1] == side


def test_depthwise_types_of_forks(tmp_path: Path) -> None:
    for kind in ("ConvolutionDepthwise", "DepthwiseConvolution"):
        text = layer(kind, "convolution_param { num_output: 8 kernel_size: 3 }")
        workload = caffe(tmp_path, HEAD + text).workload
        p = workload.layers[0].problem()
        assert (p.G, p.M, p.C) == (4, 2, 1)


def test_weights_shared_by_name(tmp_path: Path) -> None:
    shared = 'param { name: "w" } param { name: "b" }'
    conv = "convolution_param { num_output: 4 kernel_size: 1 }"
    for second, parameters in ((shared, 20), ('param { name: "w" }', 24), ("", 40)):
        text = (
            f'layer {{ name: "a" type: "Convolution" bottom: "data" top: "a" {shared} {conv} }}\n'
        )
        text += f'layer {{ name: "b" type: "Convolution" bottom: "a" top: "b" {second} {conv} }}\n'
        workload = caffe(tmp_path, HEAD + text).workload
        assert profile(workload).total.parameters == parameters
    old = text.replace("layer {", "layers {").replace('"Convolution"', "CONVOLUTION")
    old = re.sub(r'param \{ name: ("\w")', r"param: \1 blobs_lr { x: 1", old)
    with_second = old.replace('top: "b"', 'top: "b" param: "w" param: "b"')
    assert profile(caffe(tmp_path, HEAD + with_second).workload).total.parameters == 20


# Data layers and phases ---------------------------------------------------------------------------


SOURCES = {
    "MemoryData": "memory_data_param { batch_size: 2 channels: 3 height: 5 width: 6 }",
    "DummyData": "dummy_data_param { shape { dim: 1 dim: 3 dim: 5 dim: 6 } }",
    "DummyData old": "dummy_data_param { num: 1 channels: 3 height: 5 width: 6 }",
    "ImageData": "image_data_param { new_height: 5 new_width: 6 is_color: false }",
    "WindowData": "window_data_param { crop_size: 6 }",
    "Data": "transform_param { crop_size: 6 force_gray: true }",
    "AnnotatedData": "transform_param { resize_param { height: 5 width: 6 } mean_value: 1"
    " mean_value: 2 mean_value: 3 }",
    "Input": "input_param { shape { dim: 1 dim: 3 dim: 5 dim: 6 } }",
}


@pytest.mark.parametrize(
    ("kind", "shape", "note"),
    [
        ("MemoryData", (3, 5, 6), "--batch 2"),
        ("DummyData", (3, 5, 6), ""),
        ("DummyData old", (3, 5, 6), ""),
        ("ImageData", (1, 5, 6), "5x6"),
        ("WindowData", (3, 6, 6), "taken to have 3"),
        ("Data", (1, 6, 6), "6x6"),
        ("AnnotatedData", (3, 5, 6), "resize_param"),
        ("Input", (3, 5, 6), ""),
    ],
)
def test_data_layers_that_state_their_shape(
    tmp_path: Path, kind: str, shape: tuple[int, ...], note: str
) -> None:
    source = f'type: "{kind.split()[0]}" {SOURCES[kind]}'
    text = f'layer {{ name: "d" {source} top: "data" }}\n' + LAST % "data"
    imported = caffe(tmp_path, text)
    assert imported.workload.network.inputs["data"] == shape
    assert note in " ".join(imported.notes)


def test_phases(tmp_path: Path) -> None:
    """Data that only training reads say what images are; a Python layer's need --input."""
    data = 'layer { name: "d" type: "Data" top: "data" top: "label" transform_param { crop_size: \
8 } include { phase: TRAIN } }\n'
    imported = caffe(tmp_path, data + LAST % "data")
    assert imported.workload.network.inputs == {"data": (3, 8, 8)}
    assert "d (Data) is of training: its images are taken" in imported.notes
    python = data.replace('"Data"', '"Python"').replace("include { phase: TRAIN }", "")
    python = python.replace("crop_size: 8", "")
    assert "has no shape here" in refused(caffe, tmp_path, python + LAST % "data")
    assert caffe(tmp_path, python + LAST % "data", (3, 4, 4)).workload.network.inputs["data"] == (
        3,
        4,
        4,
    )
    for rule, there in (
        ("include { phase: TEST }", True),
        ("include { phase: TRAIN } include { phase: TEST }", True),
        ('include { phase: TEST stage: "x" }', False),
        ('exclude { stage: "x" }', True),
        ("exclude { phase: TEST }", False),
        ("include { min_level: 1 }", False),
        ('include { not_stage: "x" }', True),
    ):
        text = HEAD + layer("ReLU", rule, "data", "data") + LAST % "data"
        assert ("y" in caffe(tmp_path, text).workload.network.by_name) == there, rule


def test_what_needs_labels_is_left_out(tmp_path: Path) -> None:
    text = (
        'layer { name: "d" type: "Data" top: "data" top: "label" transform_param { crop_size: \
8 } }\n'
        + LAST % "data"
    )
    text += layer("Slice", "", "label", "l1 l2") + layer("SmoothL1LossOHEM", "", "last l1", "loss")
    imported = caffe(tmp_path, text)
    assert [n.name for n in imported.workload.network.nodes] == ["last"]
    assert sum("it needs labels" in note for note in imported.notes) == 2


# What is refused, and said ------------------------------------------------------------------------


def test_a_pooling_mask_is_no_circle(tmp_path: Path) -> None:
    text = layer("Pooling", "pooling_param { kernel_size: 2 }", "data", "p mask")
    text += layer("Upsample", "", "p mask", "u")
    with pytest.raises(UnsupportedError) as caught:
        caffe(tmp_path, HEAD + text)
    assert "mask, what y (Pooling) makes besides its first top, cannot be imported" in str(
        caught.value
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            'net: "a.prototxt" base_lr: 1',
            "is a solver's file: the network is in the file that its net",
        ),
        (HEAD + layer("Permute", "permute_param { order: 1 order: 0 }"), "moves the batch"),
        (
            HEAD + layer("Slice", "", "data", "a b c"),
            "the 4 words along axis 1 must be 3 equal pieces",
        ),
        (
            HEAD + layer("Reshape", "reshape_param { shape { dim: 5 } }"),
            "shape must have the 252 words",
        ),
        (HEAD + layer("Convolutin"), "there is no operator for Convolutin; nearest: Convolution"),
        (HEAD + layer("Pooling", "pooling_param { global_pooling: true pad: 1 }"), "no padding"),
        (HEAD + layer("Eltwise", "eltwise_param { coeff: 1 }", "data data"), "coeff goes with SUM"),
    ],
)
def test_caffe_refusals(tmp_path: Path, text: str, message: str) -> None:
    assert message in refused(caffe, tmp_path, text)


def test_layers_left_out(tmp_path: Path) -> None:
    text = HEAD + LAST % "data" + layer("Foo", "", "last", "rois") + layer("ReLU", "", "rois", "r")
    assert "there is no operator for Foo" in refused(caffe, tmp_path, text)
    imported = caffe(tmp_path, text, skip={"Foo"})
    assert imported.notes == (
        "y (Foo) skipped: what it makes, and 1 layers that read it, is not in the result",
    )
    accelsim("import", tmp_path / "net.prototxt", "--skip", "Foo")
    boxes = text.replace("Foo", "DetectionOutput")
    assert caffe(tmp_path, boxes).notes == (
        "y (DetectionOutput) left out, it works on the answer: what it makes, and 1 layers that"
        " read it, is not in the result",
    )
    behind = boxes + (LAST % "r").replace("last", "second")
    assert "there is no operator for it, and second needs it" in refused(caffe, tmp_path, behind)
    assert len(caffe(tmp_path, behind, skip={"DetectionOutput"}).workload.layers) == 1


def test_interp_as_large_as_another(tmp_path: Path) -> None:
    text = layer("Interp", "interp_param { use_blob_size: true }", "d data", "z")
    text = layer("Pooling", "pooling_param { kernel_size: 3 }", tops="d").replace(
        'name: "y"', 'name: "d"'
    ) + text.replace('name: "y"', 'name: "z"')
    got, _, _ = computed(tmp_path, text, "z")
    small = computed(tmp_path, text, "d")[0]
    np.testing.assert_allclose(got, interp(small, 7, 9), rtol=1e-9)


def test_embedding(tmp_path: Path) -> None:
    text = 'input: "t" input_shape { dim: 1 dim: 5 }\n' + layer(
        "Embed", "embed_param { num_output: 3 input_dim: 7 }", "t"
    )
    text += 'layer { name: "last" type: "InnerProduct" bottom: "y" top: "last" \
inner_product_param { num_output: 2 axis: 2 } }\n'
    graph = caffe(tmp_path, text).workload.network
    weights = random_weights(graph, 1)
    tokens = np.array([[0.0, 6, 3, 3, 1]])
    got = golden_network.run(graph, tokens, weights)["y"]
    rows = weights["y_rows.weight"][tokens.astype(int)]
    np.testing.assert_allclose(got, rows + weights["y_bias.value"])


# Regions of interest ------------------------------------------------------------------------------

MAPS = 'input: "maps" input_shape { dim: 1 dim: 4 dim: 30 dim: 40 }\n'
ROIS = 'input: "rois" input_shape { dim: 300 dim: 5 }\n'
POOL = "roi_pooling_param { pooled_h: 6 pooled_w: 7 spatial_scale: 0.0625 }"
HEAD_OF_REGIONS = layer("ROIPooling", POOL, "maps rois", "r") + LAST % "r"


def test_layers_of_regions_alone(tmp_path: Path) -> None:
    """The maps of a region are the input, regions the batch; nothing else is left of the file's
    inputs.
    """
    imported = caffe(tmp_path, MAPS + ROIS + HEAD_OF_REGIONS)
    assert imported.workload.network.inputs == {"r": (4, 6, 7)}
    assert imported.workload.macs == 4 * 6 * 7
    assert imported.notes == (
        "y (ROIPooling) left out: the 4x6x7 words of a region are an input, and the batch is"
        " regions",
        "the file's batch of 300 is left out: --batch 300",
    )
    (tmp_path / "w.yaml").write_text(to_yaml(imported.workload))
    assert load_workload(tmp_path / "w.yaml") == imported.workload


@pytest.mark.parametrize(
    ("kind", "fields", "shape"),
    [
        ("ROIAlign", "roi_align_param { pooled_h: 3 pooled_w: 2 sampling_ratio: 2 }", (4, 3, 2)),
        (
            "PSROIPooling",
            "psroi_pooling_param { spatial_scale: 0.0625 output_dim: 2 group_size: 3 }",
            (2, 3, 3),
        ),
    ],
)
def test_kinds_of_regions(tmp_path: Path, kind: str, fields: str, shape: tuple[int, ...]) -> None:
    text = MAPS + ROIS + layer(kind, fields, "maps rois", "r") + LAST % "r"
    assert caffe(tmp_path, text).workload.network.inputs == {"r": shape}


def test_regions_of_a_picture(tmp_path: Path) -> None:
    """What counts by pictures and what counts by regions is no one network: refused, and the
    refusal says which ``--skip`` takes the first.
    """
    conv = (LAST % "data").replace("last", "maps")
    whole = HEAD + ROIS + conv + HEAD_OF_REGIONS
    message = refused(caffe, tmp_path, whole)
    assert "y (ROIPooling, line 4): which regions, and how many, is known only when" in message
    assert message.endswith(
        "import --skip ROIPooling leaves every such node out, and what is behind it"
    )
    imported = caffe(tmp_path, whole, skip={"ROIPooling"})
    assert imported.workload.names == ("maps",)
    assert imported.notes == (
        "y (ROIPooling) skipped: what it makes, and 1 layers that read it, is not in the result",
    )
    accelsim("import", tmp_path / "net.prototxt", "--skip", "ROIPooling")
    # Regions of an input beside layers of the same input.
    beside = HEAD.replace("data", "maps") + ROIS + HEAD_OF_REGIONS
    beside += (LAST % "maps").replace("last", "second")
    assert "maps is read beside the regions" in refused(caffe, tmp_path, beside)
    # A proposal that the network makes by itself.
    asked = layer("Proposal", "", "maps", "rois").replace('name: "y"', 'name: "p"')
    whole = HEAD + conv + asked + HEAD_OF_REGIONS
    message = refused(caffe, tmp_path, whole)
    assert "p (Proposal): there is no operator for it, and last needs it" in message
    assert "--skip Proposal" in message
    assert caffe(tmp_path, whole, skip={"Proposal"}).workload.names == ("maps",)


def test_only_what_helps_is_named(tmp_path: Path) -> None:
    """No ``--skip`` where nothing is left then, none of all convolutions; several where it takes
    several.
    """
    assert "--skip" not in refused(caffe, tmp_path, HEAD + layer("Foo", "", "data", "f"))
    wrong = (LAST % "data").replace("num_output: 1", "num_output: 1 group: 3")
    assert "--skip" not in refused(caffe, tmp_path, HEAD + wrong)
    foo = layer("Foo", "", "last", "f") + layer("Bar", "", "f", "b") + layer("Baz", "", "last", "z")
    assert "import --skip Baz --skip Foo leaves" in refused(
        caffe, tmp_path, HEAD + LAST % "data" + foo
    )


# Random networks ----------------------------------------------------------------------------------


def second_reader(text: str) -> list[dict[str, Any]]:
    """The layers of a prototxt with a field on every line, by regular expressions."""
    layers = []
    for body in re.findall(r"^layer \{\n(.*?)^\}", text, re.MULTILINE | re.DOTALL):
        fields: dict[str, Any] = {"bottom": [], "top": []}
        for key, value in re.findall(r"^\s*(\w+): \"?([\w.-]+)\"?$", body, re.MULTILINE):
            if key in ("bottom", "top"):
                fields[key].append(value)
            else:
                fields[key] = value
        layers.append(fields)
    return layers


def drawn(rng: np.random.Generator) -> str:
    """A network of layers whose counts are known, a field a line."""
    text = 'input: "data"\ninput_shape {\n dim: 1\n dim: 4\n dim: 24\n dim: 20\n}\n'
    last = "data"
    for i in range(int(rng.integers(2, 9))):
        kind = str(rng.choice(["Convolution", "Convolution", "Pooling", "ReLU", "InnerProduct"]))
        if kind == "InnerProduct" and i < 4:
            kind = "Convolution"
        fields = [f'name: "l{i}"', f'type: "{kind}"', f'bottom: "{last}"', f'top: "l{i}"']
        if kind == "Convolution":
            inner = [
                f"num_output: {4 * int(rng.integers(1, 3))}",
                f"kernel_size: {rng.choice([1, 3])}",
            ]
            inner += [
                f"{k}: {v}"
                for k, v in (("pad", 1), ("stride", 2), ("group", 2), ("bias_term", "false"))
                if rng.random() < 0.4
            ]
            fields.append("convolution_param {\n  " + "\n  ".join(inner) + "\n }")
        elif kind == "Pooling":
            fields.append(
                f"pooling_param {{\n  kernel_size: 2\n  stride: {rng.integers(1, 3)}\n }}"
            )
        elif kind == "InnerProduct":
            fields.append(f"inner_product_param {{\n  num_output: {rng.integers(1, 9)}\n }}")
        text += "layer {\n " + "\n ".join(fields) + "\n}\n"
        last = f"l{i}"
        if kind == "InnerProduct":
            break
    return (
        text
        + "layer {\n"
        + ' name: "end"\n type: "InnerProduct"\n bottom: "'
        + last
        + '"\n top: "end"\n num_output: 3\n}\n'.replace(
            "num_output: 3", "inner_product_param {\n  num_output: 3\n }"
        )
    )


@pytest.mark.parametrize("seed", range(50))
def test_networks_as_another_reader_reads_them(tmp_path: Path, seed: int) -> None:
    text = drawn(np.random.default_rng(seed))
    shape, macs, parameters = (4, 24, 20), 0, 0
    fits = True
    for each in second_reader(text):
        m, k = int(each.get("num_output", 0)), int(each.get("kernel_size", 0))
        pad, u = int(each.get("pad", 0)), int(each.get("stride", 1))
        if each["type"] == "Convolution":
            g, sides = int(each.get("group", 1)), [(n + 2 * pad - k) // u + 1 for n in shape[1:]]
            fits &= min(n + 2 * pad for n in shape[1:]) >= k
            weights = m * (shape[0] // g) * k * k
            macs += weights * prod(sides)
            parameters += weights + (m if each.get("bias_term") != "false" else 0)
            shape = (m, *sides)
        elif each["type"] == "Pooling":
            fits &= min(shape[1:]) >= k
            shape = (shape[0], *(ceil((n - k) / u) + 1 for n in shape[1:]))
        elif each["type"] == "InnerProduct":
            macs += m * prod(shape)
            parameters += m * prod(shape) + m
            shape = (m,)
    if not fits:
        assert "larger than the padded" in refused(caffe, tmp_path, text)
        return
    total = profile(caffe(tmp_path, text).workload).total
    assert (total.macs, total.parameters) == (macs, parameters)
