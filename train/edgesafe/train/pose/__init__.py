"""Training of SoftVote-PnP, its direct rival and the detector, on BOP data sets.

The way of a sample, and what looks at it::

    dataset.py   BOP data sets -> frames, objects      objects.py   keypoints, hull, symmetries
    cache.py     frames -> pieces, cut out once        photos.py    backgrounds
    regions.py   piece -> region of interest           occlude.py   what hides a part of it
    frames.py    piece -> frame for the detector       colour.py    what happens to the colours
    network.py   trunks.py + vote.py | direct.py       detector.py  heat and boxes
    losses.py    of the two heads                      tasks.py     network + samples + losses
    fit.py       the loop of one network               engine.py    the run: all networks
"""
