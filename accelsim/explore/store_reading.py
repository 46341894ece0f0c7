"""What a store tells: its rows as a table, which points are finished, which studies there are.

The half of ``Store`` that changes nothing.  Rows are what people ask for, chosen by an expression
and by study; points are what a sweep asks for, by their keys, so that it need not evaluate them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from accelsim.base.errors import InputError
from accelsim.base.expression import Expression, ExpressionError
from accelsim.explore.columns import Column, ColumnBlock, Table, column, text_column
from accelsim.explore.store_file import JOINED, StoreFile, marks, quoted

CHUNK = 900  # values of one query; older SQLite takes 999


class StoreReading(StoreFile):
    """An open store that is read."""

    @property
    def names(self) -> list[str]:
        """The columns of ``results``, in order."""
        with self.clear():
            self.reload()
            return list(self.selected())

    def studies(self) -> list[dict[str, Any]]:
        """Name, start (seconds since 1970), rows and finished rows of every study, oldest first."""
        query = (
            "select s.name, s.started, count(*), count(p.id) from studies s "
            "join members b on b.study = s.id join rows r on r.id = b.row "
            "left join points p on p.key = r.key group by s.id order by s.id"
        )
        names = ("name", "started", "rows", "finished")
        with self.clear():
            return [dict(zip(names, row, strict=True)) for row in self.db.execute(query)]

    # Points ---------------------------------------------------------------------------------------

    def stored(self, keys: Sequence[bytes]) -> dict[int, int]:
        """Places in ``keys`` whose points are finished, and the points' ids in this file."""
        ids: dict[int, int] = {}
        with self.clear():
            self.verify()
            if self.db.execute("select 1 from points limit 1").fetchone() is None:
                return ids
            for start in range(0, len(keys), CHUNK):
                part = keys[start : start + CHUNK]
                place = {key: start + i for i, key in enumerate(part)}
                query = f"select key, id from points where key in ({marks(len(part))})"
                for key, number in self.db.execute(query, part):
                    ids[place[key]] = number
        return ids

    def fetch(self, points: Mapping[int, int]) -> list[ColumnBlock]:
        """The records of points by their ids here, as ``stored`` gives them; the blocks' ids are
        its keys.
        """
        place = {number: i for i, number in points.items()}
        groups: dict[int, list[tuple[int, str, str | None]]] = {}  # by layout
        with self.clear():
            self.reload()
            query = "select id, layout, status, error from points where id in ({}) order by id"
            for number, layout, status, error in self._in_chunks(query, sorted(place)):
                groups.setdefault(layout, []).append((number, status, error))
            names_of = {number: names for names, number in self.layouts.items()}
            blocks = []
            for layout, members in groups.items():
                ids, statuses, errors = zip(*members, strict=True)
                blocks.append(
                    ColumnBlock(
                        np.array([place[i] for i in ids], dtype=np.int64),
                        names_of[layout],
                        self._values(names_of[layout], ids),
                        statuses,
                        errors,
                    )
                )
        return blocks

    def _values(self, names: tuple[str, ...], ids: Sequence[int]) -> tuple[Column, ...]:
        """The columns of these names at points, whose ids ascend."""
        if not names:
            return ()
        kinds, sql = zip(*(self.known["points"][name] for name in names), strict=True)
        chosen = ", ".join(quoted(name) for name in sql)
        query = f"select {chosen} from points where id in ({{}}) order by id"
        values = zip(*self._in_chunks(query, ids), strict=True)
        return tuple(_column(v, kind) for v, kind in zip(values, kinds, strict=True))

    def _in_chunks(self, query: str, ids: Sequence[int]) -> Iterator[tuple[Any, ...]]:
        """The rows of a query about these ids, which stand where it has ``{}``."""
        for start in range(0, len(ids), CHUNK):
            part = ids[start : start + CHUNK]
            yield from self.db.execute(query.replace("{}", marks(len(part))), part)

    # Rows -----------------------------------------------------------------------------------------

    def table(
        self,
        columns: Sequence[str] | None = None,
        where: Expression | None = None,
        study: str | None = None,
    ) -> Table:
        """Columns of ``results`` (all if not given), the rows for which ``where`` holds, those of
        one study if named.

        Raises InputError for a column or a study there is not, or an expression that cannot be
        worked out.
        """
        with self.clear():
            self.verify()
            self.reload()
        selected = self.selected()
        wanted = list(selected) if columns is None else list(columns)
        for name in wanted:
            self._check_name(name, "columns")
        number = None if study is None else self._study_number(study)
        if where is not None:
            ids = self.matching(where, number)
            with self.clear():
                self.choose(ids)
        sql = [selected[name] for name in wanted]
        with self.clear():
            rows = self._select(sql, number, chosen=where is not None)
        kinds = self._kinds()
        values = list(zip(*rows, strict=True)) if rows else [()] * len(wanted)
        return Table(
            {n: _column(v, kinds.get(n, "")) for n, v in zip(wanted, values, strict=True)},
            len(rows),
        )

    def matching(self, where: Expression, study: int | None) -> list[int]:
        """Ids of the rows for which an expression holds.  Raises InputError."""
        with self.clear():
            self.verify()
            self.reload()
        selected = self.selected()
        for name in where.names:
            self._check_name(name, "where")
        with self.clear():
            rows = self._select(["r.id", *(selected[n] for n in where.names)], study)
        try:
            return [
                number
                for number, *values in rows
                if where.holds(dict(zip(where.names, values, strict=True)))
            ]
        except ExpressionError as error:
            raise InputError(str(error), key="where", got=where.text) from None

    def _select(
        self, sql: Sequence[str], study: int | None, *, chosen: bool = False
    ) -> list[tuple[Any, ...]]:
        """Finished rows: of all, or of one study in its order; of these the ``chosen``, or all."""
        source, order, conditions = JOINED, "r.id", []
        values: tuple[int, ...] = ()
        if study is not None:
            member = JOINED.replace("rows r", "rows r on r.id = b.row", 1)
            source, order, values = f"members b cross join {member}", "b.position", (study,)
            conditions.append("b.study = ?")
        if chosen:
            conditions.append("r.id in (select id from temp.chosen)")
        where = f" where {' and '.join(conditions)}" if conditions else ""
        query = f"select {', '.join(sql)} from {source}{where} order by {order}"
        return self.db.execute(query, values).fetchall()

    def _check_name(self, name: str, key: str) -> None:
        if name not in (known := self.selected()):
            raise InputError(f"{self.path} has no such column", key=key, got=name, choices=known)

    def _study_number(self, name: str) -> int:
        """The newest study of a name."""
        with self.clear():
            newest = dict(self.db.execute("select name, max(id) from studies group by name"))
        if name not in newest:
            rule = f"{self.path} has no such study"
            raise InputError(rule, key="study", got=name, choices=newest)
        return int(newest[name])

    def _kinds(self) -> dict[str, str]:
        """The kind of each column that has one of its own."""
        texts = dict.fromkeys(("workload", "layer", "arch", "set", "dataflow", "error"), "text")
        return texts | {
            name: kind for place in self.known.values() for name, (kind, _) in place.items()
        }


def _column(values: Sequence[Any], kind: str) -> Column:
    """A column as it was stored: truth values come back from SQLite as 0 and 1, whole floats as
    floats.
    """
    if kind == "bool":
        values = [None if v is None else bool(v) for v in values]
    if kind == "text":
        texts = [v if v is None or isinstance(v, str) else str(v) for v in values]
        return text_column(np.array(texts, dtype=object))
    return column(values)
