"""Networks as graphs: blocks, names, shapes, what is wrong with a file in one line; and the shipped
ones against torchvision's counts.
"""

from __future__ import annotations

import time
from math import prod
from pathlib import Path
from typing import Any

import pytest

import accelsim as acc
from accelsim.base.errors import InputError
from accelsim.base.shipped import shipped_names
from accelsim.base.yaml_writing import to_yaml
from accelsim.workload.graph.block_arithmetic import evaluate
from accelsim.workload.graph.graph import Graph, Node, build
from accelsim.workload.layers import Conv2d, ConvTranspose2d, Gemm, Linear, MatMul
from accelsim.workload.network import Workload, load_workload
from accelsim.workload.operators.activation import Activation
from accelsim.workload.operators.combine import Add

NET = """\
name: net
input: [3, 16, 16]
blocks:
  cbr:
    parameters: [m, r]
    nodes:
      - {M: =m, R: =r, padding: same}
      - {name: bn, type: batch_norm}
      - {name: relu, type: relu}
  res:
    parameters: [m]
    nodes:
      - {name: a, block: cbr, with: {m: =2*m, r: 3}}
      - {name: b, M: =m, R: 1}
      - {name: add, type: add, inputs: [b, input]}
graph:
  - {name: stem, block: cbr, with: {m: 8, r: 5}}
  - {name: stage, block: res, repeat: 2, with: {m: 8}}
  - {name: pool, type: global_average_pool}
  - {name: fc, type: linear, M: 10}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "net.yaml"


def loaded(file: Path, text: str) -> Graph:
    file.write_text(text)
    graph = load_workload(file).network
    assert graph is not None
    return graph


def refused(file: Path, text: str) -> str:
    file.write_text(text)
    with pytest.raises(InputError) as caught:
        load_workload(file)
    return str(caught.value).removeprefix(f"{file}:")


# Graphs -------------------------------------------------------------------------------------------


def test_blocks_unroll(file: Path) -> None:
    graph = loaded(file, NET)
    reads = {n.name: n.inputs for n in graph.nodes}
    assert list(reads) == [
        *("stem", "stem_bn", "stem_relu"),
        *("stage_1_a", "stage_1_a_bn", "stage_1_a_relu", "stage_1_b", "stage_1_add"),
        *("stage_2_a", "stage_2_a_bn", "stage_2_a_relu", "stage_2_b", "stage_2_add"),
        *("pool", "fc"),
    ]
    assert reads["stage_1_add"] == ("stage_1_b", "stem_relu")
    assert reads["stage_2_add"] == ("stage_2_b", "stage_1_add")
    assert reads["pool"] == ("stage_2_add",)
    assert graph.shapes["stage_1_a"] == (16, 16, 16)
    assert (graph.shapes["fc"], graph.outputs) == ((10,), ("fc",))
    assert load_workload(file).names == (
        "stem",
        "stage_1_a",
        "stage_1_b",
        "stage_2_a",
        "stage_2_b",
        "fc",
    )
    assert graph.all_parameters["stem_bn.scale"] == (8,) and graph.all_parameters["fc.weight"] == (
        10,
        8,
    )
    assert graph.parameter_count(graph.by_name["stem_bn"]) == 16, (
        "scale and shift; mean and variance are measured"
    )


def test_nodes_in_any_order_and_several_inputs_and_outputs(file: Path) -> None:
    graph = loaded(
        file,
        "name: n\ninput: {left: [4, 8, 8], right: [4, 8, 8]}\ngraph:\n"
        "  - {name: both, type: add, inputs: [second, right]}\n"
        "  - {name: first, M: 4, R: 1, inputs: left}\n"
        "  - {name: second, M: 4, R: 1, inputs: first}\n"
        "  - {name: other, M: 2, R: 3, inputs: right}\n"
        "outputs: [other, both]\n",
    )
    assert [n.name for n in graph.nodes] == ["first", "second", "both", "other"]
    assert (graph.outputs, graph.inputs) == (
        ("other", "both"),
        {"left": (4, 8, 8), "right": (4, 8, 8)},
    )


def test_a_block_of_two_inputs(file: Path) -> None:
    text = (
        "name: n\ninput: [4, 8, 8]\nblocks:\n  join:\n    nodes:\n      - {name: a, M: 4, R: 1}\n"
        "      - {name: sum, type: add, inputs: [a, input2]}\ngraph:\n  - {name: x, M: 4, R: 1}\n"
        "  - {name: y, M: 4, R: 1}\n"
        "  - {name: j, block: join, inputs: [y, x], repeat: 2}\n"
    )
    reads = {n.name: n.inputs for n in loaded(file, text).nodes}
    assert reads["j_1_a"] == ("y",) and reads["j_1_sum"] == ("j_1_a", "x")
    assert reads["j_2_a"] == ("j_1_sum",) and reads["j_2_sum"] == ("j_2_a", "x")


def test_what_lives_when(file: Path) -> None:
    graph = loaded(file, NET)
    alive = {node.name: names for node, names in graph.live()}
    assert set(alive["stage_1_b"]) == {"stem_relu", "stage_1_a_relu", "stage_1_b"}, (
        "the shortcut waits"
    )
    assert alive["fc"] == ("pool", "fc")
    assert graph.peak_words == 8 * 256 + 2 * 16 * 256
    assert graph.live_words == {
        node: sum(prod(graph.shapes[name]) for name in names) for node, names in alive.items()
    }
    assert graph.users("stem_relu") == (graph.by_name["stage_1_a"], graph.by_name["stage_1_add"])


def test_graph_workloads_run_like_lists(file: Path) -> None:
    loaded(file, NET)
    graph, lists = load_workload(file), [x.model_dump() for x in load_workload(file).layers]
    plain = Workload.model_validate({"name": "net", "layers": lists})
    assert plain.layers == graph.layers and plain.network is None
    a, b = (acc.simulate(w, "systolic", "ws").to_frame() for w in (graph, plain))
    assert a.equals(b)
    assert graph.select(["fc"]).names == ("fc",) and graph.select(["fc"]).network is None


def test_written_back_it_is_the_same(file: Path) -> None:
    loaded(file, NET)
    graph = load_workload(file)
    file.write_text(to_yaml(graph))
    again = load_workload(file)
    assert again == graph and again.network == graph.network
    assert "layers:" not in file.read_text() and "dilation" not in file.read_text()


def test_every_array_operator_is_a_layer(file: Path) -> None:
    graph = loaded(
        file,
        "name: n\ninput: [4, 8, 8]\ngraph:\n  - {name: a, M: 2, R: 3, groups: 2}\n"
        "  - {name: b, type: depthwise, R: 3}\n"
        "  - {name: c, type: conv_transpose, M: 2, R: 2, stride: 2}\n"
        "  - {name: d, type: dense, M: 5}\n"
        "  - {name: e, type: matmul, inputs: [d, d], transpose_b: true}\n"
        "  - {name: f, type: linear, M: 3}\n",
    )
    layers = {n.name: layer for n, layer in graph.layers}
    assert [type(x) for x in layers.values()] == [
        Conv2d,
        Conv2d,
        ConvTranspose2d,
        Gemm,
        MatMul,
        Linear,
    ]
    assert layers["b"].problem().G == 4 and graph.shapes["c"] == (2, 8, 8)
    e = layers["e"].problem(3)
    assert (e.G, e.M, e.C, e.F, layers["e"].parameters) == (6, 8, 5, 8, 0)
    c = layers["c"]
    assert c.problem().direction == "grad_input" == c.directed().direction
    assert c.directed(direction="grad_input").direction == "forward"


# What is wrong ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "inputs: [b, input]",
            "inputs: [bb, input]",
            "15:32: blocks.res.nodes.add.inputs: no such node, got bb; nearest: b",
        ),
        (
            "block: cbr, with: {m: 8",
            "block: cbrr, with: {m: 8",
            "17:18: graph.stem.block: no such block, got cbrr; nearest: cbr",
        ),
        (
            "{m: 8, r: 5}",
            "{m: 8, rr: 5}",
            "17:43: graph.stem.with.rr: block cbr has no such parameter, got rr; nearest: r",
        ),
        ("{m: 8, r: 5}", "{m: 8}", "17:5: graph.stem: block cbr needs a value for r in with"),
        (
            "M: =m, R: 1",
            "M: =mm, R: 1",
            "14:19: blocks.res.nodes.b.M: no such parameter of the block, got mm; nearest: m",
        ),
        (
            "M: =m, R: 1",
            "M: =m*, R: 1",
            "14:19: blocks.res.nodes.b.M: an expression must not end there",
        ),
        (
            "M: =m, R: 1",
            "M: =m-8, R: 1",
            "14:19: blocks.res.nodes.b.M: must be 1 to 2^31 - 1, got 0",
        ),
        (
            "M: =m, R: 1",
            "M: =m//0, R: 1",
            "14:19: blocks.res.nodes.b.M: an expression must not divide by zero",
        ),
        (
            "with: {m: =2*m, r: 3}",
            "with: {m: =2*m, r: three}",
            "7:17: blocks.cbr.nodes.0.R: must be a whole number, got three",
        ),
        (
            "M: =m, R: 1}",
            "M: =m, R: 30}",
            "14:9: blocks.res.nodes.b: stage_1_b: the filter (R=30, dilation 1) is larger",
        ),
        (
            "type: batch_norm",
            "type: batchnorm",
            "8:20: blocks.cbr.nodes.bn.type: no such operator, got batchnorm; nearest: batch_norm",
        ),
        (
            "name: fc",
            "name: pool",
            "20:5: graph.pool: every node needs a name of its own, got pool twice",
        ),
        ("M: 10", "N: 10", "20:30: graph.fc.N: no such key, got N"),
        ("type: linear, M: 10", "type: linear", "graph.fc.M: must be given"),
        ("[3, 16, 16]", "[3, 0, 16]", "2:8: input: must be a list of 1 to 6 sizes"),
        ("input: [3, 16, 16]\n", "", "graph: needs an input, as input: [3, 224, 224]"),
        ("repeat: 2", "repeat: 0", "must be how many times"),
        ("block: res,", "block: res, name: stage,", "given twice"),
        (
            "- {name: a, block: cbr",
            "- {name: a, block: res",
            "13:19: blocks.res.nodes.a.block: a block must not use itself, got res uses res",
        ),
    ],
)
def test_one_line_with_its_place(file: Path, old: str, new: str, message: str) -> None:
    assert old in NET
    said = refused(file, NET.replace(old, new, 1))
    assert message in said and "\n" not in said, said


def test_cycles_and_shapes(file: Path) -> None:
    head = "name: n\ninput: [4, 8, 8]\ngraph:\n"
    cycle = head + (
        "  - {name: a, M: 4, R: 1, inputs: c}\n  - {name: b, M: 4, R: 1}\n"
        "  - {name: c, M: 4, R: 1}\n"
    )
    assert "4:5: graph.a" in (said := refused(file, cycle)) or "graph.a.inputs" in said
    assert "nodes must not read themselves in a circle: a reads c reads b reads a" in said
    mismatch = head + "  - {name: a, M: 3, R: 1}\n  - {name: s, type: add, inputs: [a, input]}\n"
    assert (
        "5:5: graph.s: s: add needs shapes that agree or are 1 (counted from the last axis), got"
        " 3x8x8 and 4x8x8" in refused(file, mismatch)
    )
    few = head + "  - {name: s, type: add}\n"
    assert "add reads at least 2 tensors, got 1" in refused(file, few)
    nothing = head + "  - {name: r, type: relu}\n"
    assert "must have a node that runs on the array" in refused(file, nothing)
    both = head + "  - {name: r, M: 1, R: 1}\nlayers:\n  - {type: linear, M: 1, C: 1}\n"
    assert "layers: must not be given beside graph" in refused(file, both)
    assert "input: goes with graph" in refused(
        file, "name: n\ninput: [1]\nlayers:\n  - {type: linear, M: 1, C: 1}\n"
    )
    assert "layers or graph must be given" in refused(file, "name: n\n")
    outputs = head + "  - {name: r, M: 1, R: 1}\noutputs: [rr]\n"
    assert "outputs: no such node, got rr; nearest: r" in refused(file, outputs)


def test_sizes_beyond_reason_are_refused_at_once(file: Path) -> None:
    start = time.process_time()
    for node in (
        "type: max_pool, R: 1",
        "type: average_pool, R: 2000000000",
        "type: upsample, scale: 2147483647",
        "M: 2147483647, R: 1",
    ):
        refused(
            file,
            f"name: n\ninput: [1, 2147483647, 2147483647]\ngraph:\n  - {{name: a, {node}}}\n"
            f"  - {{name: f, type: linear, M: 1}}\n",
        )
    big = loaded(
        file,
        "name: n\ninput: [2147483647, 1, 1]\ngraph:\n  - {name: a, type: local_response_norm}\n"
        "  - {name: f, type: linear, M: 1}\n",
    )
    assert big.work(big.by_name["a"]).operations["add"] == 5 * 2147483647 - 6
    wide = "".join(f"  - {{name: n{i}, type: relu, inputs: input}}\n" for i in range(3000))
    names = ", ".join(f"n{i}" for i in range(990))
    graph = loaded(
        file,
        "name: n\ninput: [1, 2, 2]\ngraph:\n"
        f"{wide}  - {{name: c, type: concat, inputs: [{names}]}}\n  - {{name: f, M: 1, R: 1}}\n",
    )
    assert graph.peak_words >= 4 * 3000, "what nobody reads leaves the network and stays to its end"
    assert time.process_time() - start < 5


def test_a_file_that_doubles_is_refused_at_once(file: Path) -> None:
    blocks = "".join(
        f"  b{i}:\n    nodes:\n      - {{name: x, block: b{i + 1}}}\n"
        f"      - {{name: y, block: b{i + 1}}}\n"
        for i in range(15)
    )
    start = time.process_time()
    text = (
        f"name: n\ninput: [1, 4, 4]\nblocks:\n{blocks}  b15:\n    nodes:\n      - {{M: 1, R: 1}}\n"
        f"graph:\n  - {{name: g, block: b0}}\n"
    )
    said = refused(file, text)
    assert (
        "at most 10000 nodes once its blocks are unrolled" in said
        and time.process_time() - start < 2
    )
    many = text.replace("block: b0}", "block: b15, repeat: 1001}")
    assert "of at most 1000" in refused(file, many)


def test_graphs_in_python() -> None:
    relu, add = Activation(type="relu"), Add(type="add")
    graph = build("g", {"x": (2, 3)}, [Node("sum", add, ("r", "x")), Node("r", relu, ("x",))])
    assert [n.name for n in graph.nodes] == ["r", "sum"]
    with pytest.raises(ValueError, match="no such node, got y"):
        build("g", {"x": (2, 3)}, [Node("r", relu, ("y",))])


@pytest.mark.parametrize(
    ("text", "value"),
    [("=2*m+1", 17), ("=(m-2)*3//4", 4), ("=m", 8), ("=w", "same"), ("= m - 3 - 2", 3)],
)
def test_expressions(text: str, value: Any) -> None:
    assert evaluate(text, {"m": 8, "w": "same"}) == value


@pytest.mark.parametrize(
    "text",
    [
        "=",
        "=m m",
        "=2**3",
        "=(m",
        "=m)",
        "=w+1",
        "=m.real",
        "=9999999999999999999",
        "=" + "(" * 79,
        "=m" * 60,
        "=-m",
        "=m; 1",
    ],
)
def test_what_is_not_an_expression(text: str) -> None:
    with pytest.raises(ValueError, match=r"expression|parameter"):
        evaluate(text, {"m": 8, "w": "same"})


# The shipped networks -----------------------------------------------------------------------------

# Parameters with batch normalization's scales and shifts: what torchvision.models counts (0.19,
# `sum(p.numel())`), the auxiliary classifiers of Inception-v3 and GoogLeNet left out; MACs of
# convolutions and linear layers.
COUNTS = {
    "resnet18": (11_689_512, 1_814_073_344),
    "resnet34": (21_797_672, 3_663_761_408),
    "resnet50": (25_557_032, 4_089_184_256),
    "resnet101": (44_549_160, 7_801_405_440),
    "resnet152": (60_192_808, 11_513_626_624),
    "vgg11": (132_863_336, 7_609_090_048),
    "vgg13": (133_047_848, 11_308_466_176),
    "vgg16": (138_357_544, 15_470_264_320),
    "vgg19": (143_667_240, 19_632_062_464),
    "inception_v3": (23_834_568, 5_713_216_096),
    "mobilenet_v2": (3_504_872, 300_774_272),
    "mobilenet_v1": (4_231_976, 568_740_352),  # Howard 2017, table 8: 4.2 M, 569 M
    "bert_base_layer": (
        7_087_872,
        931_135_488,
    ),  # a twelfth of the 85 054 464 of BERT-base's encoder
    "vit_s_block": (1_774_464, 378_391_296),
    "googlenet": (6_998_552, 1_582_671_872),
}


@pytest.mark.parametrize("name", COUNTS)
def test_counts(name: str) -> None:
    workload = load_workload(name)
    assert workload.network is not None
    parameters = sum(workload.network.parameter_count(n) for n in workload.network.nodes)
    assert (parameters, workload.macs) == COUNTS[name]


def test_transformers_by_hand() -> None:
    t, d, h = 128, 768, 3072
    assert load_workload("bert_base_layer").macs == 4 * t * d * d + 2 * t * t * d + 2 * t * d * h
    graph = load_workload("vit_s_block").network
    assert graph is not None
    assert graph.shapes["attn_scores"] == (6, 197, 197) and graph.shapes["attn_context"] == (
        6,
        197,
        64,
    )
    assert 7_087_872 * 12 == 85_054_464


def test_every_shipped_graph_is_shaped() -> None:
    ends = {
        "bert_base_layer": (128, 768),
        "vit_s_block": (197, 384),
        "lenet5": (10,),
        "unet": (2, 388, 388),
        "enet_encoder": (128, 64, 64),
        "gpt2": (1, 50257),
        "llama3_8b": (1, 128256),
        "qwen3_8b": (1, 151936),
        "mixtral_8x7b": (1, 32000),
        "bert_base": (768,),
    }
    for name in shipped_names("workloads"):
        graph = load_workload(name).network
        assert graph is not None, name
        # A network with a cache leaves keys and values, too, which test_networks_published counts.
        outputs = [x for x in graph.outputs if not x.endswith(("_keys", "_values"))]
        assert [graph.shapes[x] for x in outputs] == [ends.get(name, (1000,))], name
        assert all(prod(shape) > 0 for shape in graph.shapes.values())


def test_a_shipped_file_loads_quickly() -> None:
    load_workload("resnet152")
    start = time.process_time()
    load_workload("resnet50")
    assert time.process_time() - start < 0.25


# Parameters of a file -----------------------------------------------------------------------------

SIZED = """\
name: sized
parameters: {seq: 4, past: 0}
input: {x: [=seq, 8], cache: [=past, 8]}
blocks:
  wide:
    parameters: [m]
    nodes:
      - {name: d, type: dense, M: =m*seq}
graph:
  - {name: all, type: concat, axis: 0, inputs: [cache, x]}
  - {name: w, block: wide, with: {m: =seq}}
outputs: [w, w_d]
"""


@pytest.mark.parametrize(("seq", "past"), [(4, 0), (1, 7), (3, 2), (5, 1)])
def test_parameters_of_a_file(file: Path, seq: int, past: int) -> None:
    """In inputs, graph and blocks; an input of no words is not there.  Given from outside they are
    as if the file said so.
    """
    file.write_text(SIZED)
    asked = load_workload(file, {"seq": seq, "past": past})
    assert asked.macs == (seq + past) * 8 * seq * seq
    assert asked.network is not None
    assert list(asked.network.inputs) == (["x", "cache"] if past else ["x"])
    assert load_workload(asked) == asked
    assert load_workload(asked, {"seq": 4, "past": 0}) == load_workload(file)
    file.write_text(SIZED.replace("seq: 4, past: 0", f"seq: {seq}, past: {past}"))
    assert load_workload(file) == asked
    file.write_text(to_yaml(asked))
    assert load_workload(file) == asked
    (row,) = acc.simulate(load_workload(file), "systolic", "ws", params={"seq": 1, "past": 1}).rows
    assert row.columns["macs"] == 2 * 8


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[=past", "[=pst", "3:1: input: no such parameter of the file, got pst; nearest: past"),
        (
            "m: =seq",
            "m: =sq",
            "graph.w.with.m: no such parameter of the file, got sq; nearest: seq",
        ),
        (
            "=m*seq",
            "=m*sq",
            "blocks.wide.nodes.d.M: no such parameter of the block, got sq; nearest",
        ),
        ("[=seq, 8]", "[=past, 8]", "graph.all.inputs: cache has no words; only concat goes"),
        ("seq: 4", "seq: -4", "parameters.seq: must be"),
        ("[=past, 8]", "[=past-1, 8]", "input: sizes must be at least 0, got cache [-1, 8]"),
        ("parameters: {seq", "parameterz: {seq", "nearest: parameters"),
        ("outputs: [w, w_d]", "outputs: [w, w_e]", "outputs: no such node, got w_e"),
    ],
)
def test_a_parameter_of_a_file_in_one_line(file: Path, old: str, new: str, message: str) -> None:
    assert old in SIZED
    said = refused(file, SIZED.replace(old, new, 1))
    assert message in said and "\n" not in said, said


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ([1], "params: must be values by name, got list"),
        ({"pst": 1}, "param: sized has no such parameter, got pst; nearest: past"),
        ({"seq": 1.5}, "param seq: must be a whole number, got 1.5"),
        ({"seq": True}, "param seq: must be a whole number, got True"),
        ({"seq": -1}, "param seq: must be 0 to 2^31 - 1, got -1"),
        ({"seq": 0}, "blocks.wide.nodes.d.M: must be 1 to 2^31 - 1, got 0"),
    ],
)
def test_a_wrong_parameter_from_outside(file: Path, params: Any, message: str) -> None:
    file.write_text(SIZED)
    with pytest.raises(InputError) as caught:
        load_workload(file, params)
    assert message in str(caught.value) and "\n" not in str(caught.value)
    with pytest.raises(InputError, match="lenet5 has no such parameter, got seq"):
        load_workload("lenet5", {"seq": 1})


# Equal blocks -------------------------------------------------------------------------------------


@pytest.mark.parametrize("whole", [False, True], ids=["layers", "end to end"])
def test_equal_blocks_are_evaluated_once(whole: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Twelve equal blocks cost one, and each block's rows are what its layers give alone."""
    from accelsim.results import network_run, simulate

    module = network_run if whole else simulate
    evaluated, original = [], module.layer_row

    def counted(workload: str, layer: str, *rest: Any, **named: Any) -> Any:
        evaluated.append(layer)
        return original(workload, layer, *rest, **named)

    monkeypatch.setattr(module, "layer_row", counted)
    network = load_workload("gpt2", {"seq": 4, "past": 3})
    run = acc.simulate(network, "systolic", "ws", tiles="rule", end_to_end=whole)
    assert len(evaluated) == len({x.problem() for x in network.layers}) < 10
    rows = {row.columns["layer"]: row.columns for row in run.rows}
    assert {*network.names} <= rows.keys()
    for name in ("h1_q", "h7_scores", "h12_proj"):
        (alone,) = acc.simulate(network.select([name]), "systolic", "ws", tiles="rule").rows
        assert {key: rows[name][key] for key in alone.columns} == alone.columns


def test_operators_of_graphs_among_layers(tmp_path: Path) -> None:
    """Each is named as such, with what to write instead where layers have it, too."""
    from accelsim.workload.graph.entries import OPERATORS
    from accelsim.workload.layers import LAYER_TYPES

    kinds = OPERATORS.keys() - LAYER_TYPES
    assert {"depthwise", "dense", "relu"} <= kinds
    for kind in kinds:
        (tmp_path / "w.yaml").write_text(f"name: n\nlayers:\n  - {{name: a, type: {kind}, M: 1}}\n")
        with pytest.raises(InputError, match=r"layers.a.type: .* operator of graphs") as caught:
            load_workload(tmp_path / "w.yaml")
        assert str(caught.value).startswith(f"{tmp_path / 'w.yaml'}:3:")
        if kind == "depthwise":
            assert "a conv2d with groups for its channels" in str(caught.value)
