"""Training: HySAC's hyperbolic, safety-aware image-text model (arXiv 2503.12127).

How the files stand on one another, from the ground up::

    lorentz.py                 the Lorentz model in torch, pure functions
    encoders/                  two towers behind one interface: open_clip, the embedded edge pair
    model.py                   towers + lift onto the hyperboloid
    losses.py                  contrastive, entailment and shell terms
    data/                      quadruplets, their report of bad records, the resumable loader
    config.py                  one frozen dataclass per table of the configuration file
    engine.py, evaluate.py     the loop, and what is measured between its epochs
    checkpoint.py, state.py    what is kept: the model, and the place where a run stopped
    cli.py                     `edgesafe train`

A run writes two folders: the checkpoint itself (`CKPT`), and beside it `CKPT.run` with the
training log and what ``--resume`` needs. Neither holds a pickle.
"""
