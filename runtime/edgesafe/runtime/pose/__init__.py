"""6D pose of known objects in a colour picture: region, network, PnP, or a refusal with a reason.

The way of a frame::

    intrinsics.py  K, checked against the frame     detector.py   frame -> boxes, if no roi is given
    crop.py        box -> the network's input       pnp.py        keypoints -> pose, covariance
    direct.py      decode of the other kind of head estimator.py  puts these together: Pose
    tracking.py    the last pose is the next roi    draw.py       axes, box, outline over a frame
"""
