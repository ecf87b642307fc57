"""Reading another project's checkpoint, whatever wrote it, without executing anything in it.

Downwards: `checkpoints` (what a user names) <- `unwrapping` (where the weights are in it), `torch_files` <-
`torch_containers` (the two formats of PyTorch) <- `pickles` (the interpreter) <- `pickled_names` (what classes and
functions stand for) <- `pickled_values`.
"""

from vqgan_cli.core.interop.reading.checkpoints import read_foreign

__all__ = ["read_foreign"]
