"""What goes beside a package: model repositories of servers, bills of material, model cards.

* ``triton``: a Triton model repository; ``pbtxt`` writes its ``config.pbtxt``.
* ``deepstream``: configurations of Gst-nvinfer.
* ``ownership``: which folders ``--overwrite`` may replace.
* ``specs``, ``licences``: what the next two look up.
* ``sbom``: a CycloneDX bill of materials.
* ``model_card``: what the manifest says, as a page for people.
* ``options``: the options of ``edgesafe export``.

Each is made from a verified package alone, so it can be made again for any package.
"""
