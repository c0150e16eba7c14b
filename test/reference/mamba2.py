#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Mamba-2 and Bi-Mamba in float64, straight from the formulas.

An implementation apart from the compiler, to test it against. It reads a
checkpoint folder of any of the three formats and prints or writes logits,
greedy continuations and nats per token. It trusts its input: only for test
files.

  mamba2.py DIR --ids F.npy --logits OUT.npy         logits after every token
  mamba2.py DIR --ids F.npy --first 32 --greedy 48   ids that greedy decoding appends
  mamba2.py DIR --ids F.npy --nats --window 512      mean over the windows

With --state-dtype the SSM state is rounded after every call: after every --piece
tokens of --logits, and every token that --greedy appends.
"""

import argparse
import collections
import json
import math
import pathlib
import pickle
import zipfile
from dataclasses import dataclass

import numpy as np

# --- Reading tensors -------------------------------------------------------


def bf16_to_f32(raw):
    return (raw.astype(np.uint32) << 16).view(np.float32)


def read_safetensors(path):
    data = path.read_bytes()
    header_size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + header_size])
    dtypes = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}
    tensors = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        begin, end = (8 + header_size + at for at in entry["data_offsets"])
        array = np.frombuffer(data[begin:end], dtypes[entry["dtype"]])
        if entry["dtype"] == "BF16":
            array = bf16_to_f32(array)
        tensors[name] = array.reshape(entry["shape"])
    return tensors


class TorchUnpickler(pickle.Unpickler):
    """Unpickles a dictionary of tensors as numpy arrays, without torch."""

    STORAGES = {
        "DoubleStorage": "<f8",
        "FloatStorage": "<f4",
        "HalfStorage": "<f2",
        "BFloat16Storage": "<u2",
    }

    def __init__(self, file, archive, root):
        super().__init__(file)
        self.archive, self.root = archive, root

    def find_class(self, module, name):
        if module == "torch" and name in self.STORAGES:
            return name
        known = {
            ("collections", "OrderedDict"): collections.OrderedDict,
            ("torch._utils", "_rebuild_tensor_v2"): self.rebuild_tensor,
            ("torch._utils", "_rebuild_parameter"): lambda tensor, *_: tensor,
        }
        if (module, name) not in known:
            raise pickle.UnpicklingError(f"unknown global {module}.{name}")
        return known[module, name]

    def persistent_load(self, pid):
        _, storage, key, _, _ = pid
        data = self.archive.read(f"{self.root}/data/{key}")
        array = np.frombuffer(data, self.STORAGES[storage])
        return bf16_to_f32(array) if storage == "BFloat16Storage" else array

    @staticmethod
    def rebuild_tensor(storage, offset, shape, strides, *_):
        strides = [stride * storage.itemsize for stride in strides]
        return np.lib.stride_tricks.as_strided(storage[offset:], shape, strides)


def read_torch(path):
    with zipfile.ZipFile(path) as archive:
        pkl = next(n for n in archive.namelist() if n.endswith("/data.pkl"))
        with archive.open(pkl) as file:
            root = pkl[: -len("/data.pkl")]
            return dict(TorchUnpickler(file, archive, root).load())


def read_tensors(folder):
    """All tensors of a checkpoint folder: one file, or shards and an index."""
    for stem, suffix, read in (
        ("model", ".safetensors", read_safetensors),
        ("pytorch_model", ".bin", read_torch),
    ):
        index = folder / f"{stem}{suffix}.index.json"
        if index.exists():
            names = set(json.loads(index.read_text())["weight_map"].values())
        elif (folder / f"{stem}{suffix}").exists():
            names = {f"{stem}{suffix}"}
        else:
            continue
        tensors = {}
        for name in sorted(names):
            tensors.update(read(folder / name))
        return tensors
    raise FileNotFoundError(f"no checkpoint in '{folder}'")


# --- Configuration ---------------------------------------------------------


@dataclass
class Config:
    d_model: int
    n_layer: int
    d_inner: int
    headdim: int
    n_groups: int
    d_state: int
    eps: float
    dt_limit: tuple
    norm_groups: int  # of the gated norm
    embedding: str  # key


def number(value):
    return float(value["__float__"]) if isinstance(value, dict) else float(value)


def read_config(folder):
    raw = json.loads((folder / "config.json").read_text())
    if raw.get("model_type") == "mamba2":  # Hugging Face
        return Config(
            d_model=raw["hidden_size"],
            n_layer=raw["num_hidden_layers"],
            d_inner=raw["num_heads"] * raw["head_dim"],
            headdim=raw["head_dim"],
            n_groups=raw["n_groups"],
            d_state=raw["state_size"],
            eps=raw["layer_norm_epsilon"],
            dt_limit=tuple(map(number, raw["time_step_limit"])),
            norm_groups=1,  # whatever n_groups says
            embedding="backbone.embeddings.weight",
        )
    ssm = raw["ssm_cfg"]
    n_groups = ssm.get("ngroups", 1)
    return Config(
        d_model=raw["d_model"],
        n_layer=raw["n_layer"],
        d_inner=raw["d_model"] * ssm.get("expand", 2),
        headdim=ssm.get("headdim", 64),
        n_groups=n_groups,
        d_state=ssm.get("d_state", 128),
        eps=1e-5,
        dt_limit=tuple(map(number, ssm.get("dt_limit", (0, math.inf)))),
        norm_groups=n_groups,
        embedding="backbone.embedding.weight",
    )


# --- The model -------------------------------------------------------------


def rms_norm(x, weight, eps, groups=1):
    grouped = x.reshape(len(x), groups, -1)
    mean_square = (grouped**2).mean(axis=-1, keepdims=True)
    return (grouped / np.sqrt(mean_square + eps)).reshape(x.shape) * weight


def silu(x):
    return x / (1 + np.exp(-x))


def softplus(x):
    return np.where(x > 20, x, np.log1p(np.exp(np.minimum(x, 20))))


class Linear:
    """Dense, or 1-bit: scale * sign(weight) + shift; numpy's sign(0) is 0."""

    def __init__(self, tensors, prefix):
        self.weight = tensors[f"{prefix}.weight"]
        if f"{prefix}.wscale" in tensors:
            # Column, row or single: their shapes broadcast as they should.
            self.weight = (
                tensors[f"{prefix}.wscale"] * np.sign(self.weight)
                + tensors[f"{prefix}.wbias"]
            )
        self.bias = tensors.get(f"{prefix}.bias", 0.0)

    def __call__(self, x):
        return x @ self.weight.T + self.bias


class Layer:
    def __init__(self, tensors, prefix):
        mixer = f"{prefix}.mixer"
        self.norm = tensors[f"{prefix}.norm.weight"]
        self.in_proj = Linear(tensors, f"{mixer}.in_proj")
        self.out_proj = Linear(tensors, f"{mixer}.out_proj")
        self.conv_weight = tensors[f"{mixer}.conv1d.weight"][:, 0, :]
        self.conv_bias = tensors.get(f"{mixer}.conv1d.bias", 0.0)
        self.dt_bias = tensors[f"{mixer}.dt_bias"]
        self.A = -np.exp(tensors[f"{mixer}.A_log"])
        self.D = tensors[f"{mixer}.D"]
        self.gated_norm = tensors[f"{mixer}.norm.weight"]


class State:
    """What a layer remembers of the tokens before."""

    def __init__(self, config, layer):
        channels, taps = layer.conv_weight.shape
        self.conv = np.zeros((taps - 1, channels))  # raw inputs, oldest first
        self.ssm = np.zeros(
            (config.d_inner // config.headdim, config.headdim, config.d_state)
        )


def round_to(x, dtype):
    """The nearest value of the type, ties to even, never infinite."""
    if dtype == "f32":
        return x  # the arithmetic's own precision, which here is float64
    bits, least, largest = {
        "f16": (11, -13, 65504.0),
        "bf16": (8, -125, (2 - 2.0**-7) * 2.0**127),
    }[dtype]
    step = np.maximum(np.frexp(x)[1], least) - bits
    return np.clip(np.ldexp(np.rint(np.ldexp(x, -step)), step), -largest, largest)


class Model:
    def __init__(self, folder, state_dtype="f32"):
        folder = pathlib.Path(folder)
        self.state_dtype = state_dtype
        self.config = config = read_config(folder)
        tensors = {
            key: np.asarray(value, np.float64)
            for key, value in read_tensors(folder).items()
        }
        self.embedding = tensors[config.embedding]
        self.layers = [
            Layer(tensors, f"backbone.layers.{i}") for i in range(config.n_layer)
        ]
        self.norm_f = tensors["backbone.norm_f.weight"]
        self.lm_head = tensors.get("lm_head.weight", self.embedding)

    def fresh_state(self):
        return [State(self.config, layer) for layer in self.layers]

    def hidden(self, ids, state):
        """The residual stream after the last layer; `state` moves on."""
        residual = self.embedding[ids]
        for layer, layer_state in zip(self.layers, state):
            u = rms_norm(residual, layer.norm, self.config.eps)
            residual = residual + self.mixer(layer, u, layer_state)
        return residual

    def logits(self, ids, state=None, rows=slice(None)):
        """The logits after the tokens at `rows` of `ids`."""
        h = self.hidden(ids, self.fresh_state() if state is None else state)[rows]
        return rms_norm(h, self.norm_f, self.config.eps) @ self.lm_head.T

    def mixer(self, layer, u, state):
        c = self.config
        tokens, heads, bc = len(u), c.d_inner // c.headdim, c.n_groups * c.d_state
        z, xbc, dt = np.split(
            layer.in_proj(u), [c.d_inner, 2 * c.d_inner + 2 * bc], axis=1
        )

        window = np.concatenate([state.conv, xbc])
        taps = layer.conv_weight.T
        xbc = sum(window[k : k + tokens] * tap for k, tap in enumerate(taps))
        xbc = silu(xbc + layer.conv_bias)
        state.conv = window[tokens:]

        x, B, C = np.split(xbc, [c.d_inner, c.d_inner + bc], axis=1)
        x = x.reshape(tokens, heads, c.headdim)
        # The heads of a group share its B and C.
        per_head = lambda v: np.repeat(
            v.reshape(tokens, c.n_groups, c.d_state), heads // c.n_groups, axis=1
        )
        B, C = per_head(B), per_head(C)
        dt = np.clip(softplus(dt + layer.dt_bias), *c.dt_limit)
        decay = np.exp(dt * layer.A)
        dt_x = dt[:, :, None] * x

        S = state.ssm
        y = np.empty_like(x)
        for t in range(tokens):
            S = decay[t, :, None, None] * S + dt_x[t, :, :, None] * B[t, :, None, :]
            y[t] = (S @ C[t, :, :, None])[:, :, 0]
        state.ssm = round_to(S, self.state_dtype)
        y = (y + layer.D[:, None] * x).reshape(tokens, c.d_inner)

        y = rms_norm(y * silu(z), layer.gated_norm, c.eps, c.norm_groups)
        return layer.out_proj(y)


# --- What tests ask for ----------------------------------------------------


def greedy(model, prompt, count):
    """The ids that greedy decoding appends, and its narrowest decision."""
    state = model.fresh_state()
    ids, chosen, gap = prompt, [], math.inf
    for _ in range(count):
        logits = model.logits(ids, state, rows=slice(-1, None))[0]
        second, best = np.argsort(logits)[-2:]
        gap = min(gap, logits[best] - logits[second])
        chosen.append(int(best))
        ids = [int(best)]
    return chosen, float(gap)


def logits_in_pieces(model, ids, piece):
    state = model.fresh_state()
    return np.concatenate(
        [model.logits(ids[i : i + piece], state) for i in range(0, len(ids), piece)]
    )


def nats_per_token(model, ids, window, windows):
    """Mean over the predictions inside windows that each start afresh."""
    total = 0.0
    for i in range(windows):
        part = ids[i * window : (i + 1) * window]
        logits = model.logits(part)[:-1]
        top = logits.max(axis=1)
        log_sum = top + np.log(np.exp(logits - top[:, None]).sum(axis=1))
        total += (log_sum - logits[np.arange(window - 1), part[1:]]).sum()
    return float(total / (windows * (window - 1)))


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", metavar="DIR", help="the checkpoint")
    parser.add_argument("--ids", required=True, metavar="F.npy", help="token ids")
    parser.add_argument("--first", type=int, metavar="N", help="use only the first N ids")
    parser.add_argument("--logits", metavar="OUT.npy", help="write float64 logits here")
    parser.add_argument("--piece", type=int, metavar="N", help="tokens of --logits at a time")
    parser.add_argument("--state-dtype", choices=["f32", "f16", "bf16"], default="f32")
    parser.add_argument("--greedy", type=int, metavar="N", help="append N tokens")
    parser.add_argument("--nats", action="store_true", help="print nats per token")
    parser.add_argument("--window", type=int, default=2048, help="of --nats (2048)")
    args = parser.parse_args()

    ids = np.load(args.ids).reshape(-1)[: args.first].astype(np.int64)
    model = Model(args.folder, args.state_dtype)
    if args.logits:
        np.save(args.logits, logits_in_pieces(model, ids, args.piece or len(ids)))
    if args.nats:
        windows = len(ids) // args.window
        if windows == 0:
            parser.error(f"{len(ids)} ids do not fill a window of {args.window}")
        nats = nats_per_token(model, ids, args.window, windows)
        figures = {
            "nats_per_token": nats,
            "perplexity": math.exp(nats),
            "windows": windows,
        }
        print(json.dumps(figures))
    if args.greedy:
        print(*greedy(model, ids, args.greedy)[0])


if __name__ == "__main__":
    main()
