"""What computes: one file per library, behind :mod:`edgesafe.runtime.sessions`.

=============  =====================================================================  ============
backend        library                                                                file
=============  =====================================================================  ============
``cpu``        ONNX Runtime                                                           ``onnxruntime_backend``
``cuda``       ONNX Runtime with its CUDA provider                                    ``onnxruntime_backend``
``trt``        TensorRT itself where its Python module is installed, else ``trt-ep``  ``tensorrt_backend``
``trt-ep``     ONNX Runtime with its TensorRT provider                                ``onnxruntime_backend``
``openvino``   OpenVINO on the CPU                                                    ``openvino_backend``
``auto``       ``cuda`` where it works, else ``cpu`` or ``openvino`` after a trial    ``trial``
=============  =====================================================================  ============

Every backend gets bytes that :mod:`edgesafe.runtime.onnx_guard` looked through, never a path, and
computes in the types that the graph says: no TF32, no bfloat16, no float16 of its own accord. The
hyperbolic head would lose its meaning in them.

Of TensorRT, ``engine_cache`` keeps what was built, ``tensorrt_build`` builds it, ``cuda`` talks to
the driver.
"""  # noqa: E501
