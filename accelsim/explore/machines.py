"""Architectures by their overrides: one base, read once, and any number of resolved ones built from
it when wanted.

A plan builds each once to see that it can be built, and keeps names and digests; workers build
those of their tasks.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from threading import Lock
from typing import Any, cast

from accelsim.base.errors import InputError
from accelsim.base.overrides import apply_overrides
from accelsim.base.shipped import resolve_file
from accelsim.base.validation import validate
from accelsim.base.yaml_reading import read_yaml
from accelsim.explore.content import canonical, content_hash
from accelsim.explore.workload_axes import of_machine
from accelsim.hardware.architecture import Architecture
from accelsim.results.tiles import Tiles

KEPT = 4096  # architectures a process keeps built


@dataclass(frozen=True)
class Machine:
    """A resolved architecture, or why there is none; ``digest`` is of its content (of the overrides
    and base if there is none).
    """

    name: str
    arch: Architecture | None
    error: str | None
    digest: bytes

    @property
    def arch_hash(self) -> str:
        """As in the provenance of ``simulate``."""
        return self.digest.hex()[:16]


@dataclass(frozen=True)
class Machines:
    """The base architecture as plain data."""

    data: Mapping[str, Any]

    @classmethod
    def load(cls, arch: Any) -> Machines:
        """Of a name, a file or an object.  Raises InputError."""
        if isinstance(arch, Architecture):
            return cls(arch.model_dump(mode="json", exclude_unset=True))
        source = read_yaml(resolve_file("architectures", arch), "architectures")
        validate(source.data, Architecture, "architectures", source)
        return cls(source.data)

    @cached_property
    def digest(self) -> bytes:
        """Stands for the data, in ``rebuild`` and ``keep``."""
        return content_hash(canonical(self.data))

    @cached_property
    def base(self) -> Architecture:
        """The architecture without overrides."""
        return validate(dict(self.data), Architecture, "architecture")

    @property
    def default_tiles(self) -> Tiles:
        """Whose tiles layers get for which a study says none: the base's own, or the default's."""
        chosen = self.data.get("default_tiles", Architecture.model_fields["default_tiles"].default)
        return cast(Tiles, chosen)

    def check_key(self, key: str, value: Any) -> None:
        """Raises InputError if no architecture has this key."""
        apply_overrides(dict(self.data), {key: value}, Architecture)

    def build(self, overrides: Mapping[str, Any]) -> Machine:
        """The architecture with these keys overridden, those of the workload apart; where the
        values do not go together, why.
        """
        overrides = of_machine(overrides)
        name = str(overrides.get("name", self.data.get("name", "")))
        try:
            data = dict(self.data)
            if overrides:
                data = apply_overrides(data, overrides, Architecture)
            arch = validate(data, Architecture, "architecture", overridden=tuple(overrides))
        except InputError as error:
            digest = content_hash(canonical([self.data, dict(overrides)]))
            return Machine(name, None, str(error), digest)
        return Machine(arch.name, arch, None, content_hash(arch.model_dump_json()))


_built: OrderedDict[tuple[bytes, bytes], Architecture] = OrderedDict()
_built_lock = Lock()


def rebuild(
    machines: Machines, base: bytes, digest: bytes, overrides: Mapping[str, Any]
) -> Architecture:
    """The architecture of these overrides, kept between calls.  ``base`` and ``digest`` stand for
    what they are of.
    """
    arch = _built.get((base, digest))
    if arch is None:
        arch = machines.build(overrides).arch
        if arch is None:
            raise ValueError("this architecture cannot be built")
        keep(base, digest, arch)
    return arch


def keep(base: bytes, digest: bytes, arch: Architecture) -> None:
    """An architecture that is built already, for ``rebuild``."""
    with _built_lock:
        _built[base, digest] = arch
        while len(_built) > KEPT:
            _built.popitem(last=False)
