# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Odd small configurations: what differential tests run on.

Each is a set of make_checkpoint.py's options. Together they cover every
format, type, container and scale pattern, and sizes that no vector width,
tile or power of two divides.
"""

CONFIGS = {
    # The plain case.
    "official-column": dict(
        d_model=128, headdim=64, d_state=32, negative_scales=True, zeros=20
    ),
    # 9 heads of 32 channels; thousands of zeros.
    "official-zeros": dict(
        d_model=72, expand=4, d_state=24, zeros=2000, negative_scales=True, dtype="f16"
    ),
    # 5 groups of one head of 40 channels; row scales; 3 taps.
    "official-row": dict(
        d_model=100, headdim=40, ngroups=5, d_state=24, d_conv=3, zeros=7,
        scale_pattern="row", dtype="bf16", pickle="module",
    ),
    # One scale and shift a matrix; every tensor a strided or offset view.
    "official-single": dict(
        d_model=200, headdim=40, ngroups=2, d_conv=2, scale_pattern="single",
        negative_scales=True, pickle="views", pad_vocab=16,
    ),
    # Patterns that differ between the matrices, and between scale and shift.
    "official-mixed": dict(
        d_model=80, ngroups=5, n_layer=3, scale_pattern="row,column",
        shift_pattern="single,row", dtype="f16", shards=3, zeros=5, untied=True,
    ),
    # In safetensors a tied lm_head has no key.
    "official-safetensors": dict(
        d_model=112, d_state=24, dtype="bf16", container="safetensors",
        dt_limit=(0.005, 0.3), infinity="bare", zeros=3,
    ),
    "dense-groups": dict(
        format="dense", d_model=100, headdim=40, ngroups=5, pickle="parameters",
        d_conv=3, dt_limit=(0.01, float("inf")), infinity="bare",
    ),
    "dense-untied": dict(
        format="dense", d_model=72, headdim=24, ngroups=2, d_state=24, dtype="bf16",
        untied=True, no_conv_bias=True, shards=2,
    ),
    # Groups that the gated norm ignores.
    "hf-groups": dict(
        format="hf", d_model=200, headdim=40, ngroups=5, dtype="f16", shards=3,
    ),
    "hf-biases": dict(
        format="hf", d_model=96, ngroups=2, d_state=24, d_conv=2, bias=True,
        no_conv_bias=True, untied=True, dt_limit=(0.001, 0.1), vocab=997,
    ),
    "hf-limits": dict(
        format="hf", d_model=80, dtype="bf16", bias=True, n_layer=3,
        dt_limit=(0.02, float("inf")), infinity="bare",
    ),
}
