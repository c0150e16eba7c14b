#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Makes a corpus of broken files and runs the tools on each.

  broken_files.py [FILTER]     the tools are found by PATH; FILTER: part of a name

A case is a folder made from a small random checkpoint of one of the formats,
spoiled in one way, and what the error must name. Every tool that reads
checkpoints must end with exit status 1 and one line that names it, print nothing
else, leave no file behind, and do with little memory and time. The same goes for
broken artifacts and saved sessions, and for files spoiled by chance where they
are not read as if nothing were wrong. Whatever a tool was found to get wrong
becomes a case.
"""

import concurrent.futures
import io
import json
import os
import pathlib
import pickle
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import warnings
import zipfile

import numpy as np

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "reference"))
import make_checkpoint as maker

CHECKPOINTS = HERE.parent / "checkpoints"
MOST_BYTES = 400 << 20  # of memory, beside mapped files; beyond, there is no more
MOST_SECONDS = 20

# --- Checkpoints -------------------------------------------------------------

SMALL = dict(d_model=32, n_layer=2, headdim=16, d_state=8, vocab=64)
LAYER = "backbone.layers.1.mixer."


class Checkpoint:
    """Config and tensors, to be spoiled, then written."""

    def __init__(self, format, container, **options):
        self.options = maker.Options(
            format=format, container=container, **{**SMALL, **options}
        )
        rng = np.random.default_rng(5)
        self.tensors = maker.make_tensors(rng, self.options)
        config = maker.hf_config if format == "hf" else maker.official_config
        self.config = config(self.options)
        self.types = {}  # of torch or safetensors, by key, where not float

    @property
    def embedding(self):
        return next(key for key in self.tensors if "embedding" in key)

    def write(self, folder):
        (folder / "config.json").write_text(json.dumps(self.config))
        if self.types:
            self.write_typed(folder)
        else:
            maker.write_tensors(folder, self.tensors, self.options)

    def write_typed(self, folder):
        """Tensors of several types, which the maker does not write."""
        if self.options.container == "safetensors":
            header, data = {}, b""
            for key, array in self.tensors.items():
                bytes = array.tobytes()
                header[key] = {
                    "dtype": self.types.get(key, "F32"),
                    "shape": list(array.shape),
                    "data_offsets": [len(data), len(data) + len(bytes)],
                }
                data += bytes
            write_safetensors(folder / "model.safetensors", header, data)
            return
        items = []
        for key, array in self.tensors.items():
            kind = self.types.get(key, "FloatStorage")
            items.append((key, tensor(kind, str(len(items)), array.shape)))
        storages = [array.tobytes() for array in self.tensors.values()]
        write_zip(folder / "pytorch_model.bin", state_dict(items), storages)


def official():
    return Checkpoint("official", "bin")


def official_safetensors():
    return Checkpoint("official", "safetensors")


def dense():
    return Checkpoint("dense", "bin", shards=2)


def hugging_face():
    return Checkpoint("hf", "safetensors", shards=3)


FORMATS = (official, official_safetensors, dense, hugging_face)

# --- Pickles, by hand: what Python's pickler would not write ------------------


def text(value):
    data = value.encode()
    return b"X" + struct.pack("<I", len(data)) + data


def integer(value):
    if -(2**31) <= value < 2**31:
        return b"J" + struct.pack("<i", value)
    return b"\x8a\x08" + struct.pack("<q", value)


def tuple_of(*items):
    return b"(" + b"".join(items) + b"t"


def name(module, symbol):
    return f"c{module}\n{symbol}\n".encode()


def storage(kind, key, count):
    return (
        tuple_of(
            text("storage"), name("torch", kind), text(key), text("cpu"), integer(count)
        )
        + b"Q"
    )


def tensor(kind, key, shape, strides=None, offset=0, count=None):
    count = int(np.prod(shape)) if count is None else count
    strides = maker.row_major_strides(shape) if strides is None else strides
    return (
        name("torch._utils", "_rebuild_tensor_v2")
        + tuple_of(
            storage(kind, key, count),
            integer(offset),
            tuple_of(*map(integer, shape)),
            tuple_of(*map(integer, strides)),
            b"\x89",
            name("collections", "OrderedDict") + b")R",
        )
        + b"R"
    )


def state_dict(items):
    """Of keys and pickled values."""
    return b"\x80\x02}(" + b"".join(text(k) + v for k, v in items) + b"u."


# --- Zip files -----------------------------------------------------------------


def write_zip(path, pickled, storages, method=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("pytorch_model/data.pkl", pickled)
        for i, data in enumerate(storages):
            archive.writestr(f"pytorch_model/data/{i}", data)


def find_central(data, entry):
    """Offset of an entry's header in the directory of a zip file."""
    end = data.rindex(b"PK\5\6")
    at = struct.unpack_from("<I", data, end + 16)[0]
    while data[at : at + 4] == b"PK\1\2":
        sizes = struct.unpack_from("<HHH", data, at + 28)
        if data[at + 46 : at + 46 + sizes[0]].decode().endswith(entry):
            return at
        at += 46 + sum(sizes)
    raise KeyError(entry)


def patch(path, offset, layout, *values):
    data = bytearray(path.read_bytes())
    struct.pack_into(layout, data, offset(data) if callable(offset) else offset, *values)
    path.write_bytes(data)


def patch_entry(path, entry, field, layout, value):
    patch(path, lambda data: find_central(data, entry) + field, layout, value)


# --- Safetensors ---------------------------------------------------------------


def write_safetensors(path, header, data):
    header = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + data)


def read_safetensors(path):
    data = path.read_bytes()
    size = struct.unpack_from("<Q", data)[0]
    return json.loads(data[8 : 8 + size]), data[8 + size :]


def change_header(path, change):
    header, data = read_safetensors(path)
    replaced = change(header)
    write_safetensors(path, header if replaced is None else replaced, data)


# --- The cases -------------------------------------------------------------------

CASES = {}  # name: (function of a folder, returning what the error must name)


def case(function):
    CASES[function.__name__.replace("_", "-")] = function
    return function


def each(values, naming=lambda value: getattr(value, "__name__", str(value))):
    """A case for each value, given to the function as its second argument.

    Its title is the name of its folder, so a slash in it becomes another sign.
    """

    def wrap(function):
        for value in values:
            title = f"{function.__name__}-{naming(value)}".replace("_", "-").replace("/", "|")
            CASES[title] = lambda folder, v=value: function(folder, v)
        return function

    return wrap


def write(folder, checkpoint, change=None):
    if change:
        change(checkpoint)
    checkpoint.write(folder)
    return checkpoint


BIN, SAFE = "pytorch_model.bin", "model.safetensors"

# Truncated and foreign files.


@each((0, 1, 3, 8, 50, 90, 99))
def truncated_bin(folder, percent):
    write(folder, official())
    data = (folder / BIN).read_bytes()
    (folder / BIN).write_bytes(data[: len(data) * percent // 100])
    return [BIN, "zip", "found"]


@each((1, 5, 23, 1000))
def bin_without_its_last_bytes(folder, count):
    write(folder, official())
    data = (folder / BIN).read_bytes()
    (folder / BIN).write_bytes(data[:-count])
    return [BIN, "truncated", "found none"]


@each((0, 4, 8, 300, 5000))
def truncated_safetensors(folder, size):
    write(folder, official_safetensors())
    data = (folder / SAFE).read_bytes()
    (folder / SAFE).write_bytes(data[:size])
    return [SAFE, "expected", "found"]


@case
def safetensors_without_its_last_byte(folder):
    write(folder, official_safetensors())
    data = (folder / SAFE).read_bytes()
    (folder / SAFE).write_bytes(data[:-1])
    return [SAFE, "data_offsets", "expected", "found"]


@case
def truncated_shard(folder):
    write(folder, hugging_face())
    shard = folder / "model-00002-of-00003.safetensors"
    shard.write_bytes(shard.read_bytes()[:1000])
    return [shard.name, "data_offsets", "expected", "found"]


@each((BIN, SAFE))
def foreign(folder, file):
    write(folder, official() if file == BIN else official_safetensors())
    (folder / file).write_text("these are not the weights you are looking for\n" * 9)
    return [file, "expected", "found"]


@case
def bin_of_old_torch(folder):
    """Before 1.6: pickles one after another."""
    write(folder, official())
    (folder / BIN).write_bytes(pickle.dumps(0x1950A86A20F9469CFC6C, 2))
    return [BIN, "since PyTorch 1.6"]


@case
def bin_is_a_folder(folder):
    write(folder, official())
    (folder / BIN).unlink()
    (folder / BIN).mkdir()
    return ["expected model.safetensors, pytorch_model.bin", "found none"]


@case
def no_weights(folder):
    write(folder, official())
    (folder / BIN).unlink()
    return ["expected model.safetensors, pytorch_model.bin", "found none"]


@case
def weights_are_a_loop_of_links(folder):
    write(folder, official())
    (folder / BIN).unlink()
    (folder / BIN).symlink_to(BIN)
    return ["expected model.safetensors, pytorch_model.bin", "found none"]


# Zip files that lie.


@case
def zip_compressed(folder):
    write(folder, official())
    write_zip(folder / BIN, state_dict([]), [b"\0" * 4096], zipfile.ZIP_DEFLATED)
    return [BIN, "data.pkl", "expected stored data", "compression method 8"]


@case
def zip_bomb(folder):
    write(folder, official())
    pickled = state_dict([("w", tensor("FloatStorage", "0", (1 << 26,)))])
    write_zip(folder / BIN, pickled, [bytes(1 << 28)], zipfile.ZIP_DEFLATED)
    return [BIN, "compression method 8"]


@case
def zip_bomb_of_overlapping_entries(folder):
    """One piece of data under many names: a small file, large in sum."""
    write(folder, official())
    names = [f"pytorch_model/data/{i}" for i in range(200)]
    inner = b"\0" * 100000
    parts, locals_ = b"", []
    for entry in names:  # each begins later, and all end at the same place
        locals_.append(len(parts))
        parts += struct.pack(
            "<IHHHHHIIIHH", 0x04034B50, 20, 0, 0, 0, 0, 0, 0, 0, len(entry), 0
        )
        parts += entry.encode()
    end = len(parts) + len(inner)
    directory = b""
    for entry, local in zip(names, locals_):
        size = end - local - 30 - len(entry)
        directory += struct.pack(
            "<IHHHHHHIIIHHHHHII", 0x02014B50, 20, 20, 0, 0, 0, 0, 0, size, size,
            len(entry), 0, 0, 0, 0, 0, local,
        ) + entry.encode()
    tail = struct.pack(
        "<IHHHHIIH", 0x06054B50, 0, 0, len(names), len(names), len(directory), end, 0
    )
    (folder / BIN).write_bytes(parts + inner + directory + tail)
    return [BIN, "pytorch_model/data/1", "overlaps"]


@case
def zip_encrypted(folder):
    write(folder, official())
    patch_entry(folder / BIN, "data/3", 8, "<H", 1)
    return [BIN, "data/3", "is encrypted"]


@case
def zip_size_beyond_the_file(folder):
    write(folder, official())
    for field in (20, 24):
        patch_entry(folder / BIN, "data/3", field, "<I", 0xFFFFFFF0)
    return [BIN, "data/3", "expected it before offset", "found 4294967280 bytes"]


@case
def zip_sizes_differ(folder):
    write(folder, official())
    patch_entry(folder / BIN, "data/3", 24, "<I", 5)
    return [BIN, "data/3", "expected 5 stored bytes", "found"]


@case
def zip_size_smaller_than_the_storage(folder):
    write(folder, official())
    for field in (20, 24):
        patch_entry(folder / BIN, "data/0", field, "<I", 400)
    return [BIN, "storage", '"0"', "elements of f32", "found 400 bytes"]


@case
def zip_offset_beyond_the_file(folder):
    write(folder, official())
    patch_entry(folder / BIN, "data/3", 42, "<I", 0x7FFFFFFF)
    return [BIN, "data/3", "expected a local header at offset 2147483647"]


@case
def zip_offset_of_another_entry(folder):
    write(folder, official())
    data = (folder / BIN).read_bytes()
    other = struct.unpack_from("<I", data, find_central(data, "data/2") + 42)[0]
    patch_entry(folder / BIN, "data/3", 42, "<I", other)
    return [BIN, "data/3", "local header"]


@case
def zip_count_too_large(folder):
    write(folder, official())
    patch(folder / BIN, lambda data: data.rindex(b"PK\5\6") + 10, "<H", 0xFFFF)
    return [BIN, "zip directory", "entries", "found 65535"]


@case
def zip_of_many_entries(folder):
    """Empty ones, whose names are all there is."""
    write(folder, official())
    count = 1100000
    local = struct.pack("<IHHHHHIIIHH", 0x04034B50, 20, 0, 0, 0, 0, 0, 0, 0, 7, 0)
    central = struct.pack("<IHHHHHHIIIHHHHHI", 0x02014B50, 20, 20, 0, 0, 0, 0, 0, 0, 0, 7,
                          0, 0, 0, 0, 0)
    names = [b"%07d" % i for i in range(count)]
    body = b"".join(local + name for name in names)
    directory = b"".join(central + struct.pack("<I", 37 * i) + name
                         for i, name in enumerate(names))
    end64 = struct.pack("<IQHHIIQQQQ", 0x06064B50, 44, 45, 45, 0, 0, count, count,
                        len(directory), len(body))
    locator = struct.pack("<IIQI", 0x07064B50, 0, len(body) + len(directory), 1)
    end = struct.pack("<IHHHHIIH", 0x06054B50, 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    (folder / BIN).write_bytes(body + directory + end64 + locator + end)
    return [BIN, "zip directory", "entries", "found 1100000"]


@case
def zip_directory_beyond_the_file(folder):
    write(folder, official())
    patch(folder / BIN, lambda data: data.rindex(b"PK\5\6") + 16, "<I", 0x7FFFFFFF)
    return [BIN, "zip directory", "expected it before offset", "2147483647"]


@case
def zip_of_several_parts(folder):
    write(folder, official())
    patch(folder / BIN, lambda data: data.rindex(b"PK\5\6") + 4, "<H", 1)
    return [BIN, "one of several"]


@case
def zip_entry_twice(folder):
    write(folder, official())
    with zipfile.ZipFile(folder / BIN, "a") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        archive.writestr(next(n for n in archive.namelist() if n.endswith("data/3")), "x")
    return [BIN, "data/3", "occurs twice"]


@case
def zip_without_a_pickle(folder):
    write(folder, official())
    with zipfile.ZipFile(folder / BIN, "w") as archive:
        archive.writestr("pytorch_model/data/0", b"1234")
    return [BIN, "*/data.pkl", "found none"]


@case
def zip_without_a_storage(folder):
    write(folder, official())
    write_zip(folder / BIN, state_dict([("w", tensor("FloatStorage", "7", (4,)))]), [])
    return [BIN, "data/7", "expected a storage", "found none"]


@case
def zip_big_endian(folder):
    write(folder, official())
    with zipfile.ZipFile(folder / BIN, "w") as archive:
        archive.writestr("pytorch_model/data.pkl", state_dict([]))
        archive.writestr("pytorch_model/byteorder", "big")
    return [BIN, "byteorder", '"little"', '"big"']


# Pickles.

TRAP = "trap-was-sprung"


def system(folder):
    return text(f"touch {folder}/{TRAP}")


HOSTILE = {
    "system": (lambda f: name("posix", "system") + tuple_of(system(f)) + b"R", "posix.system"),
    "eval": (lambda f: name("builtins", "eval") + tuple_of(text("1")) + b"R", "builtins.eval"),
    "inst": (lambda f: b"(" + system(f) + b"ios\nsystem\n", "os.system"),
    "stack-global": (
        lambda f: text("os") + text("system") + b"\x93" + tuple_of(system(f)) + b"R",
        "os.system",
    ),
    "obj": (lambda f: b"(" + name("os", "system") + system(f) + b"o", "os.system"),
    "getattr": (lambda f: name("builtins", "getattr"), "builtins.getattr"),
    "torch-load": (lambda f: name("torch", "load"), "torch.load"),
    "not-text": (lambda f: b"c\xff\x1b\nsystem\n", r"\xff\x1b.system"),
    "dotted": (lambda f: name("torch._utils", "sys.modules"), "torch._utils.sys.modules"),
    "extension": (lambda f: b"\x82\x01", "pickle at byte"),
    "call-a-storage": (lambda f: name("torch", "FloatStorage") + b")R", "pickle at byte"),
    "build": (
        lambda f: name("collections", "OrderedDict") + b")R}" + text("__class__") + b"Nsb",
        "expected a tensor, found a dict",
    ),
}


@each(HOSTILE)
def hostile_pickle(folder, which):
    make, expected = HOSTILE[which]
    write(folder, official())
    write_zip(folder / BIN, state_dict([("w", make(folder))]), [])
    return [BIN, expected]


BAD_PICKLES = {
    "empty": (b"", "pickle"),
    "no-stop": (b"\x80\x02}", "truncated"),
    "protocol-9": (b"\x80\x09}.", "protocol"),
    "text": (b"hello", "pickle at byte"),
    "no-dict": (b"\x80\x02]" + b".", "dict"),
    "a-number": (state_dict([("epoch", integer(3))]), "epoch"),
    "key-is-a-number": (b"\x80\x02}(" + integer(1) + b"Nu.", "keys of type str"),
    "long-string": (b"\x80\x02}X\xff\xff\xff\xff", "truncated"),
    "longer-string": (b"\x80\x02}\x8d" + b"\xff" * 8, "truncated"),
    "deep": (b"\x80\x02" + b"(" * 3000000, "at most"),
    "deep-tuples": (b"\x80\x02N" + b"\x85" * 3000000 + b".", "at most"),
    "laughs": (
        # Lists of lists: 2^40 items if anyone walked them.
        b"\x80\x02](NNeq\0" + b"".join(
            b"](h" + bytes([i]) + b"h" + bytes([i]) + b"eq" + bytes([i + 1])
            for i in range(40)
        ) + b".",
        "dict",
    ),
    "references": (
        b"\x80\x02]q\0" + (b"(" + b"h\0" * 1000000 + b"e") * 20 + b".", "at most",
    ),
    "references-in-tuples": (
        b"\x80\x02Nq\0" + (b"(" + b"h\0" * 1000000 + b"t") * 20 + b".", "at most",
    ),
    "a-list-in-itself": (b"\x80\x02]q\0(h\0h\0e" + b"." , "dict"),
    "memo-missing": (b"\x80\x02h\x05.", "memo"),
    "stack-empty": (b"\x80\x02s.", "stack"),
    "key-twice": (
        state_dict([("w", tensor("FloatStorage", "0", (4,)))] * 2), "duplicate key",
    ),
    "view-beyond": (state_dict([("w", tensor("FloatStorage", "0", (4,), offset=1))]), '"w"'),
    "view-far-beyond": (
        state_dict([("w", tensor("FloatStorage", "0", (2,), (2**62,), count=4))]), '"w"',
    ),
    "negative-offset": (
        state_dict([("w", tensor("FloatStorage", "0", (4,), offset=-1))]), "offset",
    ),
    "negative-stride": (
        state_dict([("w", tensor("FloatStorage", "0", (4,), (-1,), 3))]), "none below 0",
    ),
    "negative-size": (
        state_dict([("w", tensor("FloatStorage", "0", (-4,), (1,), count=4))]), "none below 0",
    ),
    "size-overflows": (
        state_dict([("w", tensor("FloatStorage", "0", (2**40, 2**40), (0, 0), count=4))]),
        '"w"',
    ),
    "expanded": (
        # One element seen 2^40 times: valid, but of no model.
        state_dict([("backbone.embedding.weight",
                     tensor("FloatStorage", "0", (2**20, 2**20), (0, 0), count=4))]),
        "backbone.embedding.weight",
    ),
    "storage-too-long": (
        state_dict([("w", tensor("FloatStorage", "0", (4,), count=5))]),
        "expected 5 elements of f32, found 16 bytes",
    ),
    "storage-size-overflows": (
        state_dict([("w", tensor("FloatStorage", "0", (4,), count=2**62 + 4))]), "storage",
    ),
    "storage-outside": (
        state_dict([("w", tensor("FloatStorage", "../../data/0", (4,)))]), "../../data/0",
    ),
    "complex": (
        state_dict([("w", tensor("ComplexFloatStorage", "0", (4,)))]), "ComplexFloatStorage",
    ),
    "ranks": (
        state_dict([("w", tensor("FloatStorage", "0", (1,) * 20, (1,) * 20, count=4))]),
        "at most 16 dimensions",
    ),
}


@each(BAD_PICKLES)
def pickle_is(folder, which):
    pickled, expected = BAD_PICKLES[which]
    write(folder, official())
    write_zip(folder / BIN, pickled, [bytes(16)])
    return [BIN, expected]


# Headers of safetensors.


def first(header):
    return header[sorted(k for k in header if k != "__metadata__")[0]]


BAD_HEADERS = {
    "no-json": (lambda h: b"{", "not valid JSON"),
    "empty": (lambda h: b"", "not valid JSON"),
    "list": (lambda h: b"[]", "expected an object"),
    "deep": (lambda h: b"[" * 100000, "deep"),
    "not-utf-8": (lambda h: b'{"\xff\xfe": 1}', "not valid JSON"),
    "key-twice": (lambda h: b'{"a": {}, "a": {}}', 'duplicate key "a"'),
    "number-for-a-tensor": (lambda h: h.update(extra=3), '"extra": expected an object'),
    "infinity": (lambda h: b'{"a": Infinity}', '"a": expected an object, found a number'),
    "no-dtype": (lambda h: first(h).pop("dtype") and None, "expected a dtype, found none"),
    "unknown-dtype": (lambda h: first(h).update(dtype="F8_E4M3"), '"F8_E4M3" is not supported'),
    "no-shape": (lambda h: first(h).pop("shape") and None, "expected a shape, found none"),
    "negative-size": (lambda h: first(h).update(shape=[-1, 4]), "expected sizes, found -1"),
    "fraction": (lambda h: first(h).update(shape=[1.5]), "expected sizes, found 1.5"),
    "size-overflows": (lambda h: first(h).update(shape=[2**40, 2**40]), "1099511627776"),
    "other-shape": (lambda h: first(h).update(shape=[5]), "expected the bytes of f32 [5], found"),
    "no-offsets": (
        lambda h: first(h).pop("data_offsets") and None, "expected two data_offsets",
    ),
    "offsets-beyond": (
        lambda h: first(h).update(data_offsets=[0, 2**60]), "found [0, 1152921504606846976]",
    ),
    "offsets-backwards": (lambda h: first(h).update(data_offsets=[8, 4]), "found [8, 4]"),
    "negative-offsets": (lambda h: first(h).update(data_offsets=[-4, 4]), "data_offsets"),
    "infinite-offsets": (lambda h: b'{"a": {"dtype": "F32", "shape": [1], '
                         b'"data_offsets": [0, Infinity]}}', '"a": expected two data_offsets'),
    "overlap": (
        lambda h: h.update(copy=first(h)), "overlaps",
    ),
    # Small values cost much more memory than text.
    "many-sizes": (
        lambda h: b'{"a": {"dtype": "F32", "shape": [' + b"0," * 20000000 + b"0]}}",
        "expected at most",
    ),
    "many-tensors": (
        lambda h: b'{"a": {}' + b"".join(b',"%d":[]' % i for i in range(1100000)) + b"}",
        "expected at most",
    ),
}


@each(BAD_HEADERS)
def header(folder, which):
    change, expected = BAD_HEADERS[which]
    write(folder, official_safetensors())
    change_header(folder / SAFE, change)
    return [SAFE, expected]


@each((2**63, 2**64 - 1, 2**40, 10**9))
def header_length(folder, length):
    write(folder, official_safetensors())
    patch(folder / SAFE, 0, "<Q", length)
    return [SAFE, "header", "expected at most", str(length)]


@case
def header_hole(folder):
    write(folder, official_safetensors())
    header, data = read_safetensors(folder / SAFE)
    del header[LAYER + "D"]
    write_safetensors(folder / SAFE, header, data)
    return [SAFE, "expected data from offset", "found"]


@case
def header_data_left_over(folder):
    write(folder, official_safetensors())
    with open(folder / SAFE, "ab") as file:
        file.write(b"four")
    return [SAFE, "bytes of data, found"]


# Tensors.


@each(FORMATS)
def tensor_missing(folder, format):
    write(folder, format(), lambda c: c.tensors.pop(LAYER + "A_log"))
    return [LAYER + "A_log", "expected a tensor, found none"]


@each(FORMATS)
def tensor_unknown(folder, format):
    write(folder, format(), lambda c: c.tensors.update(
        {LAYER + "B_log": c.tensors[LAYER + "A_log"].copy()}))
    return [LAYER + "B_log", "expected no such tensor", "found f32 [4]"]


@each(FORMATS)
def tensor_of_wrong_shape(folder, format):
    def change(c):
        c.tensors[LAYER + "conv1d.weight"] = c.tensors[LAYER + "conv1d.weight"][:-1]

    write(folder, format(), change)
    return [LAYER + "conv1d.weight", "expected shape [80, 1, 4]", "found [79, 1, 4]"]


@each(FORMATS)
def tensor_transposed(folder, format):
    def change(c):
        key = LAYER + "out_proj.weight"
        c.tensors[key] = np.ascontiguousarray(c.tensors[key].T)

    write(folder, format(), change)
    return [LAYER + "out_proj.weight", "expected shape [32, 64]", "found [64, 32]"]


@each(FORMATS)
def tensor_without_elements(folder, format):
    def change(c):
        c.tensors[c.embedding] = c.tensors[c.embedding][:0]
        c.tensors.pop("lm_head.weight", None)

    c = write(folder, format(), change)
    return [c.embedding, "expected shape (vocabulary, d_model), found [0, 32]"]


@each((official, official_safetensors))
def tensor_of_wrong_type(folder, format):
    def change(c):
        key = LAYER + "dt_bias"
        c.tensors[key] = np.arange(4, dtype="<i4")
        c.types[key] = "IntStorage" if c.options.container == "bin" else "I32"

    write(folder, format(), change)
    return [LAYER + "dt_bias", "expected a floating-point type, found i32"]


@case
def tensor_of_booleans(folder):
    def change(c):
        key = LAYER + "in_proj.weight"
        c.tensors[key] = c.tensors[key] > 0
        c.types[key] = "BoolStorage"

    write(folder, official(), change)
    return [BIN, LAYER + "in_proj.weight", "floating-point type or i8, found bool"]


@each(("wscale", "wbias"))
def linear_without(folder, part):
    write(folder, official(), lambda c: c.tensors.pop(LAYER + "in_proj." + part))
    return [LAYER + "in_proj." + part, "expected a tensor, found none"]


@case
def linear_scale_of_wrong_shape(folder):
    def change(c):
        key = LAYER + "in_proj.wscale"
        c.tensors[key] = c.tensors[key].T.copy()

    write(folder, official(), change)
    return [LAYER + "in_proj.wscale", "expected shape [1, 32]", "found [32, 1]"]


@case
def layer_missing(folder):
    def change(c):
        for key in [k for k in c.tensors if k.startswith("backbone.layers.1.")]:
            del c.tensors[key]

    write(folder, official(), change)
    return ["config.json", "n_layer", "expected 1", "found 2"]


@case
def layer_number_far_off(folder):
    write(folder, official(), lambda c: c.tensors.update(
        {"backbone.layers.999999.norm.weight": np.ones(32, "<f4")}))
    return ["n_layer", "backbone.layers.999999.norm.weight"]


@each((dense, hugging_face))
def key_in_two_shards(folder, format):
    checkpoint = write(folder, format())
    path = sorted(folder.glob("*model-*"))[0]
    key = checkpoint.embedding
    part = {key: checkpoint.tensors[key]}
    more = path.with_name(path.name.replace("00001", "00009"))
    (maker.write_torch if more.suffix == ".bin" else maker.write_safetensors)(
        more, part, checkpoint.options
    )
    for index in folder.glob("*.index.json"):
        index.unlink()
    return [more.name, "duplicate key", key, path.name]


@case
def head_is_not_the_embedding(folder):
    def change(c):
        c.tensors["lm_head.weight"] = c.tensors["lm_head.weight"].copy()
        c.tensors["lm_head.weight"][3, 4] += 1

    write(folder, official(), change)
    return ["lm_head.weight", "backbone.embedding.weight", "tie_embeddings", "found others"]


# Values.

NOT_FINITE = {"nan": np.nan, "infinity": np.inf, "minus-infinity": -np.inf}
VALUED = (
    "mixer.in_proj.weight", "mixer.in_proj.wscale", "mixer.out_proj.wbias",
    "mixer.A_log", "mixer.D", "mixer.dt_bias", "mixer.conv1d.weight",
    "mixer.conv1d.bias", "mixer.norm.weight", "norm.weight",
)


@each([(key, value) for key in VALUED for value in NOT_FINITE if value == "nan" or "1d" in key],
      naming=lambda pair: "-".join(pair).replace("mixer.", ""))
def value(folder, which):
    key, bad = which
    key = "backbone.layers.1." + key

    def change(c):
        c.tensors[key].flat[c.tensors[key].size - 2] = NOT_FINITE[bad]

    write(folder, official(), change)
    return [BIN, key, "NaN" if bad == "nan" else "infinite"]


@each((dense, hugging_face))
def value_of_the_embedding(folder, format):
    def change(c):
        c.tensors[c.embedding] = c.tensors[c.embedding].copy()
        c.tensors[c.embedding][5, 6] = np.nan
        c.tensors.pop("lm_head.weight", None)

    c = write(folder, format(), change)
    return [c.embedding, "element 166", "NaN"]


@case
def value_that_overflows(folder):
    write(folder, official(), lambda c: c.tensors[LAYER + "A_log"].fill(200))
    return [LAYER + "A_log", "infinite"]


# The config.

BAD_CONFIGS = {
    "no-json": ("{", "not valid JSON"),
    "empty": ("", "not valid JSON"),
    "list": ("[]", "config.json"),
    "number": ("3", "config.json"),
    "deep": ('{"a":' * 5000, "deep"),
    "key-twice": ('{"d_model": 32, "d_model": 33}', 'duplicate key "d_model"'),
    "infinity-as-a-key": ('{Infinity: 1}', "not valid JSON"),
}


@each(BAD_CONFIGS)
def config_text(folder, which):
    bad, expected = BAD_CONFIGS[which]
    write(folder, official())
    (folder / "config.json").write_text(bad)
    return ["config.json", expected]


@case
def config_missing(folder):
    write(folder, official())
    (folder / "config.json").unlink()
    return ["config.json"]


@case
def config_is_a_folder(folder):
    write(folder, official())
    (folder / "config.json").unlink()
    (folder / "config.json").mkdir()
    return ["config.json"]


BAD_SETTINGS = {  # of a format, what it changes, and what the error has
    "d-model-other": (official, {"d_model": 48}, ["d_model 48", "found 32"]),
    "d-model-infinite": (official, {"d_model": float("inf")}, ["d_model", "found Infinity"]),
    "d-model-nan": (official, {"d_model": float("nan")}, ["d_model", "found NaN"]),
    "d-model-zero": (official, {"d_model": 0}, ["d_model", "expected"]),
    "d-model-negative": (official, {"d_model": -32}, ["d_model", "expected"]),
    "d-model-text": (official, {"d_model": "32"}, ["d_model", "expected"]),
    "d-model-huge": (official, {"d_model": 2**63}, ["d_model"]),
    "layers-other": (official, {"n_layer": 3}, ["n_layer", "expected 2", "found 3"]),
    "layers-huge": (official, {"n_layer": 10**12}, ["n_layer", "found 1000000000000"]),
    "vocabulary": (official, {"vocab_size": 65}, ["vocabulary of 65", "vocab_size", "found 64"]),
    "mlp": (official, {"d_intermediate": 4}, ["d_intermediate"]),
    "attention": (official, {"attn_layer_idx": [1]}, ["attn_layer_idx"]),
    "mamba1": (official, {"ssm_cfg": {"layer": "Mamba1"}}, ["ssm_cfg.layer", "Mamba1"]),
    "gate-last": (
        official, {"ssm_cfg": {"layer": "Mamba2", "norm_before_gate": True}},
        ["norm_before_gate"],
    ),
    "unknown-key": (official, {"frobnicate": 1}, ["frobnicate"]),
    "unknown-odd-key": (official, {"fro\nbni\x1bcate": 1}, [r"fro\x0abni\x1bcate"]),
    "ssm-unknown-key": (official, {"ssm_cfg": {"frobnicate": 1}}, ["frobnicate"]),
    "ssm-is-a-list": (official, {"ssm_cfg": []}, ["ssm_cfg"]),
    "headdim": (
        official, {"ssm_cfg": {"headdim": 64, "d_state": 8}}, ["headdim 64", "A_log", "found 4"],
    ),
    "d-state": (
        official, {"ssm_cfg": {"headdim": 16, "d_state": 16}}, ["d_state 16", "conv1d.weight"],
    ),
    "limits-reversed": (
        official, {"ssm_cfg": {"headdim": 16, "d_state": 8, "dt_limit": [0.1, 0.01]}},
        ["dt_limit"],
    ),
    "limits-nan": (
        official, {"ssm_cfg": {"headdim": 16, "d_state": 8, "dt_limit": [float("nan"), 1]}},
        ["dt_limit"],
    ),
    "llama": (hugging_face, {"model_type": "llama"}, ["model_type", "llama"]),
    "quantised": (hugging_face, {"quantization_config": {}}, ["quantization_config"]),
    "eps-infinite": (
        hugging_face, {"layer_norm_epsilon": float("inf")}, ["layer_norm_epsilon"],
    ),
    "eps-negative": (hugging_face, {"layer_norm_epsilon": -1e-5}, ["layer_norm_epsilon"]),
    "activation": (hugging_face, {"hidden_act": "relu"}, ["hidden_act", "relu"]),
    "rows": (hugging_face, {"vocab_size": 60}, ["vocabulary of 60", "found 64"]),
    "bias-missing": (hugging_face, {"use_bias": True}, ["in_proj.bias", "found none"]),
    "bias-unwanted": (hugging_face, {"use_conv_bias": False}, ["conv1d.bias", "no such tensor"]),
    "head-missing": (
        hugging_face, {"tie_word_embeddings": False}, ["lm_head.weight", "found none"],
    ),
    "bos-huge": (official, {"bos_token_id": 2**64 - 1}, ["bos_token_id", "18446744073709551615"]),
    "bos-outside": (hugging_face, {"bos_token_id": 64}, ["bos_token_id", "below 64", "found 64"]),
    "expand": (dense, {"ssm_cfg": {"expand": 3, "headdim": 16, "d_state": 8}}, ["expand"]),
    "groups": (
        dense, {"ssm_cfg": {"ngroups": 3, "headdim": 16, "d_state": 8}}, ["ngroups"],
    ),
}


@each(BAD_SETTINGS)
def config(folder, which):
    format, settings, expected = BAD_SETTINGS[which]
    write(folder, format(), lambda c: c.config.update(settings))
    return expected


# Indices of shards.

BIN_INDEX, SAFE_INDEX = BIN + ".index.json", SAFE + ".index.json"


def change_index(folder, name, change):
    path = folder / name
    index = json.loads(path.read_text())
    change(index["weight_map"])
    path.write_text(json.dumps(index))


@each((dense, hugging_face))
def index_names_a_missing_shard(folder, format):
    write(folder, format())
    shard = sorted(folder.glob("*model-00002*"))[0]
    shard.unlink()
    return [".index.json", "missing shard", shard.name]


@each(("../secret.bin", "/etc/passwd", "", "a\0b"), naming=lambda name: repr(name).strip("'"))
def index_leaves_the_folder(folder, shard):
    write(folder, dense())
    change_index(folder, BIN_INDEX, lambda m: m.update({LAYER + "D": shard}))
    return [BIN_INDEX, LAYER + "D", "expected the name of a file in the folder"]


@case
def index_says_another_shard(folder):
    write(folder, hugging_face())
    shards = sorted(p.name for p in folder.glob("*model-*"))
    other = lambda m: m.update({LAYER + "D": next(s for s in shards if s != m[LAYER + "D"])})
    change_index(folder, SAFE_INDEX, other)
    return [SAFE_INDEX, LAYER + "D", "expected it in", "found it in"]


@case
def index_names_a_tensor_that_is_not(folder):
    write(folder, hugging_face())
    change_index(folder, SAFE_INDEX, lambda m: m.update(nothing=sorted(m.values())[0]))
    return [SAFE_INDEX, '"nothing"', "found it nowhere"]


@each(('{"weight_map": {}}', '{"weight_map": []}', "[]", "{", '{"weight_map": {"a": 3}}'),
      naming=lambda text: "".join(c for c in text if c not in '" '))
def index_text(folder, bad):
    write(folder, dense())
    (folder / BIN_INDEX).write_text(bad)
    return [BIN_INDEX]


# Tokenizers.


def with_tokenizer(folder, data):
    def change(c):
        c.config["vocab_size"] = 64

    write(folder, official(), change)
    (folder / "tokenizer.model").write_bytes(data)


TOKENIZER = (CHECKPOINTS / "bimamba/tokenizer.model").read_bytes()


@case
def tokenizer_of_another_vocabulary(folder):
    with_tokenizer(folder, TOKENIZER)
    return ["tokenizer.model", "expected at most 64 pieces", "found 4096"]


@each((0, 1, 10, 30000))
def tokenizer_truncated(folder, size):
    with_tokenizer(folder, TOKENIZER[:size])
    return ["tokenizer.model", "expected"]


@case
def tokenizer_without_end(folder):
    """Gigabytes of fields of two zero bytes, of which a disk has none."""
    with_tokenizer(folder, b"")
    with open(folder / "tokenizer.model", "r+b") as file:
        file.truncate(8 << 30)
    return ["tokenizer.model", "expected at most", "found 8589934592"]


@case
def tokenizer_foreign(folder):
    with_tokenizer(folder, b"to be or not to be\n" * 20)
    return ["tokenizer.model", "expected a SentencePiece model"]


@case
def tokenizer_of_few_odd_pieces(folder):
    """Pieces that parse, in a model that SentencePiece does not load."""
    piece = b"\x0a\x01a\x15\x00\x00\x00\x00"
    with_tokenizer(folder, b"".join(b"\x0a" + bytes([len(piece)]) + piece for _ in range(9)))
    return ["tokenizer"]


# Folders.


@case
def folder_is_empty(folder):
    return ["expected model.safetensors, pytorch_model.bin", "found none"]


@case
def folder_is_missing(folder):
    folder.rmdir()
    return [folder.name]


# --- Running -----------------------------------------------------------------------


def run(command, folder):
    """Exit status, output, errors."""
    with open(folder / "stdout", "w+b") as out, open(folder / "stderr", "w+b") as err:
        limits = ["prlimit", f"--cpu={MOST_SECONDS}", f"--data={MOST_BYTES}"]
        status = subprocess.call(
            limits + command, stdout=out, stderr=err, stdin=subprocess.DEVNULL
        )
    texts = [(folder / n).read_bytes().decode(errors="replace") for n in ("stdout", "stderr")]
    return status, *texts


def judge(command, folder, expected, may_pass=False):
    """What is wrong with how a command met a broken file.

    One spoiled by chance may be whole, or hold other values: it may pass.
    """
    outputs = folder / "outputs"
    outputs.mkdir()
    status, out, err = run(
        [part.replace("OUTPUTS", str(outputs)) for part in command], folder
    )
    found = []
    if may_pass and status == 0:
        shutil.rmtree(outputs)
        return []
    if status != 1:
        found.append(f"exit status {status}, expected 1")
    if out:
        found.append(f"prints to standard output: {out[:200]!r}")
    if not err.startswith(f"{command[0]}: error: ") or err.count("\n") != 1:
        found.append("expected one line 'TOOL: error: ...'")
    found += [f"does not name {part!r}" for part in expected if part not in err]
    if any(ord(c) < 32 and c != "\n" for c in err) or "\ufffd" in err:
        found.append("prints control characters")
    left = sorted(path.name for path in outputs.iterdir())
    if left:
        found.append(f"leaves {', '.join(left)}")
    for name in (outputs, folder / "stdout", folder / "stderr"):
        shutil.rmtree(name) if name.is_dir() else name.unlink()
    return [f"{command[0]}: {one}" for one in found] + [err[:2000]] * bool(found)


def check_checkpoint(title, root, skeletons):
    folder = root / title / "checkpoint"
    folder.mkdir(parents=True)
    expected = CASES[title](folder)
    problems = []
    path = str(folder)
    kind = "dense"
    config = folder / "config.json"
    if config.is_file() and '"tie_word_embeddings"' in config.read_text():
        kind = "hf"
    elif not list(folder.glob("*-of-*")):
        kind = "official"
    for command in (
        ["mambit-inspect", path],
        ["mambit-compile", path, "--target=x86-64-v3", "-o", "OUTPUTS/m.mbt"],
        ["mambit-pack", skeletons[kind], path, "-o", "OUTPUTS/m.mbt"],
    ):
        # What becomes of a value is known once it is computed with.
        if command[0] != "mambit-inspect" or title != "value-that-overflows":
            problems += judge(command, root / title, expected)
    if (folder / TRAP).exists():
        problems.append("the pickle was run")
    shutil.rmtree(root / title)
    return problems


# Checkpoints spoiled by chance, where their files describe themselves.

SPOILED = 25  # of each file
EXTREMES = (0, 1, 255, 2**16, 2**31 - 1, 2**32 - 1, 2**62, 2**63, 2**64 - 1)
WORDS = ("null", "-1", "1e400", "Infinity", "NaN", '""', "[]", "{}", str(2**64))


def described(name, data):
    """Where a file holds more than values."""
    if name.endswith(".safetensors"):
        return [(0, 8 + struct.unpack_from("<Q", data)[0])]
    if name.endswith(".bin"):
        begin = data.index(b"\x80\x02")
        return [(begin, data.index(b"PK", begin)), (data.index(b"PK\1\2"), len(data))]
    return [(0, len(data))]


def spoil(rng, name, data):
    parts = described(name, data)
    begin, end = parts[rng.integers(len(parts))]
    part = bytearray(data[begin:end])
    for _ in range(rng.choice((1, 1, 2, 5))):
        at, size = int(rng.integers(len(part))), int(rng.integers(1, 40))
        other = int(rng.integers(len(part)))
        kind = rng.integers(7 if name.endswith(".bin") else 8)
        if kind == 0:
            part[at] ^= 1 << rng.integers(8)
        elif kind == 1:
            part[at] = rng.integers(256)
        elif kind == 2:
            part[at : at + 8] = struct.pack("<Q", EXTREMES[rng.integers(len(EXTREMES))])
        elif kind == 3:
            del part[at : at + size]
        elif kind == 4:
            part[at:at] = part[other : other + size]
        elif kind == 5:
            part[at : at + size] = part[other : other + size]
        elif kind == 6:
            part[at] = (part[at] + rng.choice((1, 255))) % 256
        else:  # a word of JSON
            words = list(re.finditer(rb'"[^"]*"|-?[0-9.]+|\[[^][]*\]', part))
            if words:
                word = words[rng.integers(len(words))]
                part[word.start() : word.end()] = rng.choice(WORDS).encode()
        part = part or bytearray(1)
    return data[:begin] + bytes(part) + data[end:]


def check_spoiled(title, make, name, seed, skeletons, root):
    folder = root / title / "checkpoint"
    folder.mkdir(parents=True)
    skeleton = skeletons[write(folder, make()).options.format]
    path = sorted(folder.glob(name))[0]
    path.write_bytes(spoil(np.random.default_rng(seed), path.name, path.read_bytes()))
    problems = []
    for command in (
        ["mambit-inspect", str(folder)],
        ["mambit-pack", skeleton, str(folder), "-o", "OUTPUTS/m.mbt"],
    ):
        problems += judge(command, root / title, [], may_pass=True)
    shutil.rmtree(root / title)
    return problems


def spoiled_cases():
    """Function, name of the file, and seed of each."""
    for make, names in (
        (official, (BIN, "config.json")),
        (official_safetensors, (SAFE,)),
        (dense, (BIN_INDEX,)),
        (hugging_face, ("model-00002*", SAFE_INDEX, "config.json")),
    ):
        for name in names:
            for seed in range(SPOILED):
                yield make, name, seed


# Compiled models and saved sessions.


def flip(data, at):
    return data[:at] + bytes([data[at] ^ 0x40]) + data[at + 1 :]


def artifact_cases(data, skeleton):
    size = len(data)
    cases = {f"truncated-{n}": (data[:n], []) for n in (0, 1, 63, 64, 1000, size // 2, size - 1)}
    cases |= {f"flipped-{n}": (flip(data, n), []) for n in
              (0, 9, 20, 30, 60, 70, 500, size // 3, size // 2, size - 1)}
    cases["longer"] = (data + b"x", [])
    cases["text"] = (b"not an artifact\n" * 100, [])
    cases["newer"] = (data[:8] + struct.pack("<H", 9) + data[10:], ["version 9"])
    cases["zeros"] = (bytes(size), [])
    return cases


def check_artifact(title, data, expected, root):
    folder = root / ("artifact-" + title)
    folder.mkdir()
    path = folder / "bad.mbt"
    path.write_bytes(data)
    np.save(folder / "ids.npy", np.arange(8, dtype="<i4"))
    ids = ["--ids", str(folder / "ids.npy")]
    problems = []
    for command in (
        ["mambit-run", str(path), *ids],
        ["mambit-eval", str(path), *ids, "--window", "4"],
        ["mambit-bench", str(path)],
        ["mambit-inspect", str(path)],
        ["mambit-inspect", str(path), "--extract", "OUTPUTS/code"],
        ["mambit-pack", str(path), "--random=1", "-o", "OUTPUTS/m.mbt"],
    ):
        problems += judge(command, folder, ["bad.mbt", *expected])
    shutil.rmtree(folder)
    return problems


def state_cases(data):
    size = len(data)
    cases = {f"truncated-{n}": data[:n] for n in (0, 7, 79, 80, 200, size // 2, size - 1)}
    cases |= {f"flipped-{n}": flip(data, n) for n in
              (0, 8, 17, 25, 33, 41, 50, 66, 75, 90, 500, size // 2, size - 1)}
    cases["longer"] = data + b"x"
    cases["text"] = b"not a session\n" * 100
    return cases


def check_state(title, data, model, root):
    folder = root / ("state-" + title)
    folder.mkdir()
    path = folder / "bad.state"
    path.write_bytes(data)
    problems = judge(["mambit-run", model, "--state", str(path)], folder, ["bad.state"])
    if path.read_bytes() != data:
        problems.append("the file was changed")
    shutil.rmtree(folder)
    return problems


def main():
    wanted = sys.argv[1] if len(sys.argv) > 1 else ""
    with tempfile.TemporaryDirectory(prefix="mambit-broken-") as folder:
        root = pathlib.Path(folder)
        skeletons = {}
        must = lambda *command: subprocess.run(command, check=True)
        for make in (official, dense, hugging_face):
            checkpoint = root / ("good-" + make.__name__)
            checkpoint.mkdir()
            made = write(checkpoint, make())
            skeletons[made.options.format] = str(checkpoint) + "-skeleton.mbt"
            must("mambit-compile", str(checkpoint), "--target=x86-64-v3", "--quiet",
                 "--weights=none", "-o", skeletons[made.options.format])
        model, skeleton = str(root / "good.mbt"), skeletons["official"]
        must("mambit-pack", skeleton, str(root / "good-official"), "-o", model, "--quiet")
        state = root / "good.state"
        np.save(root / "ids.npy", np.arange(8, dtype="<i4"))
        subprocess.run(["mambit-run", model, "--ids", str(root / "ids.npy"), "--state",
                        str(state), "-n", "3"], check=True, capture_output=True)

        jobs = {title: (check_checkpoint, title, root, skeletons) for title in CASES}
        for make, name, seed in spoiled_cases():
            title = f"spoiled-{make.__name__}-{name.strip('*')}-{seed}"
            jobs[title] = (check_spoiled, title, make, name, seed, skeletons, root)
        data = pathlib.Path(model).read_bytes()
        for title, (bad, expected) in artifact_cases(data, skeleton).items():
            jobs["artifact-" + title] = (check_artifact, title, bad, expected, root)
        for title, bad in state_cases(state.read_bytes()).items():
            jobs["state-" + title] = (check_state, title, bad, model, root)
        failed = 0
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            futures = {title: pool.submit(*job) for title, job in jobs.items()
                       if wanted in title}
            for title, future in futures.items():
                problems = future.result()
                if problems:
                    failed += 1
                    print(f"{title}:", *problems, sep="\n  ")
        print(f"{len(futures)} broken files, {failed} met badly")
        sys.exit(failed != 0)


if __name__ == "__main__":
    main()
