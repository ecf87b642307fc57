"""Larger pictures from small ones, and how true they are to them."""
