"""Six dataflows at equal area on AlexNet: Chen, Emer, Sze, ISCA 2016, section VII, from accelsim's
counts.

``python reports/dataflow_comparison/study.py`` writes energy.csv (every layer), comparison.csv and
comparison.md (against the published equations) and the figures beside itself.  Every number is the
analytic engine's for a nest that a dataflow file allows, with the tiles that cost least energy of
those tried.  Two rules of the paper differ from ours (DESIGN section 4) and can be put on top:

whole    a buffer tile is fetched whole whenever the loops move on; ours keeps what it shares with
         the tile before (rule 4)
unwired  a weight that goes to one PE alone costs no array hop under WS and NLR; with us every
         delivery is a hop
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from equal_area import KINDS, Kind, buffer_bytes, padded  # noqa: E402

from accelsim import MappingError, Nest, Problem, load_dataflow, load_workload  # noqa: E402
from accelsim.engines import analytic, moved  # noqa: E402
from accelsim.mapping.nest import Boundary  # noqa: E402

PES = (256, 512, 1024)
# tiles of each layer and dataflow that are counted exactly: the best by an estimate with the
# paper's equations
TRIED = 30
BATCHES = {"CONV": (1, 16, 64), "FC": (16, 64, 256)}
LEVELS = {"compute": "ALU", "dram": "DRAM", "buffer": "Buffer", "array": "Array", "pe": "RF"}
TENSORS = ("compute", "weight", "ifmap", "ofmap")
PARTS = {"CONV": ("conv1", "conv2", "conv3", "conv4", "conv5"), "FC": ("fc6", "fc7", "fc8")}
REFERENCE = HERE.parents[1] / "tests" / "reference" / "eyeriss_isca16.json"


@dataclass(frozen=True)
class Measured:
    """One nest: energies in MACs and words at DRAM, by our rules; and what the paper's rules
    add.
    """

    columns: dict[str, float]
    whole_words: float  # more DRAM words if buffer tiles are fetched whole
    unwired_hops: float  # fewer words on array hops

    @property
    def ours(self) -> float:
        return self.columns["energy_mac"]

    @property
    def paper(self) -> float:
        return self.ours + 200 * self.whole_words - 2 * self.unwired_hops


def measure(kind: Kind, nest: Nest) -> Measured:
    """All counts of a nest, and the two differences."""
    moves = analytic.moves(nest)
    words = moved.columns(nest, moves)
    energy = moved.energy(nest, moves, nest.problem.macs, 0.0)
    dram = sum(v for k, v in words.items() if k.startswith("dram_"))
    more = sum(
        whole(nest, b) - m.read
        for b, m in moves.items()
        if (b.tensor, b.parent) == ("ifmap", 0) and b.child == 1
    )
    fewer = sum(
        m.taken for b, m in moves.items() if b.tensor in kind.unwired and b.network == "array"
    )
    return Measured(
        {k: v for k, v in energy.items() if v is not None} | {"dram_words": dram},
        float(more),
        float(fewer),
    )


def whole(nest: Nest, b: Boundary) -> int:
    """Ifmap words fetched if the buffer's tile came in whole at each step, and anew for every tile
    of filters.
    """
    p = nest.problem
    tile = {
        d: min([x.tile for x in nest.loops if x.dim == d and x.level < b.child] or [p.size[d]])
        for d in "MCEF"
    }
    rows = sum((min(tile["E"], p.E - e) - 1) * p.stride[0] + p.R for e in range(0, p.E, tile["E"]))
    cols = sum((min(tile["F"], p.F - f) - 1) * p.stride[1] + p.S for f in range(0, p.F, tile["F"]))
    return p.N * p.G * p.C * rows * cols * -(-p.M // tile["M"])


def best(
    kind: Kind, problem: Problem, pes: int, tried: int
) -> tuple[tuple[Measured, str], tuple[Measured, str]]:
    """The tiles of least energy by our rules and by the paper's, each with its loops.  Raises
    MappingError if none fits.
    """
    flow, found = load_dataflow(kind.dataflow), []
    why = "no tiles fit"
    for _, tiles, hardware in kind.search(
        problem, pes, buffer_bytes(pes, kind.rf_words) // 2, tried
    ):
        arch = kind.architecture(pes, hardware)
        try:
            nest = Nest(problem, arch, kind.mapping(flow, arch, tiles))
        except MappingError as error:
            why = str(error)
            continue
        found.append((measure(kind, nest), str(nest.mapping)))
    if not found:
        raise MappingError(f"{kind.name} on {pes} PEs: {why}")
    return min(found, key=lambda x: x[0].ours), min(found, key=lambda x: x[0].paper)


def rows(
    pes: Iterable[int] = PES, batches: Mapping[str, Iterable[int]] = BATCHES, tried: int = TRIED
) -> pd.DataFrame:
    """One row per dataflow, array, batch and layer; energies in MACs, words at DRAM, by our rules
    and by the paper's.
    """
    layers = {x.name: x for x in load_workload("alexnet").layers}
    found = []
    for part, sizes in batches.items():
        for j in pes:
            for n in sizes:
                for kind in KINDS:
                    for name in PARTS[part]:
                        p = padded(layers[name].problem(n))
                        lead = {
                            "part": part,
                            "pes": j,
                            "batch": n,
                            "dataflow": kind.name,
                            "layer": name,
                            "macs": p.macs,
                        }
                        try:
                            (ours, loops), (theirs, loops_paper) = best(kind, p, j, tried)
                        except MappingError as error:
                            found.append(lead | {"error": str(error)})
                            continue
                        own = {
                            k: ours.columns[f"energy_{k}_mac"]
                            for k in dict.fromkeys((*LEVELS, *TENSORS))
                        }
                        found.append(
                            lead
                            | {"energy": ours.ours, "dram_words": ours.columns["dram_words"]}
                            | own
                            | {
                                "energy_paper": theirs.paper,
                                "dram_words_paper": theirs.columns["dram_words"]
                                + theirs.whole_words,
                            }
                            | {"whole": 200 * ours.whole_words, "unwired": -2 * ours.unwired_hops}
                            | {
                                "whole_paper": 200 * theirs.whole_words,
                                "unwired_paper": -2 * theirs.unwired_hops,
                            }
                            | {"loops": loops, "loops_paper": loops_paper}
                        )
                print(f"{part} {j} PEs, batch {n}", file=sys.stderr)
    return pd.DataFrame(found)


def totals(frame: pd.DataFrame) -> pd.DataFrame:
    """Sums over the layers of a part, per MAC; a dataflow that cannot run one of them has none."""
    keys = ["part", "pes", "batch", "dataflow"]
    sums = frame.groupby(keys, sort=False).sum(numeric_only=True, min_count=1)
    if "error" in frame:
        sums = sums[~frame.groupby(keys, sort=False)["error"].any()]
    return sums.div(sums["macs"], axis=0).drop(columns="macs").reset_index()


def comparison(frame: pd.DataFrame, reference: dict[str, Any]) -> pd.DataFrame:
    """CONV on 256 PEs against the published equations' values, by our rules and by the paper's."""
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
                e, w = got[f"energy{tag}"], got[f"dram_words{tag}"]
                found.append(
                    {
                        "batch": batch,
                        "dataflow": d,
                        "rules": rules,
                        "rank": rank.index(d) + 1,
                        "rank_reference": order.index(d) + 1,
                    }
                    | {
                        "energy": e,
                        "energy_reference": ref["energy_per_mac"],
                        "energy_off": e / ref["energy_per_mac"] - 1,
                    }
                    | {
                        "dram": w,
                        "dram_reference": ref["dram_accesses_per_mac"],
                        "dram_off": w / ref["dram_accesses_per_mac"] - 1,
                    }
                    | {"whole": got[f"whole{tag}"], "unwired": got[f"unwired{tag}"]}
                )
    return pd.DataFrame(found)


def main(folder: Path = HERE) -> list[Path]:
    """Rebuild the study's files in a folder; their paths."""
    import comparison_figures as figures

    reference = json.loads(REFERENCE.read_text(encoding="utf-8"))
    frame = rows()
    table = comparison(frame, reference)
    folder.mkdir(parents=True, exist_ok=True)
    frame.to_csv(folder / "energy.csv", index=False, float_format="%.10g")
    table.to_csv(folder / "comparison.csv", index=False, float_format="%.6g")
    (folder / "comparison.md").write_text(figures.markdown(table), encoding="utf-8")
    drawn = figures.draw(frame, totals(frame), table, reference, folder)
    return [*(folder / name for name in ("energy.csv", "comparison.csv", "comparison.md")), *drawn]


if __name__ == "__main__":
    for path in main():
        print(path)
