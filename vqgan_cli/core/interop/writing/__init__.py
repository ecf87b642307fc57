"""Models of ours in other projects' formats.

`source` is what is written and how a format says what it cannot hold; `diffusers`, `taming` (with `taming_gpt` and
`taming_usage`) and `onnx` (with `onnx_checking`) each write one; `usage` has what their examples of use share.
"""
