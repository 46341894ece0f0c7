"""How much of the run each PE works: MACs of every PE, from the loops alone."""

from __future__ import annotations

from math import prod

import numpy as np
import numpy.typing as npt

from accelsim.engines.cycle.addresses import digits
from accelsim.mapping.nest import Nest

MOST_PLACES = 1 << 22


def macs_per_pe(nest: Nest) -> npt.NDArray[np.int64] | None:
    """MACs of each PE over the run, [rows, cols]; they add up to the layer's.

    Dimensions are independent, so a PE's MACs are the product over the chains of how many of a
    chain's settings exist at its place.  None where a chain has more settings than can be listed.
    """
    axes = {
        axis: [i for i, x in enumerate(nest.loops) if x.axis == axis] for axis in ("row", "col")
    }
    rows, cols = (max(1, prod(nest.loops[i].trips for i in axes[a])) for a in ("row", "col"))
    place = {i: v[:, None] for i, v in digits(nest, axes["row"]).items()} | {
        i: v[None, :] for i, v in digits(nest, axes["col"]).items()
    }
    macs = np.ones((rows, cols), np.int64)
    for chain in nest.chains:
        spatial = [i for i in chain.loops if nest.loops[i].spatial]
        temporal = [i for i in chain.loops if not nest.loops[i].spatial]
        if prod(nest.loops[i].trips for i in chain.loops) > MOST_PLACES:
            return None
        here, when = digits(nest, spatial), digits(nest, temporal)
        at = {i: v[:, None] for i, v in here.items()} | {i: v[None, :] for i, v in when.items()}
        shape = tuple(max(1, prod(nest.loops[i].trips for i in x)) for x in (spatial, temporal))
        exists = np.broadcast_to(nest.pieces(chain, at).exists, shape).sum(axis=1)
        flat = np.zeros((rows, cols), np.int64)
        for i in spatial:
            flat = flat * nest.loops[i].trips + place[i]
        macs *= exists[flat]
    array = nest.arch.array
    whole = np.zeros((max(rows, array.rows), max(cols, array.cols)), np.int64)
    whole[:rows, :cols] = macs
    return whole
