"""Other tools' descriptions of networks, read into a workload and written from one.

``cli/import_command`` is who calls: ``import_onnx``, ``import_caffe``, ``import_scalesim`` and
``import_timeloop`` each take a file and give a ``network_builder.Imported``; ``export_onnx`` and
``export_scalesim`` go the other way.  A new format is one module with such a function, which
collects nodes in a ``NetworkBuilder`` or hands ``made`` a file's data.
"""
