"""How many complete mappings a second the analytic model evaluates: AlexNet CONV3 on Eyeriss's
three levels.

Row-stationary skeleton, tiles any integers; all counts of every boundary, energy and cycles, in
batches.  Tables cold (every chain worked out) and warm are reported apart.  Run: python
benchmarks/mappings_per_second.py
"""

from __future__ import annotations

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # one core

import time

import numpy as np

import accelsim as acc
from accelsim.engines import moved
from accelsim.engines.analytic.closed_form import ClosedForm, moves, tiles_of

SKELETON = (
    "M:64:dram E:12:dram C:8:dram M:16:glb F:1:glb M:8:glb:row C:4:glb:row E:7:glb:row R:1:glb:row "
    "E:1:glb:col M:1:spad C:1:spad S:1:spad"
)
KEEP = {
    "dram": ("weight", "ifmap", "ofmap"),
    "glb": ("ifmap", "ofmap"),
    "spad": ("weight", "ifmap", "ofmap"),
}
CHAINS, BATCH, MAPPINGS = 2000, 2048, 4_000_000


def main() -> None:
    layer = acc.Conv2d(M=384, C=256, H=13, W=13, R=3, S=3, padding=1)
    bounds = {f"levels.spad.partitions.{t}": 10**9 for t in ("weight", "ifmap", "ofmap")} | {
        "levels.glb.capacity_bytes": 25 * 4096 * 10**6
    }
    arch = acc.load_architecture("eyeriss", {"array.rows": 10**6, "array.cols": 10**6} | bounds)
    nest = acc.Nest(layer.problem(), arch, acc.Mapping(loops=SKELETON, keep=KEEP))
    model, tiles = ClosedForm(nest), tiles_of(nest)
    moves(nest)  # loads the kernels; its model is another one
    rng = np.random.default_rng(0)
    start = time.process_time()
    chains = {}
    for group in model.groups:
        many = [
            {name: _random_tiles(rng, nest.problem, name, tiles[name]) for name in group}
            for _ in range(CHAINS)
        ]
        chains[group] = np.unique(model.rows(group, many))
    cold = time.process_time() - start
    print(f"tables cold: {sum(len(x) for x in chains.values())} chains of tiles in {cold:.2f} s")
    picks = [
        rng.choice(chains[g], MAPPINGS) if len(chains[g]) > 1 else chains[g] for g in model.groups
    ]
    energy = 0.0
    start = time.process_time()
    for at in range(0, MAPPINGS, BATCH):
        found = model.evaluate([p[at : at + BATCH] if len(p) > 1 else p for p in picks])
        cycles = found.of(None, "compute_cycles")
        priced = moved.energy(
            nest, model.moves(found), nest.problem.macs, cycles / (arch.clock_mhz * 1e6)
        )
        energy += float(priced["energy_mac"][0])
    warm = time.process_time() - start
    print(f"tables warm: {MAPPINGS / warm / 1e6:.2f} M mappings a second on one core, "
          f"{len(model.columns)} counts and energy each, "
          f"batches of {BATCH}, {model.matrix.shape[0]} terms")  # fmt: skip
    _spot_check(model, nest, chains, rng)


def _random_tiles(
    rng: np.random.Generator, problem: acc.Problem, name: str, like: tuple[int, ...]
) -> tuple[int, ...]:
    size, tiles = problem.size[name], []
    for _ in like[:-1]:
        size = int(rng.integers(1, size + 1))
        tiles.append(size)
    return (*tiles, 1) if like else ()


def _spot_check(
    model: ClosedForm,
    nest: acc.Nest,
    chains: dict[tuple[str, ...], np.ndarray],
    rng: np.random.Generator,
) -> None:
    """The rows evaluated in bulk are those of the one-mapping path."""
    from accelsim.engines import analytic

    own = tiles_of(nest)
    for _ in range(20):
        tiles = {n: _random_tiles(rng, nest.problem, n, own[n]) for g in model.groups for n in g}
        rows = [np.array([model.row(g, tiles)]) for g in model.groups]
        bulk = model.moves(model.evaluate(rows))
        left = {n: list(t) for n, t in tiles.items()}
        names = nest.arch.level_names
        loops = tuple(
            acc.Loop(dim=x.dim, tile=left[x.dim].pop(0), level=names[x.level], axis=x.axis)
            for x in nest.loops
        )
        one = analytic.moves(acc.Nest(nest.problem, nest.arch, acc.Mapping(loops=loops, keep=KEEP)))
        for b, m in one.items():
            for name, count in vars(m).items():
                assert int(np.ravel(getattr(bulk[b], name))[0]) == count, (b, name)
    print("20 of them agree with the one-mapping call, count for count")


if __name__ == "__main__":
    main()
