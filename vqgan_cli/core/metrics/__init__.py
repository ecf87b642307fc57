"""Reconstruction and codebook metrics."""
