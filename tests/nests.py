"""Random small problems, architectures and mappings, and the oracle's reading of them."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import oracle

from accelsim.hardware.architecture import Architecture
from accelsim.mapping.mapping import FUSED, Loop, Mapping, MappingError
from accelsim.mapping.nest import Nest
from accelsim.workload.problem import DIMS, TENSORS, Problem

DIRECTIONS = ("forward", "grad_weight", "grad_input")


def random_problem(
    rng: random.Random, most: int = 600, directions: tuple[str, ...] = DIRECTIONS
) -> Problem:
    """A layer of at most ``most`` MACs: strides, dilation, padding and gaps of every kind."""
    while True:
        size = {d: rng.choice((1, 1, 2, 3, 4, 5, 7)) for d in DIMS}
        size["G"] = rng.choice((1, 1, 1, 2, 3))
        size["N"] = rng.choice((1, 1, 2, 3))
        macs = 1
        for n in size.values():
            macs *= n
        if macs > most:
            continue
        stride = (rng.randint(1, 4), rng.randint(1, 4)) if rng.random() < 0.6 else (1, 1)
        dilation = (rng.randint(1, 3), rng.randint(1, 3)) if rng.random() < 0.4 else (1, 1)
        pads = tuple(rng.randint(0, 2) for _ in range(4)) if rng.random() < 0.6 else (0, 0, 0, 0)
        pairs = (("E", "R", stride[0], dilation[0]), ("F", "S", stride[1], dilation[1]))
        spans = [(size[o] - 1) * u + d * (size[f] - 1) + 1 for o, f, u, d in pairs]
        rest = [rng.randrange(u) for u in stride]
        h, w = spans[0] + rest[0] - pads[0] - pads[1], spans[1] + rest[1] - pads[2] - pads[3]
        if h < 1 or w < 1:
            continue
        direction, bias = rng.choice(directions), rng.random() < 0.3
        return Problem(
            **size,
            H=h,
            W=w,
            stride=stride,
            dilation=dilation,
            padding=pads,
            bias=bias,
            direction=direction,
        )  # type: ignore[arg-type]


def random_array(rng: random.Random) -> dict[str, Any]:
    """Sizes and every option of DESIGN section 5: how folds follow each other and how outputs
    leave.
    """
    overlap = rng.random() < 0.7
    return {
        "rows": rng.choice((4, 7, 12, 30, 10**6)),
        "cols": rng.choice((4, 7, 12, 30, 10**6)),
        "overlap": overlap,
        "weight_registers": rng.choice((1, 2)) if overlap else 1,
        "outputs": rng.choice(("in_place", "accumulators", "register")),
        "partial_folds": rng.choice(("exact", "exact", "full")),
    }


def random_architecture(
    rng: random.Random, levels: int, *, systolic: float = 0.2, stored: float = 0.25
) -> Architecture:
    """Unbounded levels, a random array, kinds of network at random; ``systolic`` is how often one
    is of lines.
    """
    names = [f"l{i}" for i in range(levels)]
    networks = {}
    for i, name in enumerate(names):
        if i == levels - 1 and rng.random() < 0.5:
            continue
        lines = rng.random() < systolic
        networks[f"n{i}"] = {
            "below": name,
            "held": rng.choice(("multicast", "unicast", "preload", "neighbour")),
            "streamed": "systolic" if lines else rng.choice(("multicast", "multicast", "unicast")),
            "accumulated": "systolic" if lines else rng.choice(("reduce", "reduce", "unicast")),
        }
    return Architecture.model_validate(
        {
            "name": "random",
            "clock_mhz": 1.0,
            "array": random_array(rng),
            "levels": {n: {} for n in names},
            "networks": networks,
            **(
                {"padding": {"stored_from": rng.choice(names[1:])}} if rng.random() < stored else {}
            ),
            **({"first_read": rng.choice(names)} if rng.random() < 0.2 else {}),
            "accumulate": rng.choice(("at_level", "at_level", "in_array")),
            "bits": {t: rng.choice((1, 4, 8, 8, 13, 16)) for t in TENSORS}
            | {"psum": rng.choice((2, 8, 17, 32, 32, 48))},
            "signed": {t: rng.random() < 0.6 for t in (*TENSORS, "psum")},
            "energy": {
                "mac": 1.0,
                "levels": dict.fromkeys(names, 1.0),
                "networks": dict.fromkeys(networks, 1.0),
            },
        }
    )


def random_parts(rng: random.Random) -> dict[str, tuple[str, ...]]:
    """C, R, S and N, E, F in any order, cut into fused dimensions and plain ones at random."""
    fused = {}
    for name, dims in FUSED.items():
        rest = rng.sample(dims, len(dims))
        while rest:
            n = rng.randint(1, len(rest))
            if rng.random() < 0.75:
                fused[f"{name}{len(rest)}"] = tuple(rest[:n])
            rest = rest[n:]
    return fused


def random_mapping(
    rng: random.Random,
    problem: Problem,
    arch: Architecture,
    *,
    fuse: float = 0.35,
    spatial: float = 0.35,
    resident: float = 0.0,
    parted: float = 0.0,
    empty: float = 0.0,
) -> Mapping:
    """Any loops at any level, tiles that need not divide; may break a rule, which Nest then
    says.

    ``parted`` is how often C, R, S and N, E, F fall into fused dimensions of any kind, ``empty``
    how often a level keeps nothing.
    """
    names = arch.level_names
    levels = len(names)
    if parted and rng.random() < parted:
        fused = random_parts(rng)
    else:
        fused = {n: p for n, p in FUSED.items() if rng.random() < fuse}
    entries: list[tuple[int, float, Loop]] = []  # level, place, loop

    def chain(
        dim: str, extent: int, first: int, start: float, finish: int | None
    ) -> tuple[int, int, float]:
        """Loops of one dimension down to ``finish`` (or a random tile); returns the last level,
        tile and place.
        """
        level, tile, place = first, extent, start
        while tile > 1 and (finish is not None or rng.random() < 0.5):
            stop = rng.random() < 0.45
            tile = 1 if stop and finish == 1 else rng.randint(1, tile)
            last_level = levels - 1 if finish == 1 else levels - 2
            level = rng.randint(level, max(level, last_level))
            axis = rng.choice(("row", "col")) if rng.random() < spatial else "none"
            place = rng.uniform(place, 1.0)
            entries.append((level, place, Loop(dim=dim, tile=tile, level=names[level], axis=axis)))
        return level, tile, place

    parts = {p for ps in fused.values() for p in ps}
    for d in DIMS:
        if d not in parts:
            chain(d, problem.size[d], 0, 0.0, 1)
    for name, ps in fused.items():
        level, total, place = 0, 1, 0.0
        for p in ps:
            at, tile, where = chain(p, problem.size[p], 0, 0.0, None)
            if at > level:
                level, place = at, where
            elif at == level:
                place = max(place, where)
            total *= tile
        chain(name, total, level, place, 1)
    entries.sort(key=lambda x: (x[0], x[1]))
    keep = {
        n: TENSORS if i == 0 else tuple(t for t in TENSORS if rng.random() < 0.6)
        for i, n in enumerate(names)
    }
    for n in names[1:] if empty else ():
        keep[n] = () if rng.random() < empty else keep[n]
    for t in TENSORS:
        if (
            resident and rng.random() < resident and t in keep[names[1]] and levels > 2
        ):  # all of it on the chip
            keep[names[0]] = tuple(x for x in keep[names[0]] if x != t)
    return Mapping(loops=tuple(x[2] for x in entries), keep=keep, fused=fused)


def random_nest(
    rng: random.Random,
    most: int = 600,
    directions: tuple[str, ...] = DIRECTIONS,
    *,
    systolic: float = 0.2,
    stored: float = 0.25,
    **options: float,
) -> Nest:
    """A legal random nest; ``systolic`` and ``stored`` go to the architecture, ``options`` to the
    mapping.
    """
    while True:
        problem = random_problem(rng, most, directions)
        arch = random_architecture(
            rng, rng.choice((2, 3, 3, 3, 4)), systolic=systolic, stored=stored
        )
        for _ in range(5):
            try:
                return Nest(problem, arch, random_mapping(rng, problem, arch, **options))
            except MappingError:
                continue


def as_oracle(nest: Nest) -> tuple[oracle.Problem, oracle.Nest]:
    """The same case in the oracle's plain words."""
    p, names, stored = nest.problem, nest.arch.level_names, nest.arch.padding
    problem = oracle.Problem(
        **p.size, H=p.H, W=p.W, stride_h=p.stride[0], stride_w=p.stride[1],
        dilation_h=p.dilation[0], dilation_w=p.dilation[1],
        pad_top=p.padding[0], pad_left=p.padding[2], direction=p.direction,
    )  # fmt: skip
    networks = []
    for i in range(nest.levels):
        _, net = nest.arch.network_below(i)
        networks.append(
            {"held": net.held, "streamed": net.streamed, "accumulated": net.accumulated}
        )
    loops = tuple((x.dim, x.tile, names.index(x.level), x.axis) for x in nest.mapping.loops)
    return problem, oracle.Nest(
        loops=loops, levels=nest.levels, keep=nest.keep, fused=dict(nest.mapping.fused),
        networks=tuple(networks), in_array=nest.arch.accumulate == "in_array",
        first_read=None if nest.arch.first_read is None else names.index(nest.arch.first_read),
        padding_from=None if stored is None else names.index(stored.stored_from),
    )  # fmt: skip


# -- strata: the cases that catch wrong counts (counting.md, trap 7) -------------------------------

STRATA = (
    "ragged spatial reduction", "halo in an accumulated ifmap", "stride above filter", "dilation",
    "bypass", "two spatial levels",
    "fused", "stored padding", "forward", "grad_weight", "grad_input",
)  # fmt: skip


def strata(nest: Nest) -> set[str]:
    """Which of the strata a nest belongs to."""
    p, acc = nest.problem, nest.problem.accumulated
    found = {p.direction}
    innermost = nest.keepers(acc)[-1]
    for chain in nest.chains:
        if not chain.depends(acc):
            loops = [i for i in chain.loops if nest.loops[i].level < innermost]
            trips = [nest.loops[i].trips for i in loops]
            grid = np.indices(trips).reshape(len(trips), -1) if trips else np.zeros((0, 1), int)
            ragged = not nest.pieces(chain, dict(zip(loops, grid, strict=True))).exists.all()
            if ragged and any(nest.loops[i].spatial for i in loops):
                found.add("ragged spatial reduction")
    if acc == "ifmap" and innermost and not nest.projection("ifmap", innermost).pairs:
        for out, filt, stride, dilation in (
            ("E", "R", p.stride[0], p.dilation[0]),
            ("F", "S", p.stride[1], p.dilation[1]),
        ):
            cut = {x.dim for x in nest.loops if x.level < innermost}
            if (out in cut and (p.size[filt] - 1) * dilation >= stride) or (
                filt in cut and p.size[out] > 1
            ):
                found.add("halo in an accumulated ifmap")
    if (p.stride[0] > p.R and p.E > 1) or (p.stride[1] > p.S and p.F > 1):
        found.add("stride above filter")
    if (p.dilation[0] > 1 and p.R > 1) or (p.dilation[1] > 1 and p.S > 1):
        found.add("dilation")
    if any(b.child - b.parent > 1 and b.child < nest.levels for b in nest.boundaries):
        found.add("bypass")
    if len({x.level for x in nest.loops if x.spatial}) > 1:
        found.add("two spatial levels")
    if any(x.dim not in DIMS for x in nest.loops):
        found.add("fused")
    if acc != "ifmap" and nest.arch.padding is not None and any(p.padding):
        found.add("stored padding")
    return found


def stratified_nest(rng: random.Random, stratum: str, most: int = 600) -> Nest:
    """A legal random nest of a stratum, drawn with odds that favour it and rejected until it is
    one.
    """
    while True:
        directions = (
            (stratum,)
            if stratum in DIRECTIONS
            else ("grad_input",)
            if stratum.startswith("halo")
            else DIRECTIONS
        )
        options = {
            "two spatial levels": {"spatial": 0.6},
            "ragged spatial reduction": {"spatial": 0.6, "fuse": 0.1},
            "fused": {"fuse": 0.8},
        }
        nest = random_nest(
            rng,
            most,
            directions,
            stored=0.9 if stratum == "stored padding" else 0.25,
            **options.get(stratum, {}),
        )
        if stratum in strata(nest):
            return nest


def drawn_nest(seed: int, most: int = 300) -> Nest:
    """The nest of a seed: strata in turn, and every fourth round any nest at all, half of them on
    systolic lines.
    """
    rng = random.Random(seed)
    if seed // len(STRATA) % 4 == 3:
        return random_nest(rng, most, systolic=rng.choice((0.2, 0.9)))
    return stratified_nest(rng, STRATA[seed % len(STRATA)], most)


# -- held ifmaps that slide ------------------------------------------------------------------------


def slid_nest(rng: random.Random, most: int = 300) -> Nest:
    """A legal random nest on lines that hold the ifmap, an output's and its filter's loop both
    outside the PEs: neighbouring settings may hold the same words.
    """
    while True:
        problem = random_problem(rng, most)
        arch = random_architecture(rng, rng.choice((2, 3, 3)), systolic=1.0)
        if rng.random() < 0.6:  # the one that the cycle engine clocks
            nets = {n: x | {"held": "preload"} for n, x in arch.model_dump()["networks"].items()}
            arch = Architecture.model_validate(
                arch.model_dump() | {"networks": nets} | {"array": random_array(rng) | SMALL}
            )
        try:
            nest = Nest(problem, arch, slid_mapping(rng, problem, arch))
        except MappingError:
            continue
        outside = {x.dim for x in nest.loops if not x.spatial and x.level < nest.levels - 1}
        if outside >= {"E", "R"} or outside >= {"F", "S"}:
            return nest


SMALL = {"rows": 12, "cols": 12}


def slid_mapping(rng: random.Random, problem: Problem, arch: Architecture) -> Mapping:
    """Loops of one dimension after another: outside in time, those that slide innermost; over an
    axis; and inside the PEs what is left, mostly of M alone, so that a PE has one word.
    """
    names = arch.level_names
    pe, left = len(names) - 1, dict(problem.size)
    entries: list[tuple[int, float, Loop]] = []
    row = rng.choice(("row", "col"))
    axes = dict.fromkeys("CRS", row) | dict.fromkeys("NEF", "col" if row == "row" else "row")

    def cut(dim: str, tile: int, level: int, place: float, axis: str = "none") -> None:
        if left[dim] > tile:
            entries.append((level, place, Loop(dim=dim, tile=tile, level=names[level], axis=axis)))
            left[dim] = tile

    for dim in DIMS:
        slides = dim in "ERFS"
        if rng.random() < (0.9 if slides else 0.3):
            level = pe - 1 if rng.random() < 0.7 else rng.randrange(pe)
            tile = 1 if rng.random() < 0.7 else rng.randint(1, left[dim])
            cut(dim, tile, level, rng.uniform(0.4 if slides else 0.0, 1.0))
        if dim in axes and rng.random() < 0.8:
            cut(dim, 1 if rng.random() < 0.8 else 2, pe - 1, rng.uniform(1.0, 2.0), axes[dim])
        if dim != "M" and rng.random() < 0.8:
            cut(dim, 1, pe - 1, rng.uniform(2.0, 3.0) if rng.random() < 0.5 else 3.0)
        cut(dim, 1, pe, rng.random())
    entries.sort(key=lambda x: (x[0], x[1]))
    keep = {n: tuple(t for t in TENSORS if rng.random() < 0.6) for n in names} | {names[0]: TENSORS}
    keep[names[-1]] = ("ifmap",) if rng.random() < 0.9 else ("ifmap", rng.choice(TENSORS[::2]))
    return Mapping(loops=tuple(x[2] for x in entries), keep=keep)
