"""Marker boards in data sets of poses: found, used as an oracle, erased, moved, and audited.

Objects that were recorded on a marker board never move against it, so that a network may read the
markers instead of the object (Govi et al., "Uncovering the Background-Induced bias in RGB based
6-DoF Object Pose Estimation", arXiv 2304.08230).
"""
