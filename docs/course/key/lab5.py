"""The teacher's key to lab 5: the variant of the lab's text, and how to come to each answer."""

answers = {
    "5.1": 52,
    "5.2": 6336,
    "5.3": {
        "array.rows": 16,
        "array.cols": 16,
        "levels.sram.capacity_bytes": 16384,
        "dataflow": "os",
    },
    "5.4": 7,
    "5.5": "same",
}

working = {
    "5.1": "Count the rows with area_um2 within the budget; each dataflow is a design of its own.",
    "5.2": "The least of cycles among them.",
    "5.3": (
        "The least of energy_pj x time_s among them: 16 x 16 PEs with 16 KiB under os for 400 "
        "000 um2 (it takes 291 444)."
    ),
    "5.4": (
        "Sort by area, keep each row that is faster than all before it; equal points count once."
    ),
    "5.5": "The same: nothing here waits for memory and LeNet-5's tiles fit either buffer.",
}
