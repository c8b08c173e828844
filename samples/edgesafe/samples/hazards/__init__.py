"""The training data of the embedded model: photos with drawn hazards, and caption twins."""
