"""Models that others have published: which there are, where they lie, and how they get here."""
