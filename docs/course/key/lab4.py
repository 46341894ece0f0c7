"""The teacher's key to lab 4: the variant of the lab's text, and how to come to each answer."""

answers = {
    "4.1": 72_000.0,
    "4.2": 26.9,
    "4.3": 0.438,
    "4.4": "sram",
    "4.5": "os",
    "4.6": 3.862,
    "4.7": 4096,
    "4.8": True,
}

working = {
    "4.1": "240 000 MACs of 0.3 pJ.",
    "4.2": "243.75 pJ over 9.06 pJ, in the weight column.",
    "4.3": "1.26165e6 over 2.88014e6 pJ.",
    "4.4": "The SRAM: 1.35e6 pJ against 1.26e6 of DRAM.",
    "4.5": "os: its psums never leave the PE.",
    "4.6": "1.34968e6 over 3.49489e5 pJ.",
    "4.7": "4096 bytes move as many words as 512 KB, 2048 more.",
    "4.8": (
        "True: the same words move and each access of the smaller memory is cheaper; less area "
        "leaks, too."
    ),
}
