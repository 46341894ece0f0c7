"""Sums that hop from PE to PE, one link an edge: down the rows of a column, then along the columns
in its last row.

Every PE has a register of the vertical and one of the horizontal link.  A PE's own part waits in
the PE until the sum from the PE before arrives, so parts that set out at edge e are whole at edge
e + (rows - 1) + (cols - 1).  A chain is as long as the mapping makes it; a PE that has nothing to
add passes the sum on.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from accelsim.base.compiled import kernel
from accelsim.engines.cycle.addresses import Bools, Ints
from accelsim.engines.cycle.levels import HazardError

NOBODY = -2  # the name of a register that holds nothing
MEETS_ANOTHER, TWO_AT_ONCE = -1, -2  # what went wrong


class Parts(NamedTuple):
    """Parts of sums that set out, by edge; or whole sums that came out: [sums] each."""

    edge: Ints
    who: Ints  # the PE it sets out from; the chain it comes out of
    name: Ints
    value: Ints


class Links(NamedTuple):
    """The registers of all chains: name and value each.

    Parts wait in a ring of as many edges as a sum is under way, and so do column sums.
    """

    place: Ints  # [chain row column, PEs]
    part_name: Ints  # [edges, chains, columns, rows]
    part: Ints
    down_name: Ints  # [chains, columns, rows] the vertical links
    down: Ints
    column_name: Ints  # [edges, chains, columns]
    column: Ints
    across_name: Ints  # [chains, columns] the horizontal links, in the last row
    across: Ints


class Chains:
    """All chains of an array.  ``chain``, ``row`` and ``col`` of every PE.

    ``edge`` is the last one clocked, ``under_way`` the number of sums that are not out yet;
    ``length`` the links a sum takes.  ``first`` is a PE of each chain.
    """

    def __init__(self, chain: Ints, row: Ints, col: Ints) -> None:
        place = np.stack([chain, row, col]).astype(np.int64)
        chains, rows, cols = (int(x) for x in place.max(axis=1) + 1)
        self.length = (rows - 1) + (cols - 1)
        self.first = np.unique(chain, return_index=True)[1]
        self.edge = self.under_way = 0
        shapes = (
            (rows + cols, chains, cols, rows), (chains, cols, rows), (rows + cols, chains, cols),
            (chains, cols),
        )  # fmt: skip
        registers: Any = [f(s) for s in shapes for f in (lambda s: np.full(s, NOBODY), np.zeros)]
        self.links = Links(place, *(x.astype(np.int64) for x in registers))

    def clock(self, last: int, parts: Parts) -> Parts:
        """Clock up to an edge: parts set out at theirs, every sum moves on by a link an edge.
        Returns the sums that came out, whole.
        """
        chain = self.links.place[0][parts.who]
        self.under_way += len(np.unique(parts.edge * (len(self.first) + 1) + chain))
        out = Parts(*np.zeros((4, self.under_way), np.int64))
        n = hop(self.edge + 1, last, self.links, parts, out)
        if n < 0:
            what = "sums of different words meet" if n == MEETS_ANOTHER else "two sums set out"
            raise HazardError(f"edge {last}: {what} on one chain")
        self.edge = max(last, self.edge)
        self.under_way -= n
        return Parts(*(x[:n] for x in out))

    def look(self) -> dict[str, tuple[Ints, Ints, Bools]]:
        """Values, names and fullness of every PE's registers: ``down`` and, in the last row,
        ``across``.
        """
        chain, row, col = self.links.place
        down, across = self.links.down_name[chain, col, row], self.links.across_name[chain, col]
        last = row == self.links.down.shape[2] - 1
        return {
            "down": (self.links.down[chain, col, row], down, down != NOBODY),
            "across": (self.links.across[chain, col], across, (across != NOBODY) & last),
        }


@kernel
def hop(first: int, last: int, links: Links, parts: Parts, out: Parts) -> int:
    """Clock edges ``first`` to ``last``; how many sums came out, or what went wrong."""
    chains, cols, rows = links.down.shape
    k = n = wrong = 0
    for edge in range(first, last + 1):
        now = edge % len(links.part)
        for who in range(links.place.shape[1]):
            chain, row, col = links.place[0, who], links.place[1, who], links.place[2, who]
            links.part_name[now, chain, col, row] = NOBODY
        while k < len(parts.edge) and parts.edge[k] == edge:
            who = parts.who[k]
            chain, row, col = links.place[0, who], links.place[1, who], links.place[2, who]
            if links.part_name[now, chain, col, row] != NOBODY:
                wrong = TWO_AT_ONCE
            links.part_name[now, chain, col, row] = parts.name[k]
            links.part[now, chain, col, row] = parts.value[k]
            k += 1
        for chain in range(chains):
            for col in range(cols):
                name, value = links.down_name[chain, col], links.down[chain, col]
                part = links.part_name[:, chain, col], links.part[:, chain, col]
                wrong = min(wrong, move_on(edge, part[0], part[1], name, value))
                links.column_name[now, chain, col] = name[rows - 1]
                links.column[now, chain, col] = value[rows - 1]
            name, value = links.across_name[chain], links.across[chain]
            part = links.column_name[:, chain], links.column[:, chain]
            wrong = min(wrong, move_on(edge, part[0], part[1], name, value))
            if name[cols - 1] != NOBODY:
                out.edge[n], out.who[n] = edge, chain
                out.name[n], out.value[n] = name[cols - 1], value[cols - 1]
                n += 1
    return wrong if wrong else n


@kernel
def move_on(edge: int, part_name: Ints, part: Ints, link_name: Ints, link: Ints) -> int:
    """The edge of one line of links [PEs]: each takes the sum of the one before it, and adds the
    part that has waited for it as many edges as it stands along the line.

    part_name, part   [edges, PEs]

    Links are walked against the way of the sums, so that each takes what the one before it had.
    """
    wrong = 0
    for i in range(len(link) - 1, -1, -1):
        at = (edge - i) % len(part)
        name, value = part_name[at, i], part[at, i]
        if i and link_name[i - 1] != NOBODY:
            came = link_name[i - 1]
            if name != NOBODY and name != came:
                wrong = MEETS_ANOTHER
            value = link[i - 1] + (value if name == came else 0)
            name = came
        link_name[i], link[i] = name, value
    return wrong
