"""TensorRT: the bundle that a device builds its engines from, and builds without a GPU.

``bundle`` writes the bundle, ``device/`` holds what runs on the device, ``verify`` parses and
builds every network with TensorRT-RTX, which needs no GPU, and ``plugin/`` holds the kernels of
the hyperbolic head.
"""
