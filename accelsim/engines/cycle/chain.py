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
    """The registers of all chains, the last axis name and value.

    Parts wait in a ring of as many edges as a sum is under way, and so do column sums.
    """

    place: Ints  # [chain row column, PEs]
    part: Ints  # [edges, chains, columns, rows, 2]
    down: Ints  # [chains, columns, rows, 2] the vertical links
    column: Ints  # [edges, chains, columns, 2]
    across: Ints  # [chains, columns, 2] the horizontal links, in the last row


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
        edges, sums, last = (rows + cols,), (chains, cols, rows), (chains, cols)
        registers: Any = [np.zeros((*x, 2)) for x in (edges + sums, sums, edges + last, last)]
        self.links = Links(place, *(x.astype(np.int64) for x in registers))
        for x in self.links[1:]:
            x[..., 0] = NOBODY

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
        (chain, row, col), _, down, _, across = self.links
        registers = {"down": down[chain, col, row].T, "across": across[chain, col].T}
        there = {"down": row >= 0, "across": row == down.shape[2] - 1}
        return {k: (x[1], x[0], (x[0] != NOBODY) & there[k]) for k, x in registers.items()}


@kernel
def hop(first: int, last: int, links: Links, parts: Parts, out: Parts) -> int:
    """Clock edges ``first`` to ``last``; how many sums came out, or what went wrong."""
    chains, cols, rows = links.down.shape[:3]
    k = n = wrong = 0
    for edge in range(first, last + 1):
        now = edge % len(links.part)
        for who in range(links.place.shape[1]):
            chain, row, col = links.place[0, who], links.place[1, who], links.place[2, who]
            links.part[now, chain, col, row, 0] = NOBODY
        while k < len(parts.edge) and parts.edge[k] == edge:
            who = parts.who[k]
            chain, row, col = links.place[0, who], links.place[1, who], links.place[2, who]
            part = links.part[now, chain, col, row]
            if part[0] != NOBODY:
                wrong = TWO_AT_ONCE
            part[0], part[1] = parts.name[k], parts.value[k]
            k += 1
        for chain in range(chains):
            for col in range(cols):
                link = links.down[chain, col]
                wrong = min(wrong, move_on(edge, links.part[:, chain, col], link))
                for x in range(2):
                    links.column[now, chain, col, x] = link[rows - 1, x]
            link = links.across[chain]
            wrong = min(wrong, move_on(edge, links.column[:, chain], link))
            if link[cols - 1, 0] != NOBODY:
                out.edge[n], out.who[n] = edge, chain
                out.name[n], out.value[n] = link[cols - 1, 0], link[cols - 1, 1]
                n += 1
    return wrong if wrong else n


@kernel
def move_on(edge: int, part: Ints, link: Ints) -> int:
    """The edge of one line of links [PEs, 2]: each takes the sum of the one before it, and adds the
    part [edges, PEs, 2] that has waited for it as many edges as it stands along the line.

    Links are walked against the way of the sums, so that each takes what the one before it had.
    """
    wrong = 0
    for i in range(len(link) - 1, -1, -1):
        mine = part[(edge - i) % len(part), i]
        name, value = mine[0], mine[1]
        if i and link[i - 1, 0] != NOBODY:
            came = link[i - 1, 0]
            if name != NOBODY and name != came:
                wrong = MEETS_ANOTHER
            value = link[i - 1, 1] + (value if name == came else 0)
            name = came
        link[i, 0], link[i, 1] = name, value
    return wrong
