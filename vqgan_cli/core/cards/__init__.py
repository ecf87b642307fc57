"""Model cards: what a model is, for whom it is meant and how it was made, in a ``README.md`` beside it."""
