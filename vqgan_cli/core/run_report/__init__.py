"""The report of a training run: one HTML file with its curves, pictures, codebook, config and next steps."""
