"""What a network does besides convolving, and convolving as a node of a graph: golden models in
NumPy, one module a family.

A new operator is a class in the module of its family (``operator.Operator`` says what it must
have) and an entry of ``MODELS`` in ``graph/entries``.  It can be trained when ``gradients`` has a
rule for it, imported and exported when ``importers/onnx_operators`` and ``onnx_export`` name it.
The schema of workload files follows from the classes (``accelsim schema workload``).
"""
