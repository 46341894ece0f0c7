"""ZigZag 3.9.1's counts of words from ours: random cases, the same machine and mapping for both,
and the rules by which its numbers follow.

A word of each tensor in every PE, an SRAM and a DRAM; loops at DRAM, loops at the SRAM, a dimension
on each axis of the array; all loops divide, as ZigZag wants them.  test_zigzag.py holds ours to the
answers kept in reference/zigzag.json; benchmarks/peers.py asks ZigZag itself.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from math import prod
from typing import Any

import accelsim as acc
from accelsim.engines import analytic

LEVELS = ("dram", "sram", "reg")
TENSORS = {"weight": "MCRS", "ifmap": "NCEFRS", "ofmap": "NMEF"}
RULES = {
    "held at the MAC": "a word that stays in a PE's register is read from it once; ours is read "
    "for every MAC",
    "psums return": "a sum that was let go goes down again for each addition, the first too, once "
    "any loop at this level or further out adds to it; ours are added where they arrive, and the "
    "first finds nothing to read",
    "windows whole": "a tile of the ifmap that slides is fetched whole; ours keeps the words that "
    "two tiles share",
}
Case = dict[str, Any]


# Cases --------------------------------------------------------------------------------------------


def random_case(rng: random.Random) -> Case:
    """A layer whose loops all divide, as ZigZag wants them."""
    sizes = {d: rng.choice([1, 2, 3, 4, 6]) for d in "NMCEF"}
    sizes |= {d: rng.choice([1, 1, 2, 3]) for d in "RS"}
    left, spatial = dict(sizes), []
    for dim in rng.sample("NMCEFRS", 2):
        trips = rng.choice([k for k in range(1, left[dim] + 1) if left[dim] % k == 0])
        left[dim] //= trips
        spatial.append((dim, trips))
    loops = [(dim, trips) for dim, n in left.items() for trips in factors(rng, n)]
    rng.shuffle(loops)
    cut = rng.randint(0, len(loops))
    stride = [rng.choice([1, 1, 2, 3]), rng.choice([1, 1, 2, 3])]
    return case(sizes, stride, spatial, loops[:cut], loops[cut:])


def case(
    sizes: dict[str, int],
    stride: list[int],
    spatial: list[tuple[str, int]],
    dram: list[tuple[str, int]],
    sram: list[tuple[str, int]],
    port_bits: int | None = None,
) -> Case:
    """As zigzag_worker.py reads it."""
    (_, rows), (_, cols) = spatial
    return {
        "sizes": sizes,
        "stride": stride,
        "rows": rows,
        "cols": cols,
        "spatial": spatial,
        "dram": dram,
        "sram": sram,
        "port_bits": port_bits,
    }


def factors(rng: random.Random, n: int) -> Iterator[int]:
    while n > 1:
        one = rng.choice([k for k in range(2, n + 1) if n % k == 0])
        n //= one
        yield one


# The same for accelsim ----------------------------------------------------------------------------


def layer(case: Case) -> acc.Conv2d:
    """Only as much ifmap as the windows touch."""
    s, (u_h, u_w) = case["sizes"], case["stride"]
    h, w = (s["E"] - 1) * u_h + s["R"], (s["F"] - 1) * u_w + s["S"]
    return acc.Conv2d(M=s["M"], C=s["C"], H=h, W=w, R=s["R"], S=s["S"], stride=(u_h, u_w))


def machine(case: Case) -> acc.Architecture:
    networks = {
        f"below_{level}": {
            "below": level,
            "held": "multicast",
            "streamed": "multicast",
            "accumulated": "reduce",
        }
        for level in LEVELS[:2]
    }
    waited = case["port_bits"] is not None
    return acc.Architecture.model_validate(
        {
            "name": "peer",
            "clock_mhz": 1000.0,
            "array": {"rows": case["rows"], "cols": case["cols"]},
            "levels": {
                "dram": {"port_bits": case["port_bits"]} if waited else {},
                "sram": {"capacity_bytes": 2**40, "double_buffered": True} if waited else {},
                "reg": {},
            },
            "networks": networks,
            "bits": {"weight": 8, "ifmap": 8, "psum": 32, "ofmap": 16},
            "energy": {
                "mac": 1.0,
                "levels": dict.fromkeys(LEVELS, 1.0),
                "networks": dict.fromkeys(networks, 1.0),
            },
        }
    )


def mapping(case: Case) -> acc.Mapping:
    left, loops = dict(case["sizes"]), []
    placed = [("dram", "none", loop) for loop in case["dram"]]
    placed += [("sram", "none", loop) for loop in case["sram"]]
    placed += [("sram", axis, x) for axis, x in zip(("row", "col"), case["spatial"], strict=True)]
    for level, axis, (dim, trips) in placed:
        left[dim] //= trips
        loops.append({"dim": dim, "tile": left[dim], "level": level, "axis": axis})
    return acc.Mapping.model_validate(
        {"loops": loops, "keep": dict.fromkeys(LEVELS, tuple(TENSORS))}
    )


def whole_tiles(case: Case, tensor: str, level: int, instances: bool) -> int:
    """Words of a tensor that come down across a boundary if each tile that is not the one before
    is fetched whole: below DRAM (0) or the SRAM (1), into every instance or once for those that
    share.
    """
    outside = case["dram"] if level == 0 else case["dram"] + case["sram"]
    inside = (case["sram"] if level == 0 else []) + ([] if instances and level else case["spatial"])
    relevant = TENSORS[tensor]
    while outside and outside[-1][0] not in relevant:  # the tile stays
        outside = outside[:-1]
    size = {d: prod(n for dim, n in inside if dim == d) for d in "NMCEFRS"}
    tile = size["N"] * size["C"]
    for out, tap, stride in zip("EF", "RS", case["stride"], strict=True):
        tile *= len({stride * e + r for e in range(size[out]) for r in range(size[tap])})
    many = prod(n for _, n in case["spatial"]) if instances and level else 1
    return tile * many * prod(n for _, n in outside)


def simulated(case: Case) -> list[dict[str, Any]]:
    batch = case["sizes"]["N"]
    result = acc.simulate(layer(case), machine(case), mapping=mapping(case), batch=batch)
    return list(result.records())


# Both ---------------------------------------------------------------------------------------------


def compared(case: Case, theirs: dict[str, Any]) -> Iterator[tuple[str, int, int, str, int]]:
    """What is counted, theirs, ours, and the rule by which the last, which must be theirs, follows
    from ours.
    """
    nest = acc.Nest(layer(case).problem(batch=case["sizes"]["N"]), machine(case), mapping(case))
    moved = {str(boundary): m for boundary, m in analytic.moves(nest).items()}
    for tensor in ("weight", "ifmap"):
        words = theirs["words"][tensor]
        outer, inner, macs = (moved[f"{tensor} {i}>{i + 1}"] for i in range(3))
        rule = "windows whole"
        for level, upper, crossed, lower in ((0, "dram", outer, "sram"), (1, "sram", inner, "reg")):
            read, taken = crossed.read, crossed.taken
            if tensor == "ifmap":
                read = whole_tiles(case, tensor, level, False)
                taken = whole_tiles(case, tensor, level, True)
            yield f"{upper} {tensor} reads", words[upper]["to_low"], crossed.read, rule, read
            yield f"{lower} {tensor} writes", words[lower]["from_high"], crossed.taken, rule, taken
        yield (
            f"reg {tensor} reads",
            words["reg"]["to_low"],
            macs.read,
            "held at the MAC",
            words["reg"]["from_high"],
        )
    words = theirs["words"]["ofmap"]
    outer, inner, macs = (moved[f"ofmap {i}>{i + 1}"] for i in range(3))
    returned = {
        "dram": bool(outer.updated),
        "sram": bool(outer.updated or inner.updated),
    }
    rule = "psums return"
    yield "reg ofmap writes", words["reg"]["from_low"], macs.arrived, "", macs.arrived
    for upper, crossed, lower in (("dram", outer, "sram"), ("sram", inner, "reg")):
        arrived, drained = crossed.arrived, crossed.drained
        down, into = (arrived, drained) if returned[upper] else (0, 0)
        yield f"{upper} ofmap writes", words[upper]["from_low"], arrived, "", arrived
        yield f"{lower} ofmap drained", words[lower]["to_high"], drained, "", drained
        yield f"{upper} ofmap reads", words[upper]["to_low"], crossed.updated, rule, down
        yield f"{lower} ofmap filled", words[lower]["from_high"], 0, rule, into
    (row,) = simulated(case)
    steps = row["compute_cycles"]
    yield "steps", theirs["steps"], steps, "", steps
