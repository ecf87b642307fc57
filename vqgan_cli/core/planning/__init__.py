"""What training on some data would take: look at them, choose settings, measure a few steps."""
