"""Model cards: what a model is, for whom it is meant and how it was made, in a ``README.md`` beside it.

`text` is the card of a model, `exports` that of an export, both of the `sections`; `writing` leaves alone what somebody
has edited."""
