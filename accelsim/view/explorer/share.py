"""The same view in Python and on the command line."""

from __future__ import annotations

import json
import shlex

from accelsim.mapping.mapping import Mapping
from accelsim.view.explorer.ask import Ask


def as_python(ask: Ask, mapping: Mapping | None = None) -> str:
    """A script that prints what the page shows of the layer; ``mapping`` is one the mapper
    found.
    """
    lines = ["import accelsim as acc", ""]
    args = [f"arch={_q(ask.arch)}", f"dataflow={_q(ask.dataflow)}"]
    if ask.own is not None:
        fields = ", ".join(f"{k}={v}" for k, v in ask.own.model_dump().items())
        lines.append(f'layer = acc.Conv2d(name="own", {fields})')
    else:
        args.append(f"layers=[{_q(ask.chosen.name)}]")
    if mapping is not None:
        keep = {level: list(tensors) for level, tensors in mapping.keep.items()}
        lines.append(f"mapping = acc.Mapping(loops={_q(str(mapping))}, keep={json.dumps(keep)})")
        args.append("mapping=mapping")
    if ask.overrides:
        args.append(f"overrides={json.dumps(ask.overrides)}")
    args.append(f"batch={ask.batch}")
    if ask.direction != "forward":
        args.append(f"direction={_q(ask.direction)}")
    layer = "layer" if ask.own is not None else _q(str(ask.workload))
    return "\n".join(
        [
            *lines,
            f"result = acc.simulate({layer}, {', '.join(args)})",
            "print(result)",
            "print(result.to_frame().T)",
        ]
    )


def as_command(ask: Ask, mapping: Mapping | None = None) -> str:
    """The command; a layer that was typed in and a mapping that was found are first written to
    files.
    """
    before = ""
    if ask.own is not None:
        fields = ", ".join(f"{k}: {v}" for k, v in ask.own.model_dump().items())
        before = f"cat > own.yaml <<'EOF'\nname: own\nlayers:\n  - {{name: own, {fields}}}\nEOF\n"
    words = ["accelsim", "run", "own.yaml" if ask.own is not None else str(ask.workload)]
    if ask.own is None:
        words += ["--layer", ask.chosen.name]
    words += ["--arch", ask.arch, "--dataflow", ask.dataflow]
    if mapping is not None:
        keep = ", ".join(
            f"{level}: [{', '.join(tensors)}]" for level, tensors in mapping.keep.items()
        )
        before += (
            f"cat > found.yaml <<'EOF'\nname: found\nkeep: {{{keep}}}\nloops: \"{mapping}\"\nEOF\n"
        )
        words += ["--mapping", "found.yaml"]
    for key, value in ask.overrides.items():
        words += ["--set", f"{key}={value}"]
    words += ["--batch", str(ask.batch)]
    if ask.direction != "forward":
        words += ["--direction", ask.direction]
    return before + shlex.join(words)


def cloud_python(ask: Ask, points: int, seconds: float) -> str:
    """A script that draws the cloud of a layer's mappings."""
    lines = [
        "import accelsim as acc",
        "from accelsim.explore.cloud import cloud",
        "from accelsim.view.space_picture import space",
        "",
    ]
    layer = f"acc.load_workload({_q(str(ask.workload))}).select([{_q(ask.chosen.name)}])"
    if ask.own is not None:
        fields = ", ".join(f"{k}={v}" for k, v in ask.own.model_dump().items())
        layer = f'acc.Conv2d(name="own", {fields})'
    args = [
        layer,
        _q(ask.arch),
        _q(ask.dataflow),
        f"points={points}",
        f"limit={seconds}",
        f"batch={ask.batch}",
    ]
    args += [f"direction={_q(ask.direction)}"] if ask.direction != "forward" else []
    args += [f"overrides={json.dumps(ask.overrides)}"] if ask.overrides else []
    return "\n".join(
        [*lines, f"found = cloud({', '.join(args)})", 'space(found).savefig("cloud.png")']
    )


def cloud_command(ask: Ask) -> str:
    """The command that searches the same space and draws it."""
    return as_command(ask).replace("accelsim run ", "accelsim map ", 1) + " --plot cloud"


def _q(text: str) -> str:
    return json.dumps(text)
