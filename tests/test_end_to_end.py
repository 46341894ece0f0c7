"""Whole networks: layers on the array, the rest on the vector unit; every word golden's, and what
stays on the chip.
"""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pytest
from quick import slow_but
from test_cli import Done, accelsim

import accelsim as acc
from accelsim.base.errors import InputError
from accelsim.engines import analytic, event
from accelsim.engines.analytic import vector_unit as vector
from accelsim.engines.moved import columns
from accelsim.mapping.nest import Nest
from accelsim.mapping.residency import ResidencyPlan, plan
from accelsim.results import layer_row
from accelsim.workload.graph.graph import Graph
from accelsim.workload.graph.weights import random_images, random_weights
from accelsim.workload.operators.array import ArrayOperator, Product
from accelsim.workload.operators.operator import Work
from accelsim.workload.problem import TENSORS

INT8 = {"bits.weight": 8, "bits.ifmap": 8, "bits.psum": 32, "bits.ofmap": 8}


def run(network, arch="systolic", flow="ws", **options):
    return acc.simulate(network, arch, flow, end_to_end=True, **options)


# Every tensor is golden's -------------------------------------------------------------------------


def every_tensor(
    name: str, flow: str, arch: str = "eyeriss", engine: str = "event", **options
) -> None:
    """At full size in int8: every node's words and every layer's accumulators; counts and cycles
    are analytic's (``check``).
    """
    result = run(name, arch, flow, engine=engine, overrides=INT8, **options)
    assert result.bit_exact is True and result.failures == ()
    graph = acc.load_workload(name).network
    said = {row.columns["layer"] for row in result.rows}
    silent = [n.name for n in graph.nodes if n.name not in said]  # those that only rename words
    assert all(row.columns["bit_exact"] is True for row in result.rows)
    assert all(not graph.work(graph.by_name[n]).reads for n in silent)
    assert sum(r["macs"] for r in result.records()) == sum(
        layer.problem().macs for _, layer in graph.layers
    )


@pytest.mark.parametrize("flow", ["ws", "os", "rs"])
def test_lenet5(flow: str) -> None:
    every_tensor("lenet5", flow)


def test_lenet5_clock_by_clock() -> None:
    every_tensor("lenet5", "os", "systolic", engine="cycle")


@pytest.mark.slow
def test_resnet18() -> None:
    every_tensor("resnet18", "ws", "systolic", fuse_buffers=True)


@pytest.mark.slow
@pytest.mark.parametrize("flow", ["ws", "os", "rs"])
@pytest.mark.parametrize("name", ["alexnet", "googlenet", "resnet18", "mobilenet_v1"])
def test_full_size(name: str, flow: str) -> None:
    every_tensor(name, flow)


SMALL = """
name: small
input: [4, 9, 9]
graph:
  - {name: conv1, M: 8, R: 3, padding: 1, bias: true}
  - {name: bn1, type: batch_norm}
  - {name: relu1, type: relu}
  - {name: dw, type: depthwise, R: 3, stride: 2, padding: 1}
  - {name: expand, M: 8, R: 1, stride: 2, inputs: relu1}
  - {name: add, type: add, inputs: [dw, expand]}
  - {name: up, type: conv_transpose, M: 4, R: 2, stride: 2, bias: true}
  - {name: pool, type: max_pool, R: 2}
  - {name: both, type: concat, inputs: [pool, add]}
  - {name: flat, type: reshape, shape: [12, 25]}
  - {name: other, type: dense, M: 25}
  - {name: product, type: matmul, inputs: [other, flat], transpose_b: true}
  - {name: fc, type: linear, M: 5, bias: true}
  - {name: softmax, type: softmax}
"""


@pytest.fixture
def small(tmp_path: Path) -> str:
    file = tmp_path / "small.yaml"
    file.write_text(SMALL)
    return str(file)


KINDS_ON = ("systolic ws", "systolic os", "eyeriss rs", "shidiannao os", "tpu_v1 ws")


@pytest.mark.parametrize(
    ("on", "fuse"),
    slow_but(
        [("systolic ws", True), ("eyeriss rs", True), ("shidiannao os", False)],
        [(on, fuse) for on in KINDS_ON for fuse in (False, True)],
    ),
)
def test_every_kind_of_node(small: str, on: str, fuse: bool) -> None:
    arch, flow = on.split()
    for options in ({"engine": "event"}, {"check": True}):
        result = run(
            small, arch, flow, batch=2, fuse_buffers=fuse, overrides={"bits.psum": 32}, **options
        )
        assert result.bit_exact is True and result.failures == ()
    rows = {r["layer"]: r for r in result.records()}
    assert rows["up"]["direction"] == "grad_input" and "flat" not in rows
    assert rows["conv1"]["snr_db"] > 30


def test_the_rows_of_layers_are_those_of_a_run_by_layers() -> None:
    alone = {r["layer"]: r for r in acc.simulate("lenet5", "eyeriss", "rs", batch=2).records()}
    whole = [r for r in run("lenet5", "eyeriss", "rs", batch=2).records() if r["layer"] in alone]
    assert len(whole) == len(alone) == 5
    for row in whole:
        assert {k: row[k] for k in alone[row["layer"]]} == alone[row["layer"]]


def test_data_of_ones_own(tmp_path: Path) -> None:
    graph = acc.load_workload("lenet5").network
    weights, images = random_weights(graph, 3), random_images(graph, 3, 4)
    np.savez(tmp_path / "weights.npz", **weights)
    np.savez(tmp_path / "images.npz", **images)
    mine = run(
        "lenet5", engine="event", data=tmp_path / "images.npz", weights=tmp_path / "weights.npz"
    )
    assert mine.bit_exact is True and mine.rows[0].columns["batch"] == 3
    said = mine.to_frame()["snr_db"].tolist()
    assert (
        said
        == run("lenet5", engine="event", data=images, weights=weights).to_frame()["snr_db"].tolist()
    )
    others = [{"batch": 3}, {"data": images}, {"weights": weights, "batch": 3}]
    assert all(
        run("lenet5", engine="event", **x).to_frame()["snr_db"].tolist() != said for x in others
    )
    with pytest.raises(InputError, match=r"weights.conv2.weight: must be given"):
        run(
            "lenet5",
            engine="event",
            weights={k: v for k, v in weights.items() if k != "conv2.weight"},
        )
    with pytest.raises(InputError, match="must be the batch of the data's images"):
        run("lenet5", engine="event", data=images, batch=2)
    with pytest.raises(
        InputError, match=r"images.input: must have the batch first, then 1x28x28, got 3x28x28"
    ):
        run("lenet5", engine="event", data={"input": np.zeros((3, 28, 28))})
    with pytest.raises(InputError, match=r"weights.conv1.weight: must be given"):
        run("lenet5", engine="event", weights={})


def test_a_wrong_word_is_found_and_where(monkeypatch: pytest.MonkeyPatch) -> None:
    real = event.run

    def broken(nest, data, events=None):
        out = real(nest, data, events)
        if nest.problem.M == 16:  # conv2
            out.outputs[0, 0, 3, 2, 1] += 1 << 12
        return out

    monkeypatch.setattr(event, "run", broken)
    result = run("lenet5", check=True, overrides={"dram": "unlimited"})
    exact = {r["layer"]: r["bit_exact"] for r in result.records()}
    assert (
        exact["conv1"]
        and exact["pool1"]
        and not exact["conv2"]
        and not exact["tanh2"]
        and not exact["fc1"]
    )
    assert result.failures[0].startswith("conv2 ws: ofmap[n=0,g=0,m=3,e=2,f=1]: expected ")
    assert any(f.startswith("tanh2 ws: word [0,3,2,1]: expected ") for f in result.failures)


def test_a_layer_that_cannot_be_mapped_is_a_row() -> None:
    result = run(
        "lenet5",
        "eyeriss",
        "rs",
        engine="event",
        tiles="rule",  # which folds K here; other tiles do not need to
        overrides={"array.rows": 4, "array.fold_filter": False} | INT8,
    )
    rows = {r["layer"]: r for r in result.records()}
    assert (
        rows["conv1"]["error"]
        and rows["conv1"]["cycles"] is None
        and rows["tanh1"]["bit_exact"] is True
    )


# The vector unit ----------------------------------------------------------------------------------


def test_by_hand() -> None:
    """1 000 words in and 500 out, four reads of each on a unit of 8 lanes, a DRAM of 16 bits a
    cycle behind an SRAM.
    """
    arch = acc.load_architecture(
        "systolic",
        {
            "vector.lanes": 8,
            "vector.rates": {"exp": 0.5},
            "levels.dram.port_bits": 16,
            "levels.dram.ports": "separate",
        },
    )
    work = Work({"add": 2000, "exp": 100}, 4000, 500)
    done = vector.run(arch, work, [(1000, False)], (500, False))
    assert done.cost.cycles == done.cost.computing == 2000 // 8 + 100 // 4
    assert done.reads == {("dram", "ifmap"): 1000, ("sram", "ifmap"): 4000, ("sram", "ofmap"): 500}
    assert done.writes == {("sram", "ifmap"): 1000, ("sram", "ofmap"): 500, ("dram", "ofmap"): 500}
    assert done.deliveries == {("link", "ifmap"): 1000, ("link", "ofmap"): 500}
    assert done.cycles == 1000 * 8 // 16 and done.stalls == {
        "dram": 500 - 275
    }  # waits for its 1 000 words
    stays = vector.run(arch, work, [(1000, True)], (500, True))
    assert (
        stays.reads == {("sram", "ifmap"): 4000}
        and stays.writes == {("sram", "ofmap"): 500}
        and stays.deliveries == {}
    )
    assert stays.cycles == 275 and stays.stalls == {}
    narrower = arch.model_copy(update={"vector": arch.vector.model_copy(update={"read_words": 4})})
    narrow = vector.run(narrower, work, [(1000, True)], (500, True))
    assert narrow.cycles == 1000 and narrow.stalls == {"vector": 725}


def test_parameters_are_read_once_a_run() -> None:
    arch = acc.load_architecture("eyeriss")
    work = Work({"add": 10}, 10 + 4, 10, 4)  # four words of its own
    done = vector.run(arch, work, [(30, False)], (30, False), batch=3)
    assert (
        done.reads["dram", "weight"]
        == done.writes["glb", "weight"]
        == done.reads["glb", "weight"]
        == 4
    )
    assert done.reads["glb", "ifmap"] == 30 and done.cost.reads == 34


@pytest.mark.parametrize("network", slow_but(["lenet5"], ["lenet5", "googlenet"]))
@pytest.mark.parametrize(("arch", "unit"), [("systolic", "pj"), ("eyeriss", "mac")])
def test_energy_adds_up(arch: str, unit: str, network: str) -> None:
    for row in run(network, arch, "ws").records():
        parts = [
            k
            for k in row
            if k.startswith("energy_")
            and k.endswith(f"_{unit}")
            and k.split("_")[1] not in (*TENSORS, unit)
        ]
        assert sum(row[k] or 0.0 for k in parts) == pytest.approx(row[f"energy_{unit}"])


def test_bigger_costs_more() -> None:
    few, many = (
        run("lenet5", "systolic", overrides={"vector.lanes": n}).records()[1] for n in (4, 64)
    )
    assert (
        many["area_um2"] > few["area_um2"]
        and many["area_vector_um2"] == 16 * few["area_vector_um2"]
    )
    assert many["cycles"] < few["cycles"] and many["energy_vector_pj"] == few["energy_vector_pj"]
    free = {
        "levels": dict.fromkeys(("dram", "sram", "reg"), 0.0),
        "networks": dict.fromkeys(("link", "lines"), 0.0),
    }
    own = {"mac": 1.0, "vector": {"exp": 9.0}} | free
    rows = {r["layer"]: r for r in run("lenet5", "systolic", overrides={"energy": own}).records()}
    assert (
        rows["pool1"]["energy_vector_mac"] == rows["pool1"]["vector_operations"]
        and rows["softmax"]["energy_vector_mac"] > 9 * 10
    )


# What stays on the chip ---------------------------------------------------------------------------


def outside(arch: acc.Architecture):
    """Bits of a layer over the outermost level, from its result's columns."""

    def bits(problem, mapping) -> int:
        nest = Nest(problem, arch, mapping)
        counted = columns(nest, analytic.moves(nest))
        words = {
            t: sum(counted[f"{arch.level_names[0]}_{t}_{k}"] for k in ("reads", "writes"))
            for t in TENSORS
        }
        return sum(n * nest.footprint.word_bits(0, t) for t, n in words.items())

    return bits


def capacity_is_kept(
    graph: Graph, arch: acc.Architecture, found: ResidencyPlan, batch: int
) -> None:
    """Walked node by node with buffers that are allocated and freed: what stays and what the layer
    needs never exceed the level.
    """
    level = arch.levels[found.level]
    at = arch.level_names.index(found.level)
    wide = max(arch.bits.ifmap, arch.bits.ofmap)
    last = {name: i for i, node in enumerate(graph.nodes) for name in node.inputs}
    buffers: list[dict] = []
    for i, node in enumerate(graph.nodes):
        work = graph.work(node)
        words = int(np.prod(graph.shapes[node.name])) * batch
        mine = [b for b in buffers if set(node.inputs) & b["names"]]
        if node.name in found.stays:
            moves = isinstance(node.op, ArrayOperator) or work.total or work.reads or work.writes
            each = work.writes == words // batch == work.reads - work.parameters and work.total
            once = each and graph.shapes[node.name] == graph.input_shapes(node)[0]
            over = [
                b for b in mine if all(last.get(n, -1) <= i for n in b["names"])
            ]  # nobody reads it after this
            if not moves or (once and len(node.inputs) == 1 and over):
                assert mine, node.name
                mine[0]["names"].add(node.name)
            else:
                buffers.append({"names": {node.name}, "bytes": -(-words * wide // 8)})
        held = sum(b["bytes"] for b in buffers)
        wider = 0
        if level.capacity_bytes is not None and "ifmap" not in level.partitions:
            own: dict[str, int] = {}
            if node.name in found.mappings:
                nest = Nest(
                    node.op.problem(batch, *graph.input_shapes(node)),
                    arch,
                    found.mappings[node.name],
                )
                inward, outward = (
                    ("ofmap", "ifmap")
                    if nest.problem.direction == "grad_input"
                    else ("ifmap", "ofmap")
                )
                shared = [
                    t
                    for t in ("weight", "ifmap", "ofmap")
                    if t in nest.keep[at] and t not in level.partitions
                ]
                own = {t: nest.footprint.tile_bytes(at, t) for t in shared}
                assert (nest.home(inward) == at) == (node.inputs[0] in found.stays)
                assert (nest.home(outward) == at) == (node.name in found.stays)
                if nest.home(outward) == at:  # sums of psum width
                    wider = nest.footprint.tile_bytes(at, outward) - next(
                        b["bytes"] for b in buffers if node.name in b["names"]
                    )
                elsewhere = [b for b in buffers if not b["names"] & {node.inputs[0], node.name}]
            else:
                elsewhere = buffers
            sizes = [b["bytes"] for b in elsewhere] + list(own.values())
            if level.banks:
                one = level.capacity_bytes // level.banks
                sizes = [-(-n // one) * one for n in sizes]
            assert sum(sizes) <= level.capacity_bytes, node.name
            assert found.held_bytes[node.name] == held + wider, node.name
        buffers = [b for b in buffers if any(last.get(n, -1) > i for n in b["names"])]
    for name in found.stays:
        assert name not in graph.outputs and not any(
            isinstance(u.op, Product) for u in graph.users(name)
        )


@pytest.mark.parametrize(
    "name",
    slow_but(
        ("lenet5", "resnet18", "vit_s_block"),
        ("lenet5", "alexnet", "googlenet", "resnet18", "mobilenet_v2", "vit_s_block"),
    ),
)
def test_capacity_is_kept(name: str) -> None:
    graph = acc.load_workload(name).network
    kept = set()
    for arch, size in (
        ("systolic", None),
        ("systolic", 131072),
        ("eyeriss", None),
        ("tpu_v1", None),
        ("shidiannao", None),
    ):
        machine = acc.load_architecture(arch, {"levels.sram.capacity_bytes": size} if size else {})
        found = plan(
            graph,
            machine,
            acc.load_dataflow("os" if arch == "shidiannao" else "ws"),
            outside(machine),
        )
        capacity_is_kept(graph, machine, found, 1)
        kept.add(len(found.stays))
    assert max(kept) > 0


def random_graph(rng: random.Random) -> str:
    """Some convolutions, pools, activations, sums and joins of small maps, reading whatever
    fits.
    """
    size, lines = rng.randint(4, 9), []
    maps = {"input": rng.randint(1, 4)}
    for i in range(rng.randint(3, 9)):
        kind, source = (
            rng.choice(["conv", "conv", "relu", "batch_norm", "add", "concat"]),
            rng.choice([*maps][-3:]),
        )
        same = [n for n, c in maps.items() if c == maps[source] and n != source]
        if kind == "add" and same:
            lines.append(f"{{name: n{i}, type: add, inputs: [{source}, {rng.choice(same)}]}}")
            maps[f"n{i}"] = maps[source]
        elif kind == "concat" and len(maps) > 1:
            other = rng.choice([n for n in maps if n != source])
            lines.append(f"{{name: n{i}, type: concat, inputs: [{source}, {other}]}}")
            maps[f"n{i}"] = maps[source] + maps[other]
        elif kind in ("relu", "batch_norm"):
            lines.append(f"{{name: n{i}, type: {kind}, inputs: {source}}}")
            maps[f"n{i}"] = maps[source]
        else:
            maps[f"n{i}"] = rng.randint(1, 6)
            lines.append(f"{{name: n{i}, M: {maps[f'n{i}']}, R: 3, padding: 1, inputs: {source}}}")
    lines.append("{name: last, M: 2, R: 1}")
    return f"name: drawn\ninput: [{maps['input']}, {size}, {size}]\ngraph:\n" + "".join(
        f"  - {line}\n" for line in lines
    )


@pytest.mark.parametrize(
    ("start", "many"), slow_but([(20, 6)], [(20, 6), (0, 20), (20, 20), (40, 20)])
)
def test_random_graphs(start: int, many: int, tmp_path: Path) -> None:
    fewer = 0
    for seed in range(start, start + many):
        rng = random.Random(seed)
        (file := tmp_path / "drawn.yaml").write_text(random_graph(rng))
        keys = {
            "levels.sram.capacity_bytes": rng.choice([300, 600, 1200, 5000]),
            "levels.dram.port_bits": rng.choice([None, 16]),
        }
        flow, batch = rng.choice(["ws", "os", "is"]), rng.choice([1, 2])
        fused, plain = (
            run(
                str(file),
                flow=flow,
                batch=batch,
                overrides=keys,
                fuse_buffers=on,
                check=True,
                seed=seed,
            )
            for on in (True, False)
        )
        unmapped = [r for r in fused.records() if r["cycles"] is None]
        assert all(r["bit_exact"] is True for r in fused.records() if r["cycles"] is not None), (
            seed,
            fused.failures,
        )
        graph, arch = acc.load_workload(str(file)).network, acc.load_architecture("systolic", keys)
        capacity_is_kept(
            graph, arch, plan(graph, arch, acc.load_dataflow(flow), outside(arch), batch), batch
        )
        if not unmapped:
            names = [f"dram_{t}_{k}" for t in TENSORS for k in ("reads", "writes")]
            words = [sum(r[c] for r in x.records() for c in names) for x in (fused, plain)]
            assert words[0] <= words[1]  # eight bits each, all of them
            fewer += words[0] < words[1]
    assert fewer > 0.4 * many


def test_all_that_fits_leaves_weights_images_and_outputs() -> None:
    (total,) = run("resnet18", "tpu_v1", "ws", fuse_buffers=True).totals()
    graph = acc.load_workload("resnet18").network
    arrays = sum(
        int(np.prod(shape))
        for name, shape in graph.all_parameters.items()
        if name.endswith(".weight")
    )
    own = sum(graph.work(n).parameters for n in graph.nodes)
    assert total["dram_weight_reads"] == arrays + own
    assert (total["dram_ifmap_reads"], total["dram_ofmap_writes"]) == (3 * 224 * 224, 1000)
    assert total["resident_bytes"] == max(
        r["resident_bytes"] for r in run("resnet18", "tpu_v1", "ws", fuse_buffers=True).records()
    )


def test_nothing_stays_that_costs_more_than_it_saves() -> None:
    for size in (1000, 3000, 15000, 20000):
        keys = {"levels.sram.capacity_bytes": size}
        words = []
        for fuse in (False, True):
            (total,) = run("lenet5", overrides=keys, fuse_buffers=fuse).totals()
            words.append(sum(total[f"dram_{t}_{k}"] for t in TENSORS for k in ("reads", "writes")))
        assert words[1] <= words[0], size
    peak = {r["layer"]: r["resident_bytes"] for r in run("lenet5", fuse_buffers=True).records()}
    assert peak["conv1"] == 4 * 4704 and peak["tanh1"] == 4704  # sums of 32 bits, then words of 8
    seven = run(
        "lenet5", flow="os", overrides={"levels.sram.capacity_bytes": 7000}, fuse_buffers=True
    )
    assert (
        seven.records()[0]["resident_bytes"] == 4704
    )  # output-stationary sums leave the PEs whole


def test_images_are_numbers_whatever_their_type() -> None:
    pictures = np.random.default_rng(0).integers(0, 200, (2, 1, 28, 28))
    said = [
        run("lenet5", engine="event", data={"input": pictures.astype(t)})
        .to_frame()["snr_db"]
        .tolist()
        for t in (np.uint8, int, float)
    ]
    assert said[0] == said[1] == said[2]
    also = run(
        "lenet5", engine="event", data={"input": pictures, "labels": np.zeros(2, int)}
    )  # what train reads, too
    assert also.to_frame()["snr_db"].tolist() == said[0]
    with pytest.raises(
        InputError, match=r"images.input: must have the batch first, then 1x28x28, got 28x28"
    ):
        run("lenet5", engine="event", data=pictures[0, 0])
    with pytest.raises(InputError, match=r"must stay below 1e\+30 in every tensor"):
        run("lenet5", engine="event", data={"input": np.full((1, 1, 28, 28), 1e300)})


def test_what_is_refused(small: str) -> None:
    with pytest.raises(InputError, match="is a list of layers; end to end wants a whole graph"):
        run(acc.Conv2d(M=1, C=1, H=4, W=4, R=1, S=1))
    with pytest.raises(ValueError, match="direction: does not go with end_to_end"):
        run(small, direction="grad_input")
    with pytest.raises(ValueError, match="layers: does not go with end_to_end"):
        run(small, layers=["conv1"])
    with pytest.raises(ValueError, match="weights: belongs to end_to_end"):
        acc.simulate(small, "systolic", "ws", weights={})
    with pytest.raises(InputError, match=r"weights.bn1.variance: must be at least 0, got -1"):
        weights = random_weights(acc.load_workload(small).network)
        run(small, check=True, weights=weights | {"bn1.variance": np.full(8, -1.0)})
    with pytest.raises(ValueError, match="data: wants an engine that computes"):
        run(small, data={})
    with pytest.raises(ValueError, match="sample_folds computes nothing"):
        run(small, engine="cycle", sample_folds=True)


# In the shell -------------------------------------------------------------------------------------


def shell(*words: str) -> Done:
    return accelsim("run", *words)


def test_in_the_shell(tmp_path: Path) -> None:
    lenet5 = ("lenet5", "--arch", "systolic", "--dataflow")
    done = shell(
        *lenet5, "ws,os", "--fuse-buffers", "--engine", "event", "--format", "json", "--total"
    )
    rows = json.loads(done.out)
    assert done.code == 0 and len(rows) == 26 and all(r["bit_exact"] for r in rows)
    tanh = next(r for r in rows if r["layer"] == "tanh1")
    assert (
        tanh["operator"] == "tanh"
        and tanh["mapping"] == "vector unit"
        and tanh["resident"] == "conv1 tanh1"
        and tanh["arch_hash"]
    )
    table = shell(*lenet5, "ws", "--end-to-end").out
    assert "tanh1" in table and "total" in table and "vector: operations of 32 bits" in table
    assert "ofmaps that stay" not in table
    fused = shell(*lenet5, "ws", "--fuse-buffers").out
    assert "ws: ofmaps that stay on the chip take up to 18816 bytes, at conv1" in fused
    drawn = shell(*lenet5, "ws", "--end-to-end", "--plot", str(tmp_path))
    assert drawn.code == 0 and (tmp_path / "overview.png").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--end-to-end", "--layer", "conv1"), "--layer does not go with --end-to-end"),
        (
            ("--end-to-end", "--direction", "grad_input"),
            "--direction does not go with --end-to-end",
        ),
        (("--fuse-buffers", "--mapper", "edp"), "--mapper does not go with --fuse-buffers"),
        (("--data", "x.npz", "--check"), "--data wants --end-to-end"),
        (
            ("--weights", "x.npz", "--end-to-end"),
            "--weights wants --end-to-end, and --engine event or cycle, or --check",
        ),
        (
            ("--data", "x.npz", "--end-to-end"),
            "--data wants --end-to-end, and --engine event or cycle, or --check",
        ),
    ],
)
def test_options_that_do_not_go_together(words: tuple[str, ...], message: str) -> None:
    done = shell("lenet5", "--arch", "systolic", "--dataflow", "ws", *words)
    assert done.code == 2 and message in done.err and done.out == ""


def test_equal_layers_are_worked_out_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    real = layer_row.analytic.run
    monkeypatch.setattr(layer_row.analytic, "run", lambda nest: asked.append(nest) or real(nest))
    rows = acc.simulate("resnet50", "systolic", "ws").records()
    assert (
        len(rows) == 54
        and len(asked) == len({tuple(r[k] for k in r if k not in ("layer",)) for r in rows}) < 30
    )
