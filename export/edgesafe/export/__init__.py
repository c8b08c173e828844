"""From a trained checkpoint to the package that a device runs.

The way of a model::

    load_checkpoint            torch, float32
      round_weights            to what the storage can hold (storage.py)
      export_tower             torch.onnx, standard operators (graph.py)
      store_weights            fp16 behind Cast, int8 behind DequantizeLinear (storage.py)
      add_head                 scale, ExpMap0, RootDistance of ai.edgesafe (graph.py)
      check_model              function bodies attached, onnx.checker, shape inference
      measure_parity           ONNX Runtime against float64 torch (parity.py)
    concepts, golden pairs     (contents.py)
    write_package              and open it as a device does (exporter.py)
"""

from __future__ import annotations

from edgesafe.export.exporter import Exported, ExportOptions, export_package

__all__ = ["ExportOptions", "Exported", "export_package"]
