"""What is shipped, by name: ``accelsim list`` in the shell, ``acc.workloads()`` and its likes in
Python.
"""

from __future__ import annotations

import html
from functools import cached_property

from accelsim.base.shipped import resolve_file, shipped_names
from accelsim.base.yaml_reading import read_yaml

KINDS = ("workloads", "architectures", "dataflows", "mappings")


class Catalogue(list[str]):
    """The shipped names of one kind, sorted: a list of str that prints as a page with a line of
    description for each.  The files are read when it is printed.
    """

    def __init__(self, kind: str) -> None:
        super().__init__(shipped_names(kind))
        self.kind = kind

    @cached_property
    def entries(self) -> tuple[tuple[str, str], ...]:
        """Each name, a dataflow's short one in brackets behind it, and its description."""
        described = []
        for name in self:
            data = read_yaml(resolve_file(self.kind, name), self.kind).data
            short = f" ({data['short']})" if "short" in data else ""
            described.append((name + short, str(data.get("description", ""))))
        return tuple(described)

    def __str__(self) -> str:
        if not self:
            return ""
        lines = (f"  {name:<32} {description}" for name, description in self.entries)
        return "\n".join((f"{self.kind}:", *lines))

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{html.escape(name)}</td><td>{html.escape(description)}</td></tr>"
            for name, description in self.entries
        )
        return f"<table><caption>{self.kind}</caption><tbody>{rows}</tbody></table>"


def workloads() -> Catalogue:
    """The shipped networks and layers, for ``simulate`` and ``load_workload``."""
    return Catalogue("workloads")


def architectures() -> Catalogue:
    """The shipped architectures, for ``simulate`` and ``load_architecture``."""
    return Catalogue("architectures")


def dataflows() -> Catalogue:
    """The shipped dataflows, for ``simulate`` and ``load_dataflow``."""
    return Catalogue("dataflows")


def mappings() -> Catalogue:
    """The shipped mapping files, for ``simulate`` and ``load_mapping``."""
    return Catalogue("mappings")
