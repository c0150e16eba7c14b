#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Writes a Mamba-2 of random weights for llama.cpp: linears in TQ2_0, the
embedding, which is the output too, in Q6_K, as llama_model_quantize has it.

  PYTHONPATH=LLAMA/gguf-py make_gguf.py 780M|1.3B OUT.gguf
"""

import sys

import gguf
import numpy as np

D_MODEL = {"780M": 1536, "1.3B": 2048}
LAYERS, D_STATE, TAPS, VOCAB = 48, 128, 4, 32000
BLOCK = 256  # weights


def main(size, path):
    d_model = D_MODEL[size]
    d_inner = 2 * d_model
    heads, channels = d_inner // 64, d_inner + 2 * D_STATE
    rng = np.random.default_rng(1)
    writer = gguf.GGUFWriter(path, "mamba2")
    writer.add_block_count(LAYERS)
    writer.add_context_length(1 << 20)
    writer.add_embedding_length(d_model)
    writer.add_feed_forward_length(0)
    writer.add_head_count(0)
    writer.add_ssm_conv_kernel(TAPS)
    writer.add_ssm_inner_size(d_inner)
    writer.add_ssm_state_size(D_STATE)
    writer.add_ssm_time_step_rank(heads)
    writer.add_ssm_group_count(1)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(VOCAB)
    writer.add_tokenizer_model("no_vocab")
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_TQ2_0)

    def dense(name, *shape, mean=0.0):
        writer.add_tensor(name, rng.normal(mean, 0.1, shape).astype(np.float32))

    def blocks(rows, columns, bytes, scale):
        """Random blocks that end in a scale."""
        data = rng.integers(0, 256, (rows, columns // BLOCK, bytes), dtype=np.uint8)
        data[:, :, -2:] = np.frombuffer(np.float16(scale).tobytes(), np.uint8)
        return data

    def add(name, data, type):
        writer.add_tensor(name, data.reshape(len(data), -1), raw_dtype=type)

    def ternary(name, rows, columns):
        data = blocks(rows, columns, 66, 0.02)
        pairs = data[:, :, :64]
        pairs &= ~(pairs & 0xAA & (pairs & 0x55) << 1)  # no pair is 3
        add(name, data, gguf.GGMLQuantizationType.TQ2_0)

    add("token_embd.weight", blocks(VOCAB, d_model, 210, 1e-5),
        gguf.GGMLQuantizationType.Q6_K)
    dense("output_norm.weight", d_model, mean=1)
    for layer in range(LAYERS):
        name = f"blk.{layer}."
        dense(name + "attn_norm.weight", d_model, mean=1)
        ternary(name + "ssm_in.weight", 2 * d_inner + 2 * D_STATE + heads, d_model)
        dense(name + "ssm_conv1d.weight", channels, TAPS)
        dense(name + "ssm_conv1d.bias", channels)
        dense(name + "ssm_dt.bias", heads)
        dense(name + "ssm_a", heads, 1, mean=-1)
        dense(name + "ssm_d", heads, 1)
        dense(name + "ssm_norm.weight", 1, d_inner, mean=1)
        ternary(name + "ssm_out.weight", d_model, d_inner)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()


if __name__ == "__main__":
    main(*sys.argv[1:])
