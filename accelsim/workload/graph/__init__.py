"""Networks as graphs: the file's blocks unrolled, shapes inferred, nodes in an order that runs.

The way of a file: ``entries`` (what it may say) -> ``unroll`` (blocks put in) -> ``graph.build``
(order and shapes).  On a graph then work ``float_run`` (every tensor in float64), ``backward``
(gradients), ``fold`` (batch normalization) and ``weights`` (arrays that fit it).
"""
