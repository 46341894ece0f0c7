"""Python beside the shell: every option of a command is a keyword of its function and the other way
round, or stands below with the reason; public arguments are typed; what is shipped can be listed.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
from test_cli import accelsim

import accelsim as acc
from accelsim.base.catalogue import KINDS, Catalogue
from accelsim.base.errors import InputError
from accelsim.base.shipped import shipped_names
from accelsim.base.whole_files import records_csv
from accelsim.cli.main import cli
from accelsim.results.map_network import NetworkBest
from accelsim.results.result import Plots, Result
from accelsim.results.train import Training, train_step, training_data

BAR = "the shell shows a bar where stderr is a terminal"


@dataclass(frozen=True)
class Pair:
    """A command and the function it calls.

    ``elsewhere`` has the options that only say where output goes: the methods that do it in Python.
    ``renamed`` has those whose keyword has another name, or says more, and the reason.
    ``only_python`` has keywords without an option, and the reason.
    """

    function: Any
    elsewhere: dict[str, list[Any]] = field(default_factory=dict)
    renamed: dict[str, tuple[tuple[str, ...], str]] = field(default_factory=dict)
    only_python: dict[str, str] = field(default_factory=dict)


PAIRS = {
    "run": Pair(
        acc.simulate,
        elsewhere={
            "form": [Result.to_csv, Result.to_json, Result.__str__],
            "output": [Result.to_csv, Result.to_json],
            "total": [Result.to_csv, Result.to_json, Result.to_frame, Result.records],
            "plot": [Plots.save],
        },
        renamed={
            "timeline": (
                ("timeline",),
                "a place in the shell; in Python True, then plot.save_timelines or to_trace",
            ),
        },
        only_python={
            "processes": "the shell takes every core; a script that does needs a guard",
            "progress": BAR,
        },
    ),
    "train": Pair(
        train_step,
        elsewhere={
            "form": [Result.to_csv, Result.to_json, Result.__str__],
            "output": [Result.to_csv, Result.to_json],
            "total": [Result.to_csv, Result.to_json],
            "save": [Training.save_weights],
            "gradients": [Training.save_gradients],
        },
        renamed={
            "data": (
                ("images", "targets"),
                "a file has both; in Python images may be that file, or arrays and targets",
            ),
        },
        only_python={"progress": BAR},
    ),
    "map": Pair(
        acc.map_network,
        elsewhere={
            "form": [NetworkBest.to_csv, NetworkBest.to_json],
            "output": [NetworkBest.to_csv, NetworkBest.to_json],
            "save": [NetworkBest.save_mappings],
            # Evaluates the space anew, which stands above results: explore.cloud.cloud gives the
            # points, view.space_picture.space draws them.
            "plot": [],
        },
        only_python={"progress": BAR},
    ),
    "animate": Pair(
        acc.animate,
        elsewhere={"output": [acc.Animation.save]},
    ),
}


@pytest.mark.parametrize("name", PAIRS)
def test_options_are_keywords(name: str) -> None:
    pair, command = PAIRS[name], cli.commands[name]
    options = {p.name: p for p in command.params if p.name is not None}
    keywords = dict(inspect.signature(pair.function).parameters)
    expected = set(options) - set(pair.elsewhere) - set(pair.renamed)
    for given, _ in pair.renamed.values():
        expected |= set(given)
    assert expected | set(pair.only_python) == set(keywords)
    assert not expected & set(pair.only_python)
    assert set(pair.elsewhere) | set(pair.renamed) <= set(options)


@pytest.mark.parametrize("name", PAIRS)
def test_defaults_agree(name: str) -> None:
    """An option that is not given means what the keyword means that is not given."""
    pair, command = PAIRS[name], cli.commands[name]
    keywords = inspect.signature(pair.function).parameters
    for option in command.params:
        if option.name not in keywords or option.name in pair.renamed or option.required:
            continue
        if option.name == "processes":  # one a core in the shell
            continue
        default = option.get_default(click.Context(command))
        if not isinstance(default, (str, int, float)):  # click's own word for none
            default = None
        python = keywords[option.name].default
        unset = ((), None, False, inspect.Parameter.empty)
        assert default == python or (default in unset and python in unset), option.name


@pytest.mark.parametrize("name", PAIRS)
def test_where_output_goes_is_said_in_python_too(name: str) -> None:
    for option, methods in PAIRS[name].elsewhere.items():
        for method in methods:
            parameters = inspect.signature(method).parameters
            if option == "total":
                assert "total" in parameters
            if option in ("output", "plot", "save", "gradients"):
                assert {"path", "directory"} & set(parameters), (option, method)


def test_map_layer_is_map_network_of_one_layer() -> None:
    one = dict(inspect.signature(acc.map_layer).parameters)
    many = dict(inspect.signature(acc.map_network).parameters)
    assert set(one) - {"layer"} == set(many) - {"workload", "layers", "params", "processes"}
    for name in set(one) & set(many):
        assert one[name].default == many[name].default, name


# Parameters of workloads -------------------------------------------------------------------------

# Commands that take a workload, and the least that each needs besides.
WITH_WORKLOAD = {
    "run": ("--arch", "systolic", "--dataflow", "ws"),
    "explain": ("--arch", "systolic", "--dataflow", "ws"),
    "map": ("--arch", "systolic", "--dataflow", "ws"),
    "train": ("--arch", "systolic", "--dataflow", "ws"),
    "animate": ("--arch", "systolic", "--dataflow", "ws"),
    "profile": (),
    "export": ("-o", "never.csv"),
    "show": (),
    "validate": (),
}
WITHOUT = {
    "list": "takes nothing",
    "import": "makes a workload, --dim names its sizes",
    "sweep": "a study's axes are params.NAME",
    "explore": "a page's controls",
    "results": "reads what was stored",
    "compare": "reads what was stored",
    "report": "a study's script",
    "schema": "takes a kind of file",
}
GROWS = """
name: grows
parameters: {seq: 3, past: 0}
input: [=seq, 4]
graph:
  - {name: up, type: dense, M: 2}
"""


def test_every_command_takes_a_workload_s_parameters() -> None:
    """Or stands in the list of those that take no workload: a new command cannot forget them."""
    assert cli.commands.keys() == WITH_WORKLOAD.keys() | WITHOUT.keys()
    for name, command in cli.commands.items():
        option = {p.name: p for p in command.params}.get("params")
        assert (option is not None and "--param" in option.opts) == (name in WITH_WORKLOAD), name


@pytest.mark.parametrize("name", WITH_WORKLOAD)
@pytest.mark.parametrize(
    "wrong, said",
    [
        ("sq=4", "grows has no such parameter, got sq; nearest: seq"),
        ("seq=x", "param seq: must be a whole number, got x"),
        ("seq", "--param wants KEY=VALUE, got seq"),
    ],
)
def test_wrong_parameters_are_refused(
    name: str, wrong: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "grows.yaml"
    file.write_text(GROWS)
    monkeypatch.chdir(tmp_path)
    done = accelsim(name, file, *WITH_WORKLOAD[name], "--param", wrong)
    assert said in done.out + done.err
    assert done.code == 2
    assert [*tmp_path.iterdir()] == [file]


@pytest.mark.parametrize("name", [name for name in WITH_WORKLOAD if name != "validate"])
def test_other_tools_files_are_workloads(name: str, tmp_path: Path) -> None:
    """Each command reads such a file as import does: here, up to what is wrong with it."""
    file = tmp_path / "t.csv"
    file.write_text("Layer,h,w,r,s,c,m,u\na,6,6,3,0,4,2,1\n")
    done = accelsim(name, file, *WITH_WORKLOAD[name])
    assert done.code == 2
    assert f"{file}:2: filter width (column 5) must be" in done.err


@pytest.mark.parametrize("name", ["show", "profile"])
def test_parameters_are_used(name: str, tmp_path: Path) -> None:
    file = tmp_path / "grows.yaml"
    file.write_text(GROWS)
    assert f" {3 * 4 * 2} " in shell(name, file)
    assert f" {7 * 4 * 2} " in shell(name, file, "--param", "seq=7")


def test_a_value_that_fits_no_shape_is_named(tmp_path: Path) -> None:
    file = tmp_path / "grows.yaml"
    file.write_text(GROWS)
    with pytest.raises(InputError, match=r"\(grows with seq=0\)"):
        acc.load_workload(file, {"seq": 0})


# The same rows -----------------------------------------------------------------------------------


def shell(*words: object) -> str:
    done = accelsim(*words)
    assert done.code in (0, 1), done.err
    return done.out


def rows(text: str) -> list[dict[str, Any]]:
    return json.loads(text)


TINY = """
name: tiny
layers:
  - {name: conv, type: conv2d, M: 2, C: 1, H: 1, W: 1, R: 1, S: 1}
  - {name: again, type: conv2d, M: 2, C: 1, H: 1, W: 1, R: 1, S: 1}
"""


@pytest.fixture
def tiny(tmp_path: Path) -> str:
    file = tmp_path / "tiny.yaml"
    file.write_text(TINY)
    return str(file)


ARRAY = {"array.rows": 2, "array.cols": 2}


def test_a_mapper_gives_the_rows_of_run(tiny: str) -> None:
    """``simulate(mapper=...)`` and ``run --mapper`` are one path."""
    words = ("run", tiny, "--layer", "conv", "--arch", "eyeriss", "--dataflow", "rs,os")
    array = (word for key, n in ARRAY.items() for word in ("--set", f"{key}={n}"))
    told = rows(shell(*words, *array, "--mapper", "energy", "--check", "--format", "json"))
    result = acc.simulate(
        tiny,
        "eyeriss",
        "rs,os",
        layers=["conv"],
        mapper="energy",
        check=True,
        overrides=ARRAY,
    )
    assert rows(result.to_json()) == told and not result.failures
    assert list(result.searches) == ["rs", "os"] == [r["dataflow"] for r in told]
    for row, best in zip(told, result.searches.values(), strict=True):
        assert row["mapping"] == "mapper_energy" and row["bit_exact"]
        assert best.result.records()[0]["cycles"] == row["cycles"] and not best.errors


def test_any_dataflow_is_named_in_its_row(tiny: str) -> None:
    result = acc.simulate(tiny, "eyeriss", "any", layers=["conv"], mapper="energy", overrides=ARRAY)
    (row,) = result.records()
    assert row["dataflow"] == "any" and row["mapping"] == "mapper_energy"
    assert list(result.searches) == ["any"]


def test_equal_layers_are_searched_once_and_all_have_rows(tiny: str) -> None:
    result = acc.simulate(tiny, "eyeriss", "rs", mapper="cycles")
    best = result.searches["rs"]
    assert best.layers["conv"] is best.layers["again"]
    assert [r["layer"] for r in result.records()] == ["conv", "again"]
    assert result.rows[0].columns["cycles"] == result.rows[1].columns["cycles"]


def test_a_mapper_that_finds_nothing_says_why_and_has_no_rows(tiny: str) -> None:
    small = {"levels.spad.partitions": {"weight": 1, "ifmap": 1, "ofmap": 1}}
    result = acc.simulate(tiny, "eyeriss", "rs", mapper="edp", overrides=small)
    assert not result.rows and set(result.searches["rs"].errors) == {"conv", "again"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"limit": 1.0, "tiles": "rule"}, "limit: belongs to mapper"),
        ({"mapper": "edp", "mapping": "eyeriss_alexnet"}, "mapping: does not go with mapper"),
        ({"mapper": "edp", "fuse_buffers": True}, "fuse_buffers: does not go with mapper"),
        ({"mapper": "beauty"}, "beauty"),
        ({"mapper": "edp", "dataflow": None}, "dataflow: must be given"),
    ],
)
def test_options_of_the_mapper(options: dict[str, Any], message: str) -> None:
    given = {"workload": "lenet5", "arch": "eyeriss", "dataflow": "rs"} | options
    with pytest.raises(ValueError, match=re.escape(message)):
        acc.simulate(**given)


def test_files_say_what_the_shell_writes(tmp_path: Path) -> None:
    words = ("run", "lenet5", "--arch", "eyeriss", "--dataflow", "ws,os", "--total")
    result = acc.simulate("lenet5", "eyeriss", "ws,os")
    for form, write in (("csv", result.to_csv), ("json", result.to_json)):
        ours, theirs = tmp_path / f"ours.{form}", tmp_path / f"theirs.{form}"
        text = write(ours, total=True)
        shell(*words, "-o", theirs)
        assert ours.read_bytes() == theirs.read_bytes() == f"{text}\n".encode()
    assert shell(*words) == f"{result}\n"
    with pytest.raises(OSError):
        result.to_csv(tmp_path / "nowhere" / "rows.csv")
    assert {p.name for p in tmp_path.iterdir()} == {
        f"{n}.{f}" for n in ("ours", "theirs") for f in ("csv", "json")
    }


def test_pictures_are_saved_as_the_shell_does(tmp_path: Path) -> None:
    result = acc.simulate("lenet5", "eyeriss", "ws", layers=["fc3"], engine="event", timeline=True)
    drawn = result.plot.save(tmp_path / "new") + result.plot.save_timelines(tmp_path / "new")
    names = ["overview", "energy_by_level", "energy_by_tensor", "latency", "utilization"]
    names += ["roofline", "fc3-ws-timeline", "fc3-ws-occupancy"]
    expected = {f"{name}.{ending}" for name in names for ending in ("png", "svg")}
    expected.add("fc3-ws-timeline.csv")
    assert {p.name for p in drawn} == {p.name for p in (tmp_path / "new").iterdir()} == expected
    refused = acc.simulate("lenet5", "eyeriss", mapping="eyeriss_alexnet", layers=["fc3"])
    with pytest.raises(ValueError, match="nothing to draw"):
        refused.plot.save(tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_a_training_step_from_files(tmp_path: Path) -> None:
    graph = acc.load_workload("lenet5").network
    assert graph is not None
    images, labels = training_data(graph, "cross_entropy", 2, 3)
    np.savez(tmp_path / "batch.npz", labels=labels, **images)
    from_file = train_step(
        "lenet5", tmp_path / "batch.npz", arch="systolic", dataflow="ws", engine="analytic"
    )
    from_arrays = train_step(
        "lenet5", images, labels, arch="systolic", dataflow="ws", engine="analytic"
    )
    assert from_file.loss == from_arrays.loss
    weights = from_file.save_weights(tmp_path / "weights.npz")
    gradients = from_file.save_gradients(tmp_path / "gradients.npz")
    with np.load(weights) as saved:
        assert set(saved) == set(from_file.weights)
        assert all(np.array_equal(saved[name], from_file.weights[name]) for name in saved)
    with np.load(gradients) as saved:
        assert set(saved) == set(from_file.gradients)
    again = train_step(
        "lenet5", images, labels, arch="systolic", dataflow="ws", engine="analytic", weights=weights
    )
    assert again.loss != from_file.loss
    with pytest.raises(acc.InputError, match="targets: must not be given beside a file"):
        train_step("lenet5", tmp_path / "batch.npz", labels, arch="systolic", dataflow="ws")


def test_mappings_are_saved_and_run(tmp_path: Path) -> None:
    best = acc.map_network("lenet5", "eyeriss", "rs", layers=["conv1"], objective="energy")
    file = best.save_mappings(tmp_path / "own.yaml")
    (row,) = acc.simulate("lenet5", "eyeriss", mapping=file, layers=["conv1"]).records()
    (record,) = best.records()
    assert row["mapping"] == "own"
    assert all(row[key] == record[key] for key in ("cycles", "energy_mac", "utilization"))
    (told,) = rows(best.to_json(tmp_path / "best.json"))
    assert {**record, "mapping": told["mapping"]}.items() <= told.items()
    assert best.to_csv().splitlines()[0].split(",") == list(record)
    assert rows((tmp_path / "best.json").read_text()) == [told]


# Types -------------------------------------------------------------------------------------------


def functions(name: str, thing: Any) -> Iterator[tuple[str, Any]]:
    """A public function, or what a public class has of its own."""
    if inspect.isfunction(thing):
        yield name, thing
    if not inspect.isclass(thing):
        return
    for key, member in vars(thing).items():
        if key.startswith("_"):
            continue
        inside = member.fget if isinstance(member, property) else member
        for attribute in ("__func__", "func"):  # class methods, cached properties
            inside = getattr(inside, attribute, inside)
        if inspect.isfunction(inside) and inside.__module__.startswith("accelsim"):
            yield f"{name}.{key}", inside


def test_public_signatures_are_typed() -> None:
    """No argument or result of a public function is ``Any``, or without a type."""
    untyped = {}
    for public in acc.__all__:
        for name, function in functions(public, getattr(acc, public)):
            signature = inspect.signature(function)
            types = {p.name: p.annotation for p in signature.parameters.values()}
            types = {key: said for key, said in types.items() if key not in ("self", "cls")}
            types["return"] = signature.return_annotation
            wrong = {
                key
                for key, said in types.items()
                if said is inspect.Signature.empty or re.search(r"\bAny\b", str(said))
            }
            if wrong:
                untyped[name] = wrong
    assert not untyped


def test_names_are_there_and_found_once() -> None:
    assert len(set(acc.__all__)) == len(acc.__all__) and set(acc.__all__) <= set(dir(acc))
    for name in acc.__all__:
        assert getattr(acc, name) is getattr(acc, name)
        assert name in vars(acc)  # the second look-up is Python's own
    with pytest.raises(AttributeError, match="no attribute 'simulat'"):
        acc.simulat  # noqa: B018


# What is shipped ---------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_a_catalogue_is_a_list_and_a_page(kind: str) -> None:
    catalogue = getattr(acc, kind)()
    assert isinstance(catalogue, list) and catalogue == shipped_names(kind)
    assert all(isinstance(name, str) for name in catalogue)
    head, *lines = str(catalogue).splitlines()
    assert head == f"{kind}:" and len(lines) == len(catalogue)
    for name, line in zip(catalogue, lines, strict=True):
        assert re.match(rf"  {name}\b.*\S", line) and len(line.split()) > 2
    page = catalogue._repr_html_()
    assert all(f"<td>{name}" in page for name in catalogue) and "<script" not in page


def test_list_prints_the_catalogues() -> None:
    assert shell("list") == "".join(f"{Catalogue(kind)}\n" for kind in KINDS if Catalogue(kind))


def test_records_need_not_have_the_same_keys() -> None:
    assert records_csv([{"a": 1, "b": None}, {"a": 2, "c": "x,y"}]) == 'a,b,c\n1,,\n2,,"x,y"'
    assert records_csv([]) == ""
