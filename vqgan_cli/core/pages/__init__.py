"""What every HTML page of this project is made of: one style, and nothing that a browser would fetch."""
