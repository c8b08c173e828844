"""The demo, its report, and the procedural data of the embedded model.

``edgesafe.samples.demo`` needs what a device has and nothing more; the modules that generate
training data need ``edgesafe[samples]``.
"""
