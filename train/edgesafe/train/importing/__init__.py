"""Released weights become checkpoints, as if they had been trained here.

::

    source.py        where PATH leads: a folder, a file, or a repository of the Hugging Face hub
    weights.py       tensors out of a file, and nothing but tensors
    adapters.py      unmerged LoRA layers, in both namings of peft, become plain weights
    layouts.py       names of transformers, open_clip and MERU -> names of our towers
    released.py      hysac, safeclip, openclip, meru: what each release consists of
    commands.py      `edgesafe import`

Nothing is ever unpickled but plain tensors. What a checkpoint says of its licence and origin goes
on into every package that is made of it.
"""
