"""Networks as graphs: the file's blocks unrolled, shapes inferred, nodes in an order that runs."""
