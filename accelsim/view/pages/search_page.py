"""Pages of what the mapper found: of a layer, of a network, and the proof alone."""

from __future__ import annotations

from dataclasses import replace

from accelsim.base.text_table import Block, Preformatted, Sentences, TextTable, spaced
from accelsim.mapper.certificate import Certificate
from accelsim.results.best_mapping import Best
from accelsim.results.map_network import NetworkBest
from accelsim.results.table import result_blocks

NOTHING = "no layer was mapped"
BY_RULE = "  (the fixed rule's, better than all of the space: its tiles need not divide)"
DIVISORS = "gap and proved: of tiles that divide; others (even, all) may be better"


def network_best_blocks(best: NetworkBest) -> tuple[Block, ...]:
    """A line a layer; mappings below, for they are long; then the layers that have none."""
    errors = tuple(f"{name}: {why}" for name, why in best.errors.items())
    return (*layer_lines(best), *([Sentences(errors)] if errors else []))


def layer_lines(best: NetworkBest) -> tuple[Block, ...]:
    """The layers that were mapped, as ``accelsim map`` prints them."""
    if not best.layers:
        return (Sentences((NOTHING,)),)
    energy = _energy_column(next(iter(best.layers.values())))
    head = ["layer", energy, "cycles", "util %", "gap", "space", "evaluated", "s"]
    rows = [_layer_row(name, layer, energy) for name, layer in best.layers.items()]
    table = TextTable.of(head, rows, right=range(1, len(head)))
    mappings = tuple(
        f"{name}: {layer.mapping}{BY_RULE if layer.certificate.rule else ''}"
        for name, layer in best.layers.items()
    )
    divide = any(layer.certificate.tiles == "divisors" for layer in best.layers.values())
    note = [Sentences((DIVISORS,))] if divide else []
    return replace(table, ruled=False, gap=" "), Preformatted(mappings), *note


def best_blocks(best: Best) -> tuple[Block, ...]:
    """The proof, the mapping, its row, and the front if one was asked for."""
    blocks = [*certificate_blocks(best.certificate), Preformatted((f"loops: {best.mapping}",))]
    blocks += result_blocks(best.result)
    if best.front:
        rows = [(f"{p.energy:.5g}", spaced(p.cycles, ".0f"), str(p.mapping)) for p in best.front]
        blocks.append(TextTable.of(["energy", "cycles", "mapping"], rows, (0, 1)))
    return tuple(blocks)


def certificate_blocks(certificate: Certificate) -> tuple[Block, ...]:
    """The proof in a sentence."""
    return (Sentences((str(certificate),)),)


def _energy_column(best: Best) -> str:
    columns = best.result.rows[0].columns
    return next(name for name in columns if name in ("energy_mac", "energy_pj"))


def _layer_row(name: str, best: Best, energy: str) -> list[str]:
    columns, proof = best.result.rows[0].columns, best.certificate
    return [
        name,
        f"{columns[energy]:.5g}",
        f"{columns['cycles']:,.0f}",
        f"{100 * columns['utilization']:.1f}",
        "proved" if proof.gap == 0 else f"{proof.gap:.2%}",
        f"{proof.space:.3g}",
        f"{proof.evaluated:.3g}",
        f"{round(proof.seconds, 3):.1f}",
    ]
