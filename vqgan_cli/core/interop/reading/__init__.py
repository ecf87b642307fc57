"""Reading another project's checkpoint, whatever wrote it, without executing anything in it.

From the top: `checkpoints` is what a user names, `unwrapping` finds the weights in it; `torch_files` maps a file of
PyTorch, `torch_containers` knows its two formats, `pickles` interprets the pickles in them, and `pickled_names` says
what classes and functions stand for.
"""

from vqgan_cli.core.interop.reading.checkpoints import read_foreign, read_tensors

__all__ = ["read_foreign", "read_tensors"]
