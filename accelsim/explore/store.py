"""The store: one SQLite file of finished points, written by any number of processes, read by
anything that reads SQLite.

    pandas.read_sql("select * from results", sqlite3.connect("runs.sqlite"))

``points`` has a row for every finished point, known by the hash of all that determines it
(``key``), with a column for every value; ``machines`` are architectures with a column for every
axis, ``items`` layers under recipes; ``rows`` names points: an architecture, an item, a key.
``studies`` and ``members`` say which rows a sweep asked for and in what order.  The view
``results`` puts them together, a line per row whose point is finished.

Every change is one transaction, so that a process killed at any moment leaves whole points and
nothing else.  What goes wrong is a ``StoreError``, one line; what was stored stays.

Here is what changes a store, and ``Store`` itself; ``store_file.py`` has the tables,
``store_reading.py`` what is asked of them.
"""

from __future__ import annotations

import json
import os
import socket
import sqlite3
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any

from accelsim.base.expression import Expression
from accelsim.explore.columns import ColumnBlock, column
from accelsim.explore.plan import SweepPlan, axis_value
from accelsim.explore.store_file import StoreError, quoted
from accelsim.explore.store_reading import StoreReading
from accelsim.results.layer_row import override_text
from accelsim.version import MODEL_VERSION, __version__

__all__ = ["Store", "StoreError"]

# Rows that no study asks for any more take with them what only they needed.
FORGET = (
    "delete from rows where id in (select id from temp.chosen)",
    "delete from points where key not in (select key from rows)",
    "delete from members where row not in (select id from rows)",
    "delete from studies where id not in (select study from members)",
    "delete from machines where id not in (select machine from rows)",
    "delete from items where id not in (select item from rows)",
)


class Store(StoreReading):
    """An open store.  Use as a context manager, or close it.  Raises StoreError for whatever goes
    wrong with the file.
    """

    _run: int | None = None  # of this process, once it has stored something

    def begin(
        self,
        plan: SweepPlan,
        name: str,
        *,
        digest: str | None = None,
        position: int = 0,
        definition: Mapping[str, Any] | None = None,
    ) -> None:
        """Write down what a plan asks for: architectures, items, rows, and that the study ``name``
        has them.

        ``digest`` tells the study from others, the plan's own if not given; its rows stand from
        ``position`` on. What is there already is left as it is.
        """
        digest = digest or plan.digest
        with self.clear(), self.transaction():
            self.reload()
            study = self._study(name, f"{digest} {name}", definition or {})
            if self._members(study, position, plan.rows) < plan.rows:
                ids = self._rows(plan)
                entry = self.inserting("members", ("study", "position", "row"))
                self.db.executemany(
                    entry.replace("or ignore", "or replace", 1),
                    ((study, position + n, number) for n, number in enumerate(ids)),
                )

    def add(self, blocks: Iterable[ColumnBlock], key: Callable[[int], bytes]) -> None:
        """Store finished points in one transaction; ``key`` gives the key of a point's number.
        Those stored already stay as they are.
        """
        with self.clear(), self.transaction():
            self.reload()
            now = time.time()
            for block in blocks:
                self._add(block, [key(i) for i in block.ids.tolist()], now)

    def _add(self, block: ColumnBlock, keys: list[bytes], now: float) -> None:
        kinds = {n: c.kind for n, c in zip(block.names, block.columns, strict=True)}
        own = [quoted(sql) for sql in self.ensure("points", kinds)]
        layout, run = self.layout(block.names), self._this_run()
        names = ["key", "run", "finished", "status", "error", "layout", *own]
        rows = zip(keys, block.status, block.error, block.rows(), strict=True)
        self.db.executemany(
            self.inserting("points", names),
            ((k, run, now, status, error, layout, *values) for k, status, error, values in rows),
        )

    def prune(self, where: Expression) -> int:
        """Forget the rows for which an expression over columns holds, and points no row has any
        more.  How many rows it were.
        """
        ids = self.matching(where, None)
        with self.clear():
            with self.transaction():
                self.choose(ids)
                for statement in FORGET:
                    self.db.execute(statement)
            # Others may be at work, or the disk full: then the space is used again later.
            with suppress(sqlite3.OperationalError):
                self.db.execute("vacuum")
        return len(ids)

    def _this_run(self) -> int:
        """This process as one that has stored points, written down when it first does."""
        known = "select 1 from runs where id = ?"
        if self._run is None or self.db.execute(known, (self._run,)).fetchone() is None:
            names = ("id", "started", "accelsim_version", "model_version", "host", "pid")
            host, number = socket.gethostname(), self.next_id("runs")
            values = (number, time.time(), __version__, MODEL_VERSION, host, os.getpid())
            self.db.execute(self.inserting("runs", names), values)
            self._run = number
        return self._run

    def _study(self, name: str, digest: str, definition: Mapping[str, Any]) -> int:
        names = ("id", "name", "digest", "started", "definition")
        told = json.dumps(definition, default=str)
        values = (self.next_id("studies"), name, digest, time.time(), told)
        self.db.execute(self.inserting("studies", names), values)
        query = "select id from studies where digest = ?"
        return int(self.db.execute(query, (digest,)).fetchone()[0])

    def _members(self, study: int, position: int, count: int) -> int:
        """How many of so many places of a study, from ``position`` on, have a row already."""
        query = "select count(*) from members where study = ? and position between ? and ?"
        values = (study, position, position + count - 1)
        return int(self.db.execute(query, values).fetchone()[0])

    def _rows(self, plan: SweepPlan) -> list[int]:
        """The ids of a plan's rows in their order, added where they must be."""
        machines, items = self._machines(plan), self._items(plan)
        rows = zip(machines, plan.row_items.tolist(), strict=True)
        places = [(machine, items[place]) for machine, own in rows for place in own]
        keys, points = plan.keys(), plan.row_points.tolist()
        first = self.next_id("rows")
        named = zip(places, points, strict=True)
        self.db.executemany(
            self.inserting("rows", ("id", "machine", "item", "key")),
            ((first + n, m, i, keys[point]) for n, ((m, i), point) in enumerate(named)),
        )
        ids: dict[tuple[int, int], int] = {}
        query = "select id, item from rows where machine = ?"
        for machine in dict.fromkeys(machines):
            for number, item in self.db.execute(query, (machine,)):
                ids[machine, item] = number
        return [ids[place] for place in places]

    def _machines(self, plan: SweepPlan) -> list[int]:
        """The ids of a plan's architectures."""
        points = [plan.overrides(m) for m in range(len(plan.numbers))]
        axes = {
            key: column([axis_value(p[key]) for p in points if key in p]).kind
            for key in plan.space.keys
        }
        sql = dict(zip(axes, self.ensure("machines", axes), strict=True))
        ids = []
        for name, digest, overrides in zip(plan.names, plan.digests, points, strict=True):
            identity = {
                "arch": name,
                '"set"': override_text(overrides),
                "arch_hash": digest.hex()[:16],
            }
            rest = {quoted(sql[key]): axis_value(value) for key, value in overrides.items()}
            ids.append(self._entry("machines", identity, rest))
        return ids

    def _items(self, plan: SweepPlan) -> list[int]:
        """The ids of a plan's items."""
        ids = []
        for item in plan.items:
            identity = {
                "digest": item.digest,
                "workload": item.workload,
                "layer": item.layer.name,
                "dataflow": item.recipe.short,
                "mapping": item.recipe.mapping,
            }
            rest = {
                "engine": item.engine,
                "direction": item.problem.direction,
                "batch": item.problem.N,
                "seed": item.seed,
                "model_version": MODEL_VERSION,
            }
            ids.append(self._entry("items", identity, rest))
        return ids

    def _entry(self, table: str, identity: Mapping[str, Any], rest: Mapping[str, Any]) -> int:
        """The id of the entry with this identity, added with the rest if there is none."""
        entry = {"id": self.next_id(table), **identity, **rest}
        self.db.execute(self.inserting(table, tuple(entry)), tuple(entry.values()))
        conditions = " and ".join(f"{name} = ?" for name in identity)
        query = f"select id from {table} where {conditions}"
        return int(self.db.execute(query, tuple(identity.values())).fetchone()[0])
