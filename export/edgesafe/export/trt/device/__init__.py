"""What runs on the device: build engines from a bundle, and check them on its golden inputs.

This folder is copied into every bundle as ``edgesafe_trt`` and needs only Python 3.10 and the
``tensorrt`` package there (and NumPy, to check). Nothing of it imports the rest of edgesafe.
"""
