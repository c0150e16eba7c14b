#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Writes random checkpoints, with golden values, for tests.

The weights are random but have the scales of trained ones, so that activations
keep a norm near one and logits are neither flat nor saturated. Every 1-bit
matrix also holds a few weights of the smallest magnitude of its type: they are
not zeros. The folder gets config.json, the tensors, ids.npy and golden/ (as in
test/checkpoints, computed by mamba2.py from the files just written).

  make_checkpoint.py OUT --format=official --d-model=200 --headdim=40 --zeros=50
  make_checkpoint.py OUT --config=official-column     one of configs.py
  make_checkpoint.py --all OUT                        all of configs.py
"""

import argparse
import collections
import io
import json
import math
import pathlib
import pickle
import sys
import types
import zipfile
from dataclasses import dataclass

import numpy as np

import configs
import mamba2


@dataclass
class Options:
    """One checkpoint; each field is an option of the command."""

    format: str = "official"
    d_model: int = 96
    n_layer: int = 2
    expand: int = 2
    headdim: int = 32
    ngroups: int = 1
    d_state: int = 16
    d_conv: int = 4
    vocab: int = 1000
    pad_vocab: int = 8
    scale_pattern: str = "column"
    shift_pattern: str = ""
    dtype: str = "f32"
    container: str = ""
    shards: int = 1
    pickle: str = "plain"
    zeros: int = 0
    negative_scales: bool = False
    bias: bool = False
    no_conv_bias: bool = False
    untied: bool = False
    dt_limit: tuple = (0.0, math.inf)
    infinity: str = "object"
    seed: int = 1

    @property
    def d_inner(self):
        return self.expand * self.d_model

    @property
    def heads(self):
        return self.d_inner // self.headdim

    @property
    def rows(self):
        """Rows of the embedding: the vocabulary, padded in the official formats."""
        unit = 1 if self.format == "hf" else self.pad_vocab
        return -(-self.vocab // unit) * unit


CHOICES = {
    "format": ("official", "dense", "hf"),
    "dtype": ("f32", "f16", "bf16"),
    "container": ("bin", "safetensors"),
    "pickle": ("plain", "module", "parameters", "views"),
    "infinity": ("bare", "object"),
}
HELP = {
    "vocab": "size that the config names",
    "pad_vocab": "official, dense: pad the embedding's rows to a multiple of this",
    "scale_pattern": "column, row or single; 'A,B' for in_proj and out_proj",
    "shift_pattern": "the same for wbias (as the scale)",
    "container": "(hf: safetensors, else bin)",
    "pickle": "plain: a dictionary; module: as state_dict(), with its metadata; "
    "parameters: wrapped as torch.nn.Parameter; views: matrices stored "
    "transposed, a mixer's vectors in one storage",
    "zeros": "exact zeros, half of them -0.0, in the 1-bit weights",
    "negative_scales": "make a tenth of the scales negative",
    "bias": "biases in both projections",
    "no_conv_bias": "leave conv1d.bias out",
    "untied": "give lm_head its own weight",
    "infinity": "how the config writes it: Infinity or {'__float__': 'Infinity'}",
}

# --- Weights ---------------------------------------------------------------


def to_dtype(array, dtype):
    """Rounds to nearest even; bf16 is held as uint16."""
    array = np.ascontiguousarray(array, np.float32).reshape(np.shape(array))
    if dtype == "f16":
        return array.astype("<f2")
    if dtype == "bf16":
        bits = array.view(np.uint32)
        return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype("<u2")
    return array.astype("<f4")


SMALLEST = {"f32": 2.0**-149, "f16": 2.0**-24, "bf16": 2.0**-133}


def one_bit_linear(rng, options, shape, rms, patterns):
    """Latent weights, scale and shift of a matrix whose outputs have this rms."""
    rows, columns = shape
    weight = rng.normal(0, 0.02, shape)
    weight += np.copysign(1e-3, weight)
    smallest = rng.choice(weight.size, 8, replace=False)
    weight.flat[smallest] = np.resize([1, -1], 8) * SMALLEST[options.dtype]
    shapes = {"column": (1, columns), "row": (rows, 1), "single": ()}
    scale = rms / math.sqrt(columns) * np.exp(rng.normal(0, 0.3, shapes[patterns[0]]))
    if options.negative_scales:
        scale = np.where(rng.random(np.shape(scale)) < 0.1, -scale, scale)
        scale = scale if np.shape(scale) else -abs(scale)
    shift = rng.normal(0, 0.1 * rms / math.sqrt(columns), shapes[patterns[1]])
    return {"weight": weight, "wscale": scale, "wbias": shift}


def dense_linear(rng, shape, rms):
    return {"weight": rng.normal(0, rms / math.sqrt(shape[1]), shape)}


def layer_tensors(rng, options, rms):
    o = options
    conv_channels = o.d_inner + 2 * o.ngroups * o.d_state
    shapes = {
        "in_proj": (o.d_inner + conv_channels + o.heads, o.d_model),
        "out_proj": (o.d_model, o.d_inner),
    }
    scales = (o.scale_pattern.split(",") * 2)[:2]
    shifts = (o.shift_pattern.split(",") * 2)[:2] if o.shift_pattern else scales
    linears = {}
    for (name, shape), *patterns in zip(shapes.items(), scales, shifts):
        size = rms if name == "out_proj" else 1.0
        if o.format == "official":
            linear = one_bit_linear(rng, o, shape, size, patterns)
        else:
            linear = dense_linear(rng, shape, size)
        if o.bias:
            linear["bias"] = rng.normal(0, 0.1 * size, shape[0])
        linears.update({f"mixer.{name}.{part}": v for part, v in linear.items()})

    # softplus(dt_bias) is spread evenly, in the logarithm, over 0.001 to 0.1.
    dt = np.exp(rng.uniform(math.log(0.001), math.log(0.1), o.heads))
    tensors = {
        "norm.weight": np.exp(rng.normal(0, 0.2, o.d_model)),
        "mixer.dt_bias": dt + np.log(-np.expm1(-dt)),
        "mixer.A_log": np.log(rng.uniform(1, 16, o.heads)),
        "mixer.D": rng.normal(1, 0.2, o.heads),
        "mixer.conv1d.weight": rng.normal(0, 0.7, (conv_channels, 1, o.d_conv)),
        "mixer.norm.weight": np.exp(rng.normal(0, 0.2, o.d_inner)),
        **linears,
    }
    if not o.no_conv_bias:
        tensors["mixer.conv1d.bias"] = rng.normal(0, 0.1, conv_channels)
    return tensors


def set_zeros(rng, tensors, count):
    """Puts exact zeros of both signs anywhere in the 1-bit weights."""
    weights = [
        tensors[key.replace("wscale", "weight")] for key in tensors if "wscale" in key
    ]
    ends = np.cumsum([weight.size for weight in weights])
    places = rng.choice(ends[-1], count, replace=False)
    for i, place in enumerate(places):
        which = np.searchsorted(ends, place, side="right")
        at = place - (ends[which] - weights[which].size)
        weights[which].flat[at] = -0.0 if i % 2 else 0.0


def make_tensors(rng, options):
    """All tensors by key; a tied lm_head is the embedding's own array."""
    o = options
    embedding_rms = 2 / math.sqrt(o.d_model)
    embedding = "backbone.embeddings" if o.format == "hf" else "backbone.embedding"
    tensors = {
        f"{embedding}.weight": rng.normal(0, embedding_rms, (o.rows, o.d_model))
    }
    for i in range(o.n_layer):
        # Layers outweigh the token itself, or greedy decoding would repeat it.
        layer = layer_tensors(rng, o, 3 * embedding_rms)
        tensors.update({f"backbone.layers.{i}.{key}": v for key, v in layer.items()})
    if o.zeros:
        set_zeros(rng, tensors, o.zeros)
    tensors["backbone.norm_f.weight"] = np.exp(rng.normal(0, 0.2, o.d_model))
    if o.untied:
        tensors["lm_head.weight"] = rng.normal(0, embedding_rms, (o.rows, o.d_model))
    tensors = {key: to_dtype(value, o.dtype) for key, value in tensors.items()}
    if not o.untied and o.container == "bin":
        tensors["lm_head.weight"] = tensors[f"{embedding}.weight"]
    return tensors


# --- Containers ------------------------------------------------------------


def write_safetensors(path, tensors, options):
    header, blobs, at = {"__metadata__": {"format": "pt"}}, [], 0
    for key in sorted(tensors):
        data = tensors[key].tobytes()
        header[key] = {
            "dtype": options.dtype.upper(),
            "shape": list(tensors[key].shape),
            "data_offsets": [at, at + len(data)],
        }
        blobs.append(data)
        at += len(data)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(len(text).to_bytes(8, "little") + text + b"".join(blobs))


def fake_torch():
    """Modules with the names that a pickle of tensors refers to."""
    torch, utils = types.ModuleType("torch"), types.ModuleType("torch._utils")
    for name in ("FloatStorage", "HalfStorage", "BFloat16Storage"):
        setattr(torch, name, type(name, (), {"__module__": "torch"}))
    for name in ("_rebuild_tensor_v2", "_rebuild_parameter"):
        function = types.FunctionType((lambda: None).__code__, {}, name)
        function.__module__, function.__qualname__ = "torch._utils", name
        setattr(utils, name, function)
    return {"torch": torch, "torch._utils": utils}


TORCH = fake_torch()


class Storage:
    def __init__(self, key, array):
        self.key, self.array = key, array


class Tensor:
    """A view of a storage; pickled as torch pickles its tensors."""

    def __init__(self, storage, shape, strides, offset=0, requires_grad=False):
        self.args = (storage, offset, shape, strides, requires_grad)

    def __reduce__(self):
        rebuild = TORCH["torch._utils"]._rebuild_tensor_v2
        return rebuild, (*self.args, collections.OrderedDict())


class Parameter:
    def __init__(self, tensor):
        self.tensor = tensor

    def __reduce__(self):
        rebuild = TORCH["torch._utils"]._rebuild_parameter
        return rebuild, (self.tensor, True, collections.OrderedDict())


class TorchPickler(pickle.Pickler):
    def __init__(self, file, dtype):
        super().__init__(file, protocol=2)
        names = {"f32": "FloatStorage", "f16": "HalfStorage", "bf16": "BFloat16Storage"}
        self.storage_type = getattr(TORCH["torch"], names[dtype])

    def persistent_id(self, obj):
        if not isinstance(obj, Storage):
            return None
        return "storage", self.storage_type, obj.key, "cpu", obj.array.size


def row_major_strides(shape):
    return tuple(math.prod(shape[i + 1 :]) for i in range(len(shape)))


def lay_out(tensors, options):
    """Storages, and tensors as views of them, in the chosen style."""
    storages, views = [], {}

    def storage(array):
        storages.append(Storage(str(len(storages)), array))
        return storages[-1]

    if options.pickle == "views":
        shared = collections.defaultdict(list)
        for key, array in tensors.items():
            if array.ndim == 1:
                shared[key.split(".mixer")[0]].append(key)
        for keys in shared.values():
            together = storage(np.concatenate([tensors[key] for key in keys]))
            offset = 0
            for key in keys:
                size = tensors[key].size
                views[key] = Tensor(together, (size,), (1,), offset)
                offset += size
    by_array = {}
    for key, array in tensors.items():
        if key in views:
            continue
        if id(array) not in by_array:
            transposed = options.pickle == "views" and array.ndim == 2
            strides = row_major_strides(array.shape)
            if transposed:
                strides = (1, array.shape[0])
            by_array[id(array)] = storage(array.T if transposed else array), strides
        place, strides = by_array[id(array)]
        views[key] = Tensor(place, array.shape, strides)
    # In the tensors' order, whatever the storages' order.
    return storages, {key: views[key] for key in tensors}


def state_dict(views, options):
    if options.pickle == "parameters":
        return {key: Parameter(view) for key, view in views.items()}
    if options.pickle == "module":
        result = collections.OrderedDict(views)
        modules = {""} | {key.rpartition(".")[0] for key in views}
        result._metadata = collections.OrderedDict(
            (name, {"version": 1}) for name in sorted(modules)
        )
        return result
    return views


class Stream:
    """A file that cannot seek: zipfile then writes data descriptors, as torch does."""

    def __init__(self, file):
        self.write, self.flush = file.write, file.flush


def write_torch(path, tensors, options):
    """A zip as torch.save writes it: stored, records aligned to 64 bytes."""
    storages, views = lay_out(tensors, options)
    # Pickling looks globals up by name; give the fakes back at once.
    saved = {name: sys.modules.get(name) for name in TORCH}
    sys.modules.update(TORCH)
    try:
        buffer = io.BytesIO()
        TorchPickler(buffer, options.dtype).dump(state_dict(views, options))
    finally:
        for name, module in saved.items():
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module

    records = [("data.pkl", buffer.getvalue()), ("byteorder", b"little")]
    records += [(f"data/{s.key}", s.array.tobytes()) for s in storages]
    records += [("version", b"3\n")]
    with open(path, "wb") as file, zipfile.ZipFile(Stream(file), "w") as archive:
        for name, data in records:
            info = zipfile.ZipInfo(f"{path.stem}/{name}")
            begin = archive.fp.tell() + 30 + len(info.filename) + 4
            padding = -begin % 64
            info.extra = b"FB" + padding.to_bytes(2, "little") + b"Z" * padding
            archive.writestr(info, data)
            # torch pads the local header alone, so that is where sizes matter.
            info.extra = b""


def write_tensors(folder, tensors, options):
    """One file, or shards of about one size and their index."""
    stem, suffix, write = {
        "bin": ("pytorch_model", ".bin", write_torch),
        "safetensors": ("model", ".safetensors", write_safetensors),
    }[options.container]
    if options.shards == 1:
        write(folder / f"{stem}{suffix}", tensors, options)
        return
    total = sum(array.nbytes for array in tensors.values())
    shards, seen = collections.defaultdict(dict), 0
    for key, array in tensors.items():
        shards[min(seen * options.shards // total, options.shards - 1)][key] = array
        seen += array.nbytes
    weight_map = {}
    for i, part in enumerate(shards.values(), 1):
        name = f"{stem}-{i:05}-of-{len(shards):05}{suffix}"
        write(folder / name, part, options)
        weight_map.update({key: name for key in part})
    index = {"metadata": {"total_size": total}, "weight_map": weight_map}
    text = json.dumps(index, indent=2, sort_keys=True)
    (folder / f"{stem}{suffix}.index.json").write_text(text + "\n")


# --- Configurations --------------------------------------------------------


def json_number(value, options):
    if math.isinf(value) and options.infinity == "object":
        return {"__float__": "Infinity"}
    return value


def hf_config(o):
    return {
        "architectures": ["Mamba2ForCausalLM"],
        "bos_token_id": 1,
        "chunk_size": 256,
        "conv_kernel": o.d_conv,
        "eos_token_id": 2,
        "expand": o.expand,
        "head_dim": o.headdim,
        "hidden_act": "silu",
        "hidden_size": o.d_model,
        "initializer_range": 0.1,
        "layer_norm_epsilon": 1e-05,
        "model_type": "mamba2",
        "n_groups": o.ngroups,
        "num_heads": o.heads,
        "num_hidden_layers": o.n_layer,
        "pad_token_id": 0,
        "rescale_prenorm_residual": False,
        "residual_in_fp32": True,
        "rms_norm": True,
        "state_size": o.d_state,
        "tie_word_embeddings": not o.untied,
        "time_step_floor": 0.0001,
        "time_step_limit": [json_number(v, o) for v in o.dt_limit],
        "time_step_max": 0.1,
        "time_step_min": 0.001,
        "time_step_rank": -(-o.d_model // 16),
        "torch_dtype": {"f32": "float32", "f16": "float16", "bf16": "bfloat16"}[o.dtype],
        "use_bias": o.bias,
        "use_cache": True,
        "use_conv_bias": not o.no_conv_bias,
        "vocab_size": o.vocab,
    }


def official_config(o):
    # Like real ones, it names only what differs from the module's defaults.
    chosen = {
        "d_state": (o.d_state, 128),
        "d_conv": (o.d_conv, 4),
        "expand": (o.expand, 2),
        "headdim": (o.headdim, 64),
        "ngroups": (o.ngroups, 1),
        "dt_limit": (tuple(o.dt_limit), (0.0, math.inf)),
        "bias": (o.bias, False),
        "conv_bias": (not o.no_conv_bias, True),
    }
    ssm_cfg = {"layer": "Mamba2"}
    ssm_cfg.update({key: v for key, (v, default) in chosen.items() if v != default})
    if "dt_limit" in ssm_cfg:
        ssm_cfg["dt_limit"] = [json_number(v, o) for v in o.dt_limit]
    return {
        "d_model": o.d_model,
        "d_intermediate": 0,
        "n_layer": o.n_layer,
        "vocab_size": o.vocab,
        "ssm_cfg": ssm_cfg,
        "attn_layer_idx": [],
        "attn_cfg": {},
        "rms_norm": True,
        "residual_in_fp32": True,
        "fused_add_norm": True,
        "pad_vocab_size_multiple": o.pad_vocab,
        "tie_embeddings": not o.untied,
    }


# --- Golden values ---------------------------------------------------------

POSITIONS = [0, 1, 2, 7, 31, 63, 100, 127]
PROMPT, GREEDY, WINDOW, WINDOWS = 32, 48, 64, 4
CLEAR_GAP = 0.02  # well beyond what 16-bit activations can turn round


def write_golden(folder, rng, options):
    model = mamba2.Model(folder)
    # A prompt whose continuation is clear and varied, or the best of a few.
    best = None
    for _ in range(16):
        ids = rng.integers(0, options.rows, WINDOW * WINDOWS + 1)
        chosen, gap = mamba2.greedy(model, ids[:PROMPT], GREEDY)
        merit = gap >= CLEAR_GAP, len(set(chosen))
        if best is None or merit > best[0]:
            best = merit, ids, chosen, gap
        if merit >= (True, GREEDY // 3):
            break
    _, ids, chosen, gap = best
    np.save(folder / "ids.npy", ids.astype(np.int32))
    golden = {
        "positions": POSITIONS,
        "prompt_tokens": PROMPT,
        "greedy": chosen,
        "smallest_top2_gap": gap,
        "nll_window": WINDOW,
        "nll_windows": WINDOWS,
        "nats_per_token": mamba2.nats_per_token(model, ids, WINDOW, WINDOWS),
        "ids": "ids.npy",
    }
    (folder / "golden").mkdir(exist_ok=True)
    (folder / "golden/golden.json").write_text(json.dumps(golden, indent=1) + "\n")
    logits = model.logits(ids[: POSITIONS[-1] + 1], rows=POSITIONS)
    np.save(folder / "golden/logits.npy", logits.astype(np.float32))


# --- The command -----------------------------------------------------------


def make(folder, options):
    o = options
    o.container = o.container or ("safetensors" if o.format == "hf" else "bin")
    for what, bad in (
        (f"headdim {o.headdim} does not divide d_inner {o.d_inner}", o.d_inner % o.headdim),
        (f"ngroups {o.ngroups} does not divide {o.heads} heads", o.heads % o.ngroups),
        ("zeros are for the official format", o.zeros and o.format != "official"),
    ):
        if bad:
            sys.exit(f"'{folder}': {what}")
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for stale in (*folder.glob("*model*.bin*"), *folder.glob("model*.safetensors*")):
        stale.unlink()
    rng = np.random.default_rng(o.seed)
    config = hf_config(o) if o.format == "hf" else official_config(o)
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    write_tensors(folder, make_tensors(rng, o), o)
    write_golden(folder, rng, o)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", metavar="OUT", help="the folder to write")
    parser.add_argument("--all", action="store_true", help="every one of configs.py")
    parser.add_argument("--config", choices=configs.CONFIGS, help="start from this one")
    for name, default in vars(Options()).items():
        flag, help = "--" + name.replace("_", "-"), HELP.get(name, "")
        if default and not isinstance(default, bool):
            help += f" ({default})"
        # Only what is given may override --config.
        common = {"default": argparse.SUPPRESS, "help": help}
        if isinstance(default, bool):
            parser.add_argument(flag, action="store_true", **common)
        elif isinstance(default, tuple):
            parser.add_argument(
                flag, type=float, nargs=2, metavar=("MIN", "MAX"), **common
            )
        else:
            parser.add_argument(
                flag, type=type(default), choices=CHOICES.get(name), **common
            )
    given = vars(parser.parse_args())
    out, every, config = (given.pop(name) for name in ("out", "all", "config"))
    if every:
        for name, chosen in configs.CONFIGS.items():
            make(pathlib.Path(out) / name, Options(**{**chosen, **given}))
    else:
        make(out, Options(**{**configs.CONFIGS.get(config, {}), **given}))


if __name__ == "__main__":
    main()
