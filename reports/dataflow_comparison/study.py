"""Six dataflows at equal area on AlexNet: Chen, Emer, Sze, ISCA 2016, section VII, from accelsim's
counts.

``python reports/dataflow_comparison/study.py`` writes energy.csv (every layer), comparison.csv and
comparison.md (against the published equations) and the figures beside itself.  Every number of ours
is the analytic engine's for a nest that a dataflow file allows, with the tiles that cost least
energy of those tried.  The paper's are its equations (``published.py``) with their best tiles; of
the twelve printed cells every digit is met.

Between the two lie four rules, and nothing else, in every layer (``apart``):

choice   the tiles: best by the equations, or best by our counts
kept     a buffer tile is fetched whole whenever the loops move on; ours keeps what it shares with
         the tile before (docs/design.md, rule 4)
cut      the equations have fractions of strips, and of groups of filters no more than if the
         buffer's tiles did not cut them; ours counts each piece
unwired  a weight that goes to one PE alone costs no array hop under WS and NLR; with us every
         delivery is a hop

Paper's = ours + choice + kept + cut + unwired, of energy and of DRAM accesses.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from equal_area import KINDS, WORD, Kind, buffer_bytes, likely, padded  # noqa: E402
from published import PRICE, Tiles, Words, best_tiles, count, energy  # noqa: E402

from accelsim import MappingError, Nest, Problem, load_dataflow, load_workload  # noqa: E402
from accelsim.engines import analytic, moved  # noqa: E402

PES = (256, 512, 1024)
# tiles of each layer and dataflow that are counted exactly: the best by an estimate
TRIED = 30
BATCHES = {"CONV": (1, 16, 64), "FC": (16, 64, 256)}
LEVELS = {"compute": "ALU", "dram": "DRAM", "buffer": "Buffer", "array": "Array", "pe": "RF"}
TENSORS = ("compute", "weight", "ifmap", "ofmap")
PARTS = {"CONV": ("conv1", "conv2", "conv3", "conv4", "conv5"), "FC": ("fc6", "fc7", "fc8")}
REFERENCE = HERE.parents[1] / "tests" / "reference" / "eyeriss_isca16.json"


@dataclass(frozen=True)
class Counted:
    """One nest by our rules: energies in MACs by level and tensor, words charged, its loops."""

    columns: dict[str, float]
    words: Words
    nest: Nest

    @property
    def energy(self) -> float:
        return self.columns["energy_mac"]

    @property
    def dram(self) -> float:
        return _dram(self.words)


def _dram(words: Words) -> float:
    return float(sum(value for (level, _), value in words.items() if level == "dram"))


def counted(kind: Kind, problem: Problem, pes: int, tiles: Tiles) -> Counted:
    """Our counts of such tiles.  Raises MappingError if the hardware has no room for them."""
    places, hardware = kind.places(problem, tiles)
    arch = kind.architecture(pes, hardware)
    nest = Nest(problem, arch, kind.mapping(load_dataflow(kind.dataflow), arch, places))
    moves = analytic.moves(nest)
    energies = moved.energy(nest, moves, problem.macs, 0.0)
    return Counted(
        {k: float(v) for k, v in energies.items() if v is not None}, charged(nest, moves), nest
    )


def charged(nest: Nest, moves: moved.Moves) -> Words:
    """What is charged of a nest's traffic, by the paper's levels: an operand's reads, a psum's
    read-add-writes and, at DRAM, its writes; on the array every hop.
    """
    words: Words = {(level, tensor): 0.0 for level in PRICE for tensor in TENSORS[1:]}
    for b, m in moves.items():
        at, sums = nest.arch.level_names[b.parent], b.tensor == "ofmap"
        here = m.read if not sums else m.arrived + m.updated if b.parent == 0 else 2 * m.updated
        if at in PRICE:  # pixels passed on between PEs are charged as hops alone
            words[at, b.tensor] += here
        if b.network == "array":
            words["array", b.tensor] += m.drained - m.arrived if sums else m.taken
    return words


def kept(nest: Nest, tensor: str) -> float:
    """Words that the buffer's tile of an operand shares with the tile before, over all steps of the
    loops at DRAM: each tile a box, walked in the loops' order.
    """
    p, loops = nest.problem, [x for x in nest.loops if x.level == 0]
    if not loops:
        return 0.0
    at = np.indices([-(-p.size[x.dim] // x.tile) for x in loops]).reshape(len(loops), -1)
    begin: dict[str, Any] = {d: np.zeros(at.shape[1], np.int64) for d in p.size}
    end: dict[str, Any] = {d: begin[d] + size for d, size in p.size.items()}
    for x, i in zip(loops, at, strict=True):
        begin[x.dim] = i * x.tile
        end[x.dim] = np.minimum(begin[x.dim] + x.tile, p.size[x.dim])
    if tensor == "ifmap":
        for out, window, stride in (("E", "R", p.stride[0]), ("F", "S", p.stride[1])):
            begin[out] = begin[out] * stride + begin[window]
            end[out] = (end[out] - 1) * stride + end[window]
    shared = 1.0
    for d in "GMCRS" if tensor == "weight" else "NGCEF":
        low = np.maximum(begin[d][1:], begin[d][:-1])
        high = np.minimum(end[d][1:], end[d][:-1])
        shared = shared * np.maximum(high - low, 0)
    return float(np.sum(shared))


def apart(kind: Kind, tiles: Tiles, ours: Counted) -> dict[str, Words]:
    """By how many words the equations' count of some tiles exceeds ours, by rule; the rules are
    those of this page, without the choice.

    That is all of it where row-stationary PEs keep nothing from one step to the next: channels are
    cut, and between two groups of filters lie other images or a plane wider than a filter.  So it
    is in every cell.
    """
    p, nest = ours.nest.problem, ours.nest
    theirs, pieces = (count(kind.name, p, tiles, whole) for whole in (False, True))
    return {
        "kept": {("dram", x): kept(nest, x) for x in kind.anew},
        "cut": {key: theirs[key] - pieces[key] for key in theirs},
        "unwired": {("array", x): -ours.words["array", x] for x in kind.unwired},
    }


def best(kind: Kind, problem: Problem, pes: int, tried: int, also: Tiles) -> Counted:
    """The tiles of least energy by our rules, of the likely ones and ``also``."""
    found = [counted(kind, problem, pes, also)]
    for tiles in likely(kind, problem, pes, tried):
        try:
            found.append(counted(kind, problem, pes, tiles))
        except MappingError:
            continue
    return min(found, key=lambda one: one.energy)


def rows(
    pes: Iterable[int] = PES, batches: Mapping[str, Iterable[int]] = BATCHES, tried: int = TRIED
) -> pd.DataFrame:
    """One row per dataflow, array, batch and layer; energies in MACs, words at DRAM, by our rules
    and by the paper's, and the rules between them.
    """
    layers = {x.name: x for x in load_workload("alexnet").layers}
    found = []
    for part, sizes in batches.items():
        for j in pes:
            for n in sizes:
                for kind in KINDS:
                    for name in PARTS[part]:
                        p = padded(layers[name].problem(n))
                        lead = {"part": part, "pes": j, "batch": n, "dataflow": kind.name}
                        lead |= {"layer": name, "macs": p.macs}
                        found.append(lead | _row(kind, p, j, tried))
                print(f"{part} {j} PEs, batch {n}", file=sys.stderr)
    return pd.DataFrame(found)


def _row(kind: Kind, p: Problem, pes: int, tried: int) -> dict[str, Any]:
    """What a layer costs by both, or the error that says why it cannot run."""
    tiles = best_tiles(kind.name, p, pes, buffer_bytes(pes, kind.rf_words) // WORD)
    if tiles is None:
        return {"error": f"{kind.name} on {pes} PEs: no tiles fit"}
    theirs, same = count(kind.name, p, tiles), counted(kind, p, pes, tiles)
    ours = best(kind, p, pes, tried, tiles)
    rules = apart(kind, tiles, same)
    parts = {k: ours.columns[f"energy_{k}_mac"] for k in dict.fromkeys((*LEVELS, *TENSORS))}
    return (
        {"energy": ours.energy, "dram_words": ours.dram}
        | parts
        | {"energy_paper": p.macs + energy(theirs), "dram_words_paper": _dram(theirs)}
        | {"choice": same.energy - ours.energy}
        | {rule: float(energy(words)) for rule, words in rules.items()}
        | {"choice_dram": same.dram - ours.dram}
        | {f"{rule}_dram": _dram(words) for rule, words in rules.items()}
        | {"loops": str(ours.nest.mapping)}
        | {"tiles_paper": " ".join(f"{k}={v}" for k, v in sorted(tiles.items()))}
    )


def totals(frame: pd.DataFrame) -> pd.DataFrame:
    """Sums over the layers of a part, per MAC; a dataflow that cannot run one of them has none."""
    keys = ["part", "pes", "batch", "dataflow"]
    sums = frame.groupby(keys, sort=False).sum(numeric_only=True, min_count=1)
    if "error" in frame:
        sums = sums[~frame.groupby(keys, sort=False)["error"].any()]
    return sums.div(sums["macs"], axis=0).drop(columns="macs").reset_index()


def comparison(frame: pd.DataFrame, reference: dict[str, Any]) -> pd.DataFrame:
    """CONV on 256 PEs against the printed values, by our rules and by the paper's."""
    mine = totals(frame).query("part == 'CONV' and pes == 256").set_index(["batch", "dataflow"])
    found = []
    for case, values in reference["model"].items():
        batch = int(case.rsplit("_N")[1])
        if batch not in mine.index.get_level_values("batch"):
            continue
        order = sorted(values, key=lambda d: values[d]["energy_per_mac"])
        for rules, tag in (("ours", ""), ("paper's", "_paper")):
            rank = sorted(values, key=lambda d: mine.loc[batch, d][f"energy{tag}"])
            for d in order:
                got, ref = mine.loc[batch, d], values[d]
                row: dict[str, Any] = {"batch": batch, "dataflow": d, "rules": rules}
                row |= {"rank": rank.index(d) + 1, "rank_reference": order.index(d) + 1}
                for what, ours, printed in (
                    ("energy", "energy", ref["energy_per_mac"]),
                    ("dram", "dram_words", ref["dram_accesses_per_mac"]),
                ):
                    value = got[f"{ours}{tag}"]
                    row |= {what: value, f"{what}_reference": printed}
                    row |= {f"{what}_off": value / printed - 1}
                found.append(row)
    return pd.DataFrame(found)


def main(folder: Path = HERE) -> list[Path]:
    """Rebuild the study's files in a folder; their paths."""
    import comparison_figures as figures

    reference = json.loads(REFERENCE.read_text(encoding="utf-8"))
    frame = rows()
    table = comparison(frame, reference)
    folder.mkdir(parents=True, exist_ok=True)
    frame.to_csv(folder / "energy.csv", index=False, float_format="%.10g")
    table.to_csv(folder / "comparison.csv", index=False, float_format="%.10g")
    (folder / "comparison.md").write_text(
        figures.markdown(frame, totals(frame), table, reference), encoding="utf-8"
    )
    drawn = figures.draw(frame, totals(frame), table, reference, folder)
    return [*(folder / name for name in ("energy.csv", "comparison.csv", "comparison.md")), *drawn]


if __name__ == "__main__":
    for path in main():
        print(path)
