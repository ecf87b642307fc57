"""Other projects' checkpoints, in and out. The only place of the package where pickles are read."""
