"""SCALE-Sim's ``.cfg`` files: what the machine is, as overrides of our preset ``scalesim``.

Only the shell asks (``accelsim import scale.cfg``): it applies the overrides and writes the
architecture.  Keys as in the tool's ``scale_config.py``, sections and case as Python's
``configparser`` has them; docs/scalesim.md says what each becomes.
"""

from __future__ import annotations

import configparser
import os
from dataclasses import dataclass
from typing import Any

from accelsim.base.errors import InputError
from accelsim.importers.network_builder import clean, read_text, stem

MAX_BYTES = 200_000
PRESET = "scalesim"
FLOWS = ("ws", "os", "is")
# The three memories, by the name of the third version and that of the first.
_MEMORIES = ("ifmapsramsz", "filtersramsz", "ofmapsramsz")
# What moves no number here: addresses, which topology, and values of switches that are off.
_NOWHERE = ("ifmapoffset", "filteroffset", "ofmapoffset", "topologycsvloc")


@dataclass(frozen=True)
class ScaleSimMachine:
    """What a configuration says: the machine's name, overrides of ``PRESET``, and what was noticed
    on the way.
    """

    name: str
    overrides: dict[str, Any]
    notes: tuple[str, ...]


def import_scalesim_config(file: str | os.PathLike[str]) -> ScaleSimMachine:
    """A configuration as overrides.  Raises InputError naming the key that is missing or wrong."""
    given = _given(file)
    taken: set[str] = set()

    def whole(*names: str) -> int:
        key = next((name for name in names if name in given), names[0])
        text = given.get(key)
        taken.add(key)
        if text is None or not text.isascii() or not text.isdigit() or not 1 <= int(text[:12]):
            raise InputError(
                "must be a whole number of at least 1",
                file=file,
                key=key,
                got="nothing" if text is None else text[:40],
            )
        return int(text[:12])

    overrides: dict[str, Any] = {"array.rows": whole("arrayheight")}
    overrides["array.cols"] = whole("arraywidth")
    # The tool counts words of a byte: kilobytes are its kilowords.
    sizes = [whole(f"{name}kb", name) for name in _MEMORIES]
    overrides["levels.sram.priced_bytes"] = 1024 * sum(sizes)
    flow = given.get("dataflow", "").lower()
    taken |= {"dataflow", "run_name", *_NOWHERE}
    if flow not in FLOWS:
        raise InputError(
            f"must be one of {', '.join(FLOWS)}", file=file, key="dataflow", got=flow or "nothing"
        )
    notes = [f"the dataflow is {flow}: run with --dataflow {flow}"]
    notes += _bandwidth(file, given, taken, overrides)
    others = [
        f"{key} {value[:20]}"
        for key, value in given.items()
        if key not in taken and value.lower() not in ("", "false")
    ]
    notes += [f"without a counterpart here: {one}" for one in others]
    name = clean(given.get("run_name", "").strip("\"'")) or stem(file)
    return ScaleSimMachine(name, overrides | {"name": name}, tuple(notes))


def _given(file: str | os.PathLike[str]) -> dict[str, str]:
    """Every key of every section, in small letters, with its value."""
    reader = configparser.ConfigParser(strict=True, interpolation=None)
    try:
        reader.read_string(read_text(file, MAX_BYTES))
    except configparser.Error as error:
        first = (
            "a line before the first section"
            if isinstance(error, configparser.MissingSectionHeaderError)
            else str(error).split("\n")[0].replace("<string>", "the file")
        )
        raise InputError(
            "must have sections of keys and values, as Python's configparser reads them",
            file=file,
            line=getattr(error, "lineno", None),
            got=first,
        ) from None
    if "architecture_presets" not in reader:
        raise InputError(
            "must have a section [architecture_presets]",
            file=file,
            got=", ".join(reader.sections()) or "none",
        )
    given: dict[str, str] = {}
    for section in reader.sections():
        for key, value in reader[section].items():
            if key in given:
                raise InputError("stands in two sections", file=file, key=key)
            given[key] = value.strip()
    return given


def _bandwidth(
    file: str | os.PathLike[str],
    given: dict[str, str],
    taken: set[str],
    overrides: dict[str, Any],
) -> list[str]:
    """The words a cycle between memory and SRAM, if the user states them: a channel for each of
    the three SRAMs.  Notes what is said of it.
    """
    mode = given.get("interfacebandwidth", "CALC")
    taken |= {"interfacebandwidth", "bandwidth"}
    if mode == "CALC":
        return ["memory is never waited for (InterfaceBandwidth: CALC)"]
    if mode != "USER":
        raise InputError(
            "must be CALC or USER", file=file, key="interfacebandwidth", got=mode[:40] or "nothing"
        )
    words = [part.strip() for part in given.get("bandwidth", "").split(",")]
    if len(words) not in (1, 3) or not all(
        w.isascii() and w.isdigit() and 1 <= int(w[:12]) < 10**8 for w in words
    ):
        raise InputError(
            "must be one or three whole numbers of words a cycle",
            file=file,
            key="bandwidth",
            got=given.get("bandwidth", "")[:40] or "nothing",
        )
    every = [8 * int(w) for w in words] * (3 // len(words))
    tensors = ("ifmap", "weight", "ofmap")
    overrides["networks.link.width_bits"] = dict(zip(tensors, every, strict=True))
    return [
        f"bandwidth: {', '.join(words)} words a cycle are a channel of 8 bits a word for each"
        " tensor below dram; SCALE-Sim's own waiting is another (docs/scalesim.md)"
    ]
