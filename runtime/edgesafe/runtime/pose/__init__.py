"""6D pose of known objects in a colour picture: region, network, PnP, or a refusal with a reason.

The way of a frame::

    regions.py     what the caller handed over      intrinsics.py  K, checked against the frame
    detector.py    frame -> boxes, without a roi    crop.py        box -> the network's input
    networks.py    crop -> keypoints, or a pose     fit.py         keypoints -> a pose, or refused
    pnp.py         SQPnP, then Gauss-Newton         direct.py      decode of the direct head
    gating.py      confidence and gates             golden.py      does it compute the same here?
    estimator.py   puts these together              result.py      Pose
    tracking.py    the last pose is the next roi    draw.py        axes, box, outline over a frame
"""
