"""The oracle against numbers worked out by hand (in the comments)."""

import pytest
from oracle import Nest, Problem, count

ALL = frozenset({"weight", "ifmap", "ofmap"})
K = {"K": ("C", "R", "S"), "X": ("N", "E", "F")}
BUS = {"held": "multicast", "streamed": "multicast", "accumulated": "reduce"}
LINES = {"held": "preload", "streamed": "systolic", "accumulated": "systolic"}
ALONE = {"held": "unicast", "streamed": "unicast", "accumulated": "unicast"}


def row(F, S, W, *, N=1, M=1, C=1, **more):
    """A one-dimensional problem: F outputs, S taps, W inputs."""
    return Problem(N=N, G=1, M=M, C=C, E=1, F=F, R=1, S=S, H=1, W=W, **more)


def nest(loops, levels=2, keep=None, networks=None, **more):
    """Loops as in the design's examples: 'F:2:0 S:1:1:row'."""
    parsed = []
    for text in loops.split():
        dim, tile, level, *axis = text.split(":")
        parsed.append((dim, int(tile), int(level), axis[0] if axis else "none"))
    return Nest(
        loops=tuple(parsed),
        levels=levels,
        keep=tuple(map(frozenset, keep)) if keep else (ALL,) * levels,
        networks=networks or (BUS,) * levels,
        **more,
    )


def moved(result, level, tensor):
    entry = result["counts"][level, tensor]
    return entry["reads"], entry["writes"]


def network(result, i, tensor):
    entry = result["networks"][i, tensor]
    return entry["deliveries"], entry["additions"]


def test_sliding_window():
    # Inputs of the three tiles of two outputs: 0-3, 2-5, 4-7: in = 4 + 2 + 2 = 8.
    # The three weights come once. Two psums a tile, never seen before: 6 arrivals, no read.
    # 18 MACs, one a step: 18 reads of each operand; 18 arrivals, 6 of them first, 6 drained.
    r = count(row(F=6, S=3, W=8), nest("F:2:0 F:1:1 S:1:1"))
    assert r["macs"] == 18
    assert moved(r, 0, "ifmap") == (8, 0) and moved(r, 1, "ifmap") == (18, 8)
    assert moved(r, 0, "weight") == (3, 0) and moved(r, 1, "weight") == (18, 3)
    assert moved(r, 0, "ofmap") == (0, 6) and moved(r, 1, "ofmap") == (12 + 6, 18)
    assert r["primitives"][1, "mac", "ofmap"] == {
        "child_in": 18,
        "parent_reads": 0,
        "drains": 18,
        "arrivals": 18,
        "entries": 6,
        "update_reads": 12,
    }


def test_stride_above_filter():
    # Outputs at 0, 3, 6 with two taps touch 0 1 3 4 6 7: words 2 and 5 do not move.
    # Tiles of two outputs: {0 1 3 4} then {6 7}.
    r = count(row(F=3, S=2, W=8, stride_w=3), nest("F:2:0 F:1:1 S:1:1"))
    assert moved(r, 0, "ifmap") == (6, 0) and moved(r, 1, "ifmap") == (6, 6)


def test_ragged_tail_stands_still():
    # C = 3 in chunks 2 and 1; weights one at a time: c0 c1 c0 c1 (for two outputs), then c2 c2:
    # the tail stays: 5 fills. Psums: f0 f1 in chunk one, f0 f1 again: 4 arrivals, 2 first.
    r = count(row(F=2, S=1, W=2, C=3), nest("C:2:0 F:1:0 C:1:0"))
    assert moved(r, 0, "weight") == (5, 0) and moved(r, 1, "weight") == (6, 5)
    assert moved(r, 0, "ofmap") == (2, 4)
    # Level 1: one word; 6 arrivals, 4 residencies, so 2 update reads, and 4 drained.
    assert moved(r, 1, "ofmap") == (2 + 4, 6)


def test_idle_instances():
    # Taps 0 1 on two PEs, then tap 2 on the first. PE1 idles through S:
    #   ofmap does not depend on S: PE1 keeps its psum, so both drain f0 together, then f1.
    #   weight and ifmap do: its tile is empty and filled anew.
    # weight fills: PE0 s0 s2 s0 s2, PE1 s1 - s1 -: 6. ifmap: PE0 0 2 1 3, PE1 1 - 2 -: 6.
    # (No two PEs want equal words in one step, so the bus reads 6 as well.)
    r = count(row(F=2, S=3, W=4), nest("F:1:0 S:2:0 S:1:0:row"))
    assert r["macs"] == 6
    assert moved(r, 0, "weight") == (6, 0) and moved(r, 1, "weight") == (6, 6)
    assert moved(r, 0, "ifmap") == (6, 0) and moved(r, 1, "ifmap") == (6, 6)
    # 4 drained (2 PEs, 2 outputs), merged to 2: the network added twice.
    assert moved(r, 0, "ofmap") == (0, 2) and network(r, 0, "ofmap") == (2, 2)
    # In the PEs: 6 arrivals less 4 residencies, 4 drained.
    assert moved(r, 1, "ofmap") == (2 + 4, 6)
    # Without spatial reduction all four arrive, two of them first.
    r = count(row(F=2, S=3, W=4), nest("F:1:0 S:2:0 S:1:0:row", networks=(ALONE, ALONE)))
    assert moved(r, 0, "ofmap") == (2, 4) and network(r, 0, "ofmap") == (4, 0)


def test_bypass_lends_its_loops():
    # F outside level 1, M inside. Kept at level 1, both weights come from level 0 once;
    # bypassed, level 0 serves m0 m1 m0 m1. The network is the one just above the child.
    problem, loops = row(F=2, S=1, W=2, M=2), "F:1:0 M:1:1"
    r = count(problem, nest(loops, levels=3))
    assert moved(r, 0, "weight") == (2, 0) and moved(r, 1, "weight") == (4, 2)
    r = count(problem, nest(loops, levels=3, keep=(ALL, {"ifmap", "ofmap"}, ALL)))
    assert moved(r, 0, "weight") == (4, 0) and moved(r, 1, "weight") == (0, 0)
    assert moved(r, 2, "weight") == (4, 4)
    assert network(r, 0, "weight") == (0, 0) and network(r, 1, "weight") == (4, 0)
    # ifmap at level 2: f0, stands through m1, f1.
    assert moved(r, 1, "ifmap") == (2, 2) and moved(r, 2, "ifmap") == (4, 2)


def test_weight_stationary():
    # 2x2, K = S = 3 on rows in folds {0 1} {2}, M = 2 on columns, two outputs streamed.
    # Preload 4 + 2. Streamed per output: 2 then 1 pairs, one read a row: 2*2 + 2*1 = 6 for
    # 12 MACs. Psums run down a column: 2 columns * 2 outputs * 2 folds = 8 arrive, 4 first.
    r = count(
        row(F=2, S=3, W=4, M=2),
        nest(
            "M:2:0 K:2:0 K:1:0:row M:1:0:col X:1:1",
            keep=(ALL, {"weight"}),
            fused=K,
            networks=(LINES, ALONE),
        ),
    )
    assert r["macs"] == 12
    assert moved(r, 0, "weight") == (6, 0) and moved(r, 1, "weight") == (12, 6)
    assert moved(r, 0, "ifmap") == (6, 0) and network(r, 0, "ifmap") == (12, 0)
    assert moved(r, 0, "ofmap") == (4, 8) and network(r, 0, "ofmap") == (8, 4)
    assert network(r, 0, "weight") == (6, 0) and network(r, 1, "weight") == (12, 0)


def test_output_stationary():
    # X = F = 3 on rows in folds {0 1} {2}, M = 2 on columns, K = S = 2 streamed.
    # Weights run down columns: 2 a step, 2 steps, 2 folds = 8. Inputs run along rows:
    # 2 a step then 1: 4 + 2 = 6. Six psums stay, and leave one by one.
    r = count(
        row(F=3, S=2, W=4, M=2),
        nest(
            "X:2:0 X:1:0:row M:1:0:col K:1:1",
            keep=(ALL, {"ofmap"}),
            fused=K,
            networks=(LINES, ALONE),
        ),
    )
    assert moved(r, 0, "weight") == (8, 0) and network(r, 0, "weight") == (12, 0)
    assert moved(r, 0, "ifmap") == (6, 0) and network(r, 0, "ifmap") == (12, 0)
    assert moved(r, 0, "ofmap") == (0, 6) and network(r, 0, "ofmap") == (6, 0)
    assert moved(r, 1, "ofmap") == (6 + 6, 12) and network(r, 1, "ofmap") == (12, 0)


def test_input_stationary():
    # K = S = 2 on rows, X = F = 2 on columns, M = 2 streamed. The array holds four (k, x)
    # pairs of three distinct inputs, and reads four. Weights run along rows: 2 a step.
    # Psums run down columns: 8 made, 2 columns * 2 steps arrive.
    r = count(
        row(F=2, S=2, W=3, M=2),
        nest("K:1:0:row X:1:0:col M:1:1", keep=(ALL, {"ifmap"}), fused=K, networks=(LINES, ALONE)),
    )
    assert moved(r, 0, "ifmap") == (4, 0) and moved(r, 1, "ifmap") == (8, 4)
    assert moved(r, 0, "weight") == (4, 0) and network(r, 0, "weight") == (8, 0)
    assert moved(r, 0, "ofmap") == (0, 4) and network(r, 0, "ofmap") == (4, 4)


def test_stored_padding():
    # Inputs -1 0 1, 0 1 2, 1 2 3, of which 0 1 2 are real; level 1 holds a window, level 2 a word.
    problem = row(F=3, S=3, W=3, pad_left=1)
    r = count(problem, nest("F:1:0 S:1:1", levels=3))
    assert moved(r, 0, "ifmap") == (3, 0)  # {0 1} {2} {}
    assert moved(r, 1, "ifmap") == (7, 3)  # - 0 1, 0 1 2, 1 2 -
    assert moved(r, 2, "ifmap") == (7, 7)
    # Stored from level 1: fills 3 + 1 + 1, of which level 0 gives the real ones.
    r = count(problem, nest("F:1:0 S:1:1", levels=3, padding_from=1))
    assert moved(r, 0, "ifmap") == (3, 0)
    assert moved(r, 1, "ifmap") == (9, 5)
    assert moved(r, 2, "ifmap") == (9, 9)
    # Stored from level 2: level 1 is as without, level 2 holds the zeros.
    r = count(problem, nest("F:1:0 S:1:1", levels=3, padding_from=2))
    assert moved(r, 1, "ifmap") == (7, 3) and moved(r, 2, "ifmap") == (9, 9)
    # A MAC on padding reads its weight and makes its arrival.
    assert r["macs"] == 9 and moved(r, 2, "weight")[0] == 9
    assert r["primitives"][2, "mac", "ofmap"]["arrivals"] == 9
    r = count(
        row(F=3, S=3, W=3, pad_left=1, direction="grad_weight"), nest("F:1:0 S:1:1", levels=3)
    )
    assert r["primitives"][2, "mac", "weight"]["arrivals"] == 9
    assert r["primitives"][2, "mac", "ifmap"]["parent_reads"] == 7


def test_grad_input_halo():
    # Output 0 adds to inputs 0 1, output 1 to 1 2. In time: input 1 stays between the tiles,
    # out = {0}, then {1 2}: 3 arrivals, none read.
    problem = row(F=2, S=2, W=3, direction="grad_input")
    r = count(problem, nest("F:1:0 S:1:1"))
    assert moved(r, 0, "ifmap") == (0, 3)
    assert moved(r, 1, "ifmap") == (1 + 3, 4)  # 4 arrivals, 3 entries; 3 drained
    # In space: both drain {0 1} {1 2} at the end; the network adds the two copies of 1,
    # or both arrive and the second is added at level 0.
    r = count(problem, nest("F:1:0:row S:1:1"))
    assert moved(r, 0, "ifmap") == (0, 3) and network(r, 0, "ifmap") == (3, 1)
    r = count(problem, nest("F:1:0:row S:1:1", networks=(ALONE, ALONE)))
    assert moved(r, 0, "ifmap") == (1, 4) and network(r, 0, "ifmap") == (4, 0)
    # Inputs -1 0, 0 1 of which only 0 is real: four MACs, two arrivals, four weight reads.
    r = count(row(F=2, S=2, W=1, pad_left=1, direction="grad_input"), nest("F:1:0 S:1:1"))
    assert r["macs"] == 4 and r["primitives"][1, "mac", "ifmap"]["arrivals"] == 2
    assert moved(r, 1, "weight")[0] == 4


def test_psum_conventions():
    # Two channels outside two outputs: psums f0 f1 f0 f1 arrive at level 0, two of them first.
    problem, loops = row(F=2, S=1, W=2, C=2), "C:1:0 F:1:0"
    r = count(problem, nest(loops))
    assert moved(r, 0, "ofmap") == (2, 4) and network(r, 0, "ofmap") == (4, 0)
    r = count(problem, nest(loops, in_array=True))
    assert moved(r, 0, "ofmap") == (2, 4) and network(r, 0, "ofmap") == (6, 0)
    r = count(problem, nest(loops, first_read=0))
    assert moved(r, 0, "ofmap") == (4, 4) and moved(r, 1, "ofmap") == (4, 4)


def test_neighbour_links():
    # Three PEs, inputs 0 1 2, then 1 2 3, then 2 3 4. From a bus 9; from each other all but
    # the new one: 3 + 1 + 1.
    problem, loops = row(F=3, S=3, W=5), "S:1:0 F:1:0:row"
    links = dict(BUS, held="neighbour")
    assert moved(count(problem, nest(loops)), 0, "ifmap") == (9, 0)
    r = count(problem, nest(loops, networks=(links, BUS)))
    assert moved(r, 0, "ifmap") == (5, 0) and moved(r, 1, "ifmap") == (9, 9)


def test_refusals():
    problem = row(F=2, S=2, W=3, M=2)
    with pytest.raises(ValueError, match="both axes"):  # ifmap streamed, K on rows, X on columns
        count(
            problem,
            nest(
                "K:1:0:row X:1:0:col M:1:1",
                keep=(ALL, {"weight"}),
                fused=K,
                networks=(LINES, ALONE),
            ),
        )
    with pytest.raises(ValueError, match="one word"):
        count(problem, nest("K:1:0 M:1:1 X:1:1", fused=K))
    with pytest.raises(ValueError, match="down to one MAC"):
        count(problem, nest("F:1:0 S:1:0"))
