"""ZigZag's cost model on given mappings; run by peers.py with the Python that has ZigZag.

Standard input: a JSON list of cases, each with ``sizes`` (N M C E F R S), ``stride``, ``rows`` and
``cols`` (sizes of the array), ``spatial`` (pairs of dimension and trips, rows first), ``sram`` and
``dram`` (pairs, outermost first) and ``port_bits`` (DRAM's, or null).  Standard output: for each,
``words`` (read and written, tensor by level), ``steps``, ``cycles`` and ``cpu_ms`` of one
evaluation.  Nothing of accelsim is imported here.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

from zigzag.cost_model.cost_model import CostModelEvaluation
from zigzag.datatypes import LayerDim, LayerOperand
from zigzag.hardware.architecture.memory_port import DataDirection
from zigzag.mapping.data_movement import DataMoveAttr
from zigzag.mapping.spatial_mapping_internal import SpatialMappingInternal
from zigzag.mapping.temporal_mapping import TemporalMapping, TemporalMappingType
from zigzag.parser.accelerator_factory import AcceleratorFactory
from zigzag.parser.workload_factory import LayerNodeFactory
from zigzag.workload.layer_node import LayerNode

THEIRS = {"N": "B", "M": "K", "C": "C", "E": "OY", "F": "OX", "R": "FY", "S": "FX"}
OPERANDS = {"weight": "W", "ifmap": "I", "ofmap": "O"}
WAYS = {
    "to_low": DataDirection.RD_OUT_TO_LOW,
    "from_low": DataDirection.WR_IN_BY_LOW,
    "to_high": DataDirection.RD_OUT_TO_HIGH,
    "from_high": DataDirection.WR_IN_BY_HIGH,
}
WIDE = 2**40  # bits a cycle of a port that is never waited for


def memory(operands: dict[str, int], serves: list[str], port_bits: int | None) -> dict[str, Any]:
    """A memory with one port for each operand and direction, or one of ``port_bits`` for all."""
    ports = []
    for operand, bits in operands.items():
        ways = ("fh", "tl", "fl", "th") if operand == "O" else ("fh", "tl")
        for way in ways:
            kind = "write" if way[0] == "f" else "read"
            ports.append((f"{kind[0]}_port_{len(ports)}", kind, bits, [f"{operand}, {way}"]))
    if port_bits is not None:
        every = [what for *_, allocated in ports for what in allocated]
        ports = [("rw_port_1", "read_write", 8, every)]
    return {
        "size": 2**60,
        "r_cost": 1.0,
        "w_cost": 1.0,
        "area": 0,
        "latency": 1,
        "mem_type": "sram",
        "auto_cost_extraction": False,
        "force_double_buffering": False,
        "operands": list(operands),
        "served_dimensions": serves,
        "ports": [
            {
                "name": name,
                "type": kind,
                "bandwidth_min": least,
                "bandwidth_max": port_bits or WIDE,
                "allocation": allocated,
            }
            for name, kind, least, allocated in ports
        ],
    }


def machine(case: dict[str, Any]) -> Any:
    """A word of each tensor in every PE, one SRAM and one DRAM for all of them."""
    both, all_three = ["D1", "D2"], {"I1": 8, "I2": 8, "O": 32}
    return AcceleratorFactory(
        {
            "name": "peer",
            "operational_array": {
                "is_imc": False,
                "unit_energy": 1.0,
                "unit_area": 0.0,
                "dimensions": both,
                "sizes": [case["rows"], case["cols"]],
                "systolic_dimensions": [],
            },
            "memories": {
                "reg_I": memory({"I1": 8}, [], None),
                "reg_W": memory({"I2": 8}, [], None),
                "reg_O": memory({"O": 32}, [], None),
                "sram": memory(all_three, both, None),
                "dram": memory(all_three, both, case["port_bits"]),
            },
        }
    ).create()


def layer(case: dict[str, Any]) -> LayerNode:
    """The convolution; its dimensions have ZigZag's letters, B K C OY OX FY FX."""
    u_h, u_w = case["stride"]
    node = {
        "id": 0,
        "name": "layer",
        "operator_type": "Conv",
        "equation": "O[b][k][oy][ox]+=W[k][c][fy][fx]*I[b][c][iy][ix]",
        "loop_dims": list(THEIRS.values()),
        "loop_sizes": [case["sizes"][ours] for ours in THEIRS],
        "dimension_relations": [f"iy={u_h}*oy+1*fy", f"ix={u_w}*ox+1*fx"],
        "operand_precision": {"W": 8, "I": 8, "O": 32, "O_final": 16},
        "operand_source": {"W": 0, "I": 0},
        "padding": None,
        "pr_loop_dims": None,
        "pr_loop_sizes": None,
    }
    mapping = {
        "name": "Conv",
        "spatial_mapping": None,
        "spatial_mapping_hint": None,
        "memory_operand_links": {"O": "O", "W": "I2", "I": "I1"},
        "temporal_ordering": [],
    }
    return LayerNodeFactory(node, [mapping]).create()


def pairs(loops: list[list[Any]]) -> list[tuple[LayerDim, int]]:
    """Loops as ZigZag lists them, innermost first."""
    return [(LayerDim(THEIRS[dim]), trips) for dim, trips in reversed(loops)]


def evaluate(case: dict[str, Any]) -> dict[str, Any]:
    node, chip = layer(case), machine(case)
    spatial = [(LayerDim(THEIRS[dim]), n) for dim, n in case["spatial"] if dim]
    # of each operand: what lies between its memories and the MACs, innermost first
    across = {op: [[], spatial, [], []] for op in node.layer_operands}
    within = {op: [[], pairs(case["sram"]), pairs(case["dram"])] for op in node.layer_operands}
    begun = time.process_time()
    unrolled = SpatialMappingInternal(across, node)
    model = CostModelEvaluation(
        accelerator=chip,
        layer=node,
        spatial_mapping=unrolled,
        spatial_mapping_int=unrolled,
        temporal_mapping=TemporalMapping(within, node, TemporalMappingType.EVEN),
    )
    spent = time.process_time() - begun
    return {
        "words": {
            ours: {
                level: {way: words(model, LayerOperand(op), at, d) for way, d in WAYS.items()}
                for at, level in enumerate(("reg", "sram", "dram"))
            }
            for ours, op in OPERANDS.items()
        },
        "steps": model.ideal_temporal_cycle,
        "cycles": [model.latency_total0, model.latency_total1, model.latency_total2],
        "cpu_ms": 1e3 * spent,
    }


def words(model: CostModelEvaluation, operand: LayerOperand, level: int, way: Any) -> float:
    """What ``memory_word_access`` is made of, before it is divided by a port's width."""
    move = model.mapping.unit_mem_data_movement[operand][level]
    return (
        move.get_attribute(DataMoveAttr.DATA_TRANS_AMOUNT_PER_PERIOD).get(way)
        * move.get_attribute(DataMoveAttr.DATA_TRANS_PERIOD_COUNT).get(way)
        * model.mapping.spatial_mapping.unit_count[operand][level + 1]
    )


if __name__ == "__main__":
    json.dump([evaluate(case) for case in json.load(sys.stdin)], sys.stdout)
