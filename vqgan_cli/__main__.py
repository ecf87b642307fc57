"""``python -m vqgan_cli``: the same as the command ``vqgan``, and what multi-process launchers run."""

from __future__ import annotations

from vqgan_cli.cli.app import main

__all__ = ["main"]

if __name__ == "__main__":
    main()
