"""One module per command: set up, loop, evaluate, save."""
