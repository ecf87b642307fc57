"""The work of this package done the straightforward way, as the published code of VQGAN, minGPT and LlamaGen does it.

Only `vqgan bench` and the tests use it: as the other side of a comparison, and as the oracle of the fast paths. It
computes with the weights of our modules, and shares none of their forward passes. One thing differs from what was
published: LlamaGen's attention is fused, here it is written out for both transformers, which takes no longer.
"""
