"""Lab 4: energy and the memory hierarchy.

An access costs the more the larger the memory is.  `accelsim show systolic` prints what a word
costs at every level of the architecture of this lab, and

    accelsim run lenet5 --layer conv2 --arch systolic --dataflow ws --format json \\
        --tiles rule --set levels.sram.double_buffered=false --set dram=unlimited

has every number.  Say what you expect before you run it.
"""

from __future__ import annotations

import sys
from typing import Any

from grading import Lab, OpenQuestion, Question, run

import accelsim as acc

CAPACITY = "levels.sram.capacity_bytes"


def columns(dataflow: str, **overrides: Any) -> dict[str, Any]:
    """The model's row for LeNet-5's conv2."""
    result = acc.simulate(
        "lenet5",
        "systolic",
        dataflow,
        layers=["conv2"],
        tiles="rule",
        overrides={"levels.sram.double_buffered": False, "dram": "unlimited", **overrides},
    )
    return dict(result.rows[0].columns)


def _parts(dataflow: str) -> dict[str, float]:
    row = columns(dataflow)
    return {
        name: row[f"energy_{name}_pj"]
        for name in ("compute", "dram", "sram", "reg", "link", "lines", "static")
    }


def _read_costs() -> tuple[float, float]:
    """A weight word from DRAM and from the SRAM, in pJ: energy of one word more."""
    from accelsim.hardware.energy import prices

    price = prices(acc.load_architecture("systolic"))
    return price.levels["dram"]["weight"].of(8), price.levels["sram"]["weight"].of(8)


def _dram_words(capacity: int) -> int:
    return sum(v for k, v in columns("os", **{CAPACITY: capacity}).items() if k.startswith("dram_"))


def _enough() -> int:
    """The smallest power of two of bytes with which os moves no more DRAM words than with 512
    KB.
    """
    least = _dram_words(2**19)
    return next(2**k for k in range(9, 20) if _dram_words(2**k) == least)


QUESTIONS = [
    Question(
        "4.1",
        "How much energy do the MACs of conv2 take, in pJ?",
        "How many MACs has it, and what does one take?",
        lambda: columns("ws")["energy_compute_pj"],
        lambda: [(720_000.0, "a factor of ten: 240 000 x 0.3"), (24_000.0, "0.3 pJ each, not 0.1")],
        within=1e-6,
    ),
    Question(
        "4.2",
        "How many SRAM reads of an 8-bit word cost as much as one DRAM read of it?",
        "Divide the two lines of the cost table in the weight column.",
        lambda: _read_costs()[0] / _read_costs()[1],
        lambda: [
            (_read_costs()[0] / 36.239, "that is the psum column: 32 bits, four times as much"),
            (200 / 6, "that is Eyeriss' table"),
        ],
        within=0.01,
    ),
    Question(
        "4.3",
        "Under ws, which part of the total energy goes to DRAM (0 to 1)?",
        "energy_dram_pj over energy_pj.",
        lambda: columns("ws")["energy_dram_pj"] / columns("ws")["energy_pj"],
        lambda: [
            (
                100 * columns("ws")["energy_dram_pj"] / columns("ws")["energy_pj"],
                "as a part of 1, not in per cent",
            )
        ],
        within=0.005,
    ),
    Question(
        "4.4",
        "And which component (compute, dram, sram, reg, link, lines or static) takes the most?",
        "Compare the energy_..._pj columns of components; dram is one, weight is a tensor.",
        lambda: max(_parts("ws"), key=lambda k: _parts("ws")[k]),
        lambda: [
            ("dram", "DRAM's words are the dearest, but another level moves ten times as many"),
            (
                "compute",
                "MACs are the cheapest of all: moving words costs more than computing with them",
            ),
        ],
    ),
    Question(
        "4.5",
        "Which of ws, os and is takes the least energy for conv2?",
        "Look at what psums cost: 32 bits each, read and written in the SRAM for every K tile.",
        lambda: min(("ws", "os", "is"), key=lambda d: columns(d)["energy_pj"]),
        lambda: [
            ("ws", "ws adds psums up in the SRAM, once for every 16 of 150 products"),
            ("is", "is adds psums up in the SRAM like ws"),
        ],
    ),
    Question(
        "4.6",
        "By what factor does the dataflow of 4.5 need less SRAM energy than ws?",
        "energy_sram_pj of ws over that of the other.",
        lambda: columns("ws")["energy_sram_pj"] / columns("os")["energy_sram_pj"],
        lambda: [
            (
                columns("os")["energy_sram_pj"] / columns("ws")["energy_sram_pj"],
                "the other way round",
            ),
            (columns("ws")["energy_pj"] / columns("os")["energy_pj"], "that is of the totals"),
        ],
        within=0.01,
    ),
    Question(
        "4.7",
        f"What is the smallest {CAPACITY}, a power of two, with which os moves no more words to "
        "and from DRAM than with 524288?",
        "Try --set levels.sram.capacity_bytes=... and add the dram columns.",
        _enough,
        lambda: [
            (_enough() // 2, "with that the tiles no longer fit: compare the dram columns"),
            (2 * _enough(), "a smaller one still does"),
            (4 * _enough(), "a smaller one still does"),
        ],
    ),
    Question(
        "4.8",
        "True or False: with that smaller SRAM the layer takes less energy in all than with 524288 "
        "bytes.",
        "How many words move, and what does an access of the smaller memory cost?",
        lambda: bool(
            columns("os", **{CAPACITY: _enough()})["energy_pj"] < columns("os")["energy_pj"]
        ),
        lambda: [
            (False, "what does each of the same accesses cost there, and how much area leaks?")
        ],
    ),
]

GIVEN = {
    "": "The architecture is systolic (45 nm, after Horowitz): a MAC of 8-bit words takes 0.3 pJ. "
    "The layer is LeNet-5's conv2 (240 000 MACs) unless another is named. Tiles are the fixed "
    "rule's; the SRAM of 524288 bytes holds one set of them at a time, and the DRAM is never "
    "waited for.",
    "conv2": "16 filters over 6 channels, 5 x 5 (so 150 products a sum), on 10 x 10 ofmap words.",
    "ws": "weights stay in the PEs, psums go through the SRAM.",
    "os": "sums stay in the PEs until they are whole.",
    "is": "ifmap words stay in the PEs, psums go through the SRAM.",
    "K tile": "the products that are added up in the PEs before a psum goes to the SRAM: as many "
    "as the array has rows, 16.",
    "energy_pj": "the layer's energy.",
    "energy_dram_pj": "what of it the accesses of the DRAM take.",
    "energy_sram_pj": "what of it the accesses of the SRAM take.",
    "energy_..._pj": "a component's part of the energy.",
    "compute": "the MACs.",
    "dram": "the memory outside.",
    "sram": "the buffer on the chip.",
    "reg": "the registers in the PEs.",
    "link": "wires between DRAM and SRAM.",
    "lines": "wires from SRAM to the PEs and from PE to PE.",
    "static": "leakage, for as long as the layer runs.",
    "dram columns": "dram_weight_reads and all others that begin with dram_: words.",
    CAPACITY: "the SRAM's size in bytes.",
}

LAB = Lab(
    name="lab4",
    title="Energy and the memory hierarchy",
    goals=(
        "put a price on each word that moves and find where a layer's energy goes",
        "say why a larger memory is dearer to read and when it pays all the same",
        "compare dataflows by what their psums cost",
    ),
    minutes=90,
    reading=(
        "M. Horowitz, Computing's energy problem (and what we can do about it), ISSCC 2014",
        "accelsim show systolic",
        "Sze and others 2020, chapter 5",
    ),
    questions=lambda variant: QUESTIONS,
    given=lambda variant: GIVEN,
    open=(
        OpenQuestion(
            "4.9",
            "A colleague proposes 16-bit in place of 32-bit psums to save SRAM energy under ws. "
            "Estimate what it saves, say what can go wrong with the numbers, and name a "
            "change that saves more.",
            (
                (
                    2,
                    "estimates from the columns: psum reads and writes of the SRAM are most of "
                    "energy_sram_pj and halve",
                ),
                (
                    2,
                    "sums of 150 products of 8 by 8 bits need up to 8 + 8 + 8 = 24 bits less one "
                    "sign: they can overflow, or saturate",
                ),
                (
                    2,
                    "compares with a change that needs no such risk, as os, or more rows so that "
                    "fewer K tiles go through the SRAM, with its number",
                ),
            ),
            "Under ws psums are written and read in the SRAM for each of ten K tiles (150 / 16); "
            "with half the bits about half of that part goes. But 150 products of two 8-bit "
            "numbers need 16 + log2(150), about 24 bits: 16 overflow unless values are small. os "
            "keeps its sums in the PE: 3.9 times less SRAM energy (question 4.6) with full width.",
        ),
    ),
)

if __name__ == "__main__":
    sys.exit(run(__doc__ or "", LAB))
