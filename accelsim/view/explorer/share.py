"""The same view in Python and on the command line."""

from __future__ import annotations

import json
import shlex

from accelsim.view.explorer.ask import Ask, SweepAsk


def as_python(ask: Ask) -> str:
    """A script that prints what the page shows of the layer."""
    lines = ["import accelsim as acc", ""]
    args = [f"arch={_q(ask.arch)}", f"dataflow={_q(ask.dataflow)}"]
    if ask.own is not None:
        lines.append(f"layer = {_layer(ask)}")
    else:
        args.append(f"layers=[{_q(ask.chosen.name)}]")
    if ask.params:
        args.append(f"params={json.dumps(ask.params)}")
    args += [f"{key}={_q(value)}" for key, value in _tiles(ask).items()]
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


def as_command(ask: Ask) -> str:
    """The command that prints it."""
    return _command("run", ask, _tile_options(ask))


def explain_command(ask: Ask) -> str:
    """The command that says why."""
    return _command("explain", ask, _tile_options(ask))


def _tiles(ask: Ask) -> dict[str, str]:
    """What is said of tiles, by the name that simulate, sweep and a study have for it."""
    if ask.objective is None:
        return {}
    return {"tiles": "rule"} if ask.objective == "rule" else {"objective": ask.objective}


def _tile_options(ask: Ask) -> list[str]:
    return [word for key, value in _tiles(ask).items() for word in (f"--{key}", value)]


def _layer(ask: Ask) -> str:
    """The layer as an expression: its own, or of its workload with the parameters asked for."""
    if ask.own is not None:
        fields = ", ".join(f"{k}={v}" for k, v in ask.own.model_dump().items())
        return f'acc.Conv2d(name="own", {fields})'
    given = [_q(str(ask.workload)), *([json.dumps(ask.params)] if ask.params else [])]
    return f"acc.load_workload({', '.join(given)}).select([{_q(ask.chosen.name)}])"


def _command(name: str, ask: Ask, more: list[str]) -> str:
    """A command about the layer; one that was typed in is first written to a file."""
    words = ["accelsim", name, "own.yaml" if ask.own is not None else str(ask.workload)]
    if ask.own is None:
        words += ["--layer", ask.chosen.name]
    for key, number in ask.params.items():
        words += ["--param", f"{key}={number}"]
    words += ["--arch", ask.arch, "--dataflow", ask.dataflow]
    for key, value in ask.overrides.items():
        words += ["--set", f"{key}={value}"]
    words += ["--batch", str(ask.batch)]
    if ask.direction != "forward":
        words += ["--direction", ask.direction]
    return _own_file(ask) + shlex.join([*words, *more])


def _own_file(ask: Ask) -> str:
    """What writes a layer that was typed in to a file."""
    if ask.own is None:
        return ""
    fields = ", ".join(f"{k}: {v}" for k, v in ask.own.model_dump().items())
    return f"cat > own.yaml <<'EOF'\nname: own\nlayers:\n  - {{name: own, {fields}}}\nEOF\n"


def cloud_python(ask: Ask, points: int, seconds: float) -> str:
    """A script that draws the cloud of a layer's mappings."""
    lines = [
        "import accelsim as acc",
        "from accelsim.explore.cloud import cloud",
        "from accelsim.view.space_picture import space",
        "",
    ]
    args = [
        _layer(ask),
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
    return _command("map", ask, ["--plot", "cloud"])


def _grid(ask: SweepAsk) -> dict[str, list[int | float | str]]:
    """Axes of a sweep; numbers that the controls changed are axes of one value."""
    changed: dict[str, list[int | float | str]] = {k: [v] for k, v in ask.overrides.items()}
    return changed | {axis.key: list(axis.values) for axis in ask.axes}


def sweep_python(ask: SweepAsk) -> str:
    """A script that makes a frame of the sweep: a row a point."""
    args = [_layer(ask), _q(ask.arch), f"grid={json.dumps(_grid(ask))}"]
    args += [f"dataflows={json.dumps(list(ask.flows))}", f"batch={ask.batch}"]
    args += [f"direction={_q(ask.direction)}"] if ask.direction != "forward" else []
    args += [f"{key}={_q(value)}" for key, value in _tiles(ask).items()]
    return f"import accelsim as acc\n\nframe = acc.sweep({', '.join(args)})\nprint(frame)"


def sweep_command(ask: SweepAsk) -> str:
    """A study file and the command that runs it."""
    lines = [f"workload: {'own.yaml' if ask.own is not None else ask.workload}"]
    lines += [f"layers: [{ask.chosen.name}]", f"arch: {ask.arch}"]
    lines += [f"dataflows: [{', '.join(ask.flows)}]", f"batch: {ask.batch}"]
    lines += [f"direction: {ask.direction}"] if ask.direction != "forward" else []
    lines += [f"{key}: {value}" for key, value in _tiles(ask).items()]
    grid = {f"params.{key}": [value] for key, value in ask.params.items()} | _grid(ask)
    lines += ["grid:", *(f"  {k}: {json.dumps(v)}" for k, v in grid.items())]
    study = "cat > study.yaml <<'EOF'\n" + "\n".join(lines) + "\nEOF\n"
    return _own_file(ask) + study + "accelsim sweep study.yaml --layers"


def _q(text: str) -> str:
    return json.dumps(text)
