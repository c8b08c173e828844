"""Training images from meshes, on a processor and without a display.

From the ground up: :mod:`~edgesafe.calib.render.surface` (triangles),
:mod:`~edgesafe.calib.render.raster` (which triangle is seen where),
:mod:`~edgesafe.calib.render.shade` (its colour), :mod:`~edgesafe.calib.render.canvas` (bodies put
together, masks), :mod:`~edgesafe.calib.render.scene` (where bodies are),
:mod:`~edgesafe.calib.render.looks`, :mod:`~edgesafe.calib.render.shapes`,
:mod:`~edgesafe.calib.render.photos` and :mod:`~edgesafe.calib.render.ground` (what they and the
rest look like), :mod:`~edgesafe.calib.render.camera_effects` (what a camera makes of it),
:mod:`~edgesafe.calib.render.frame` (one image with its truth) and
:mod:`~edgesafe.calib.render.dataset` (many of them).
"""
