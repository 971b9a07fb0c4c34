"""Writes small checkpoints with torch and safetensors, and what they hold as torch reads it back (expected.json).

    python make.py        # torch, safetensors
"""
import collections
import json
import os

import torch
from safetensors.torch import save_file

os.chdir(os.path.dirname(os.path.abspath(__file__)))
torch.manual_seed(1)

base = torch.arange(24, dtype=torch.float32).reshape(4, 6) - 3.5
shared = torch.randn(5, 3)
state = collections.OrderedDict(
    plain=base,
    transposed=base.t(),
    view=base.reshape(-1)[3:9],
    strided=base[:, 1:4],
    expanded=torch.tensor([1.5, -2.0]).expand(3, 2),
    scalar=torch.tensor(2.25),
    empty=torch.empty(0, 4),
    half=torch.tensor([1.0, -0.5, 65504.0]).half(),
    bfloat=torch.tensor([1.0, -0.5, 3e38]).bfloat16(),
    double=torch.tensor([[1.0, 2.0], [3.0, 0.1]], dtype=torch.float64),
    ids=torch.arange(4),
    flags=torch.tensor([True, False]),
    tied=shared,
    tied_too=shared,
    parameter=torch.nn.Parameter(torch.randn(2, 2)),
)

module = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.LayerNorm(2))
files = {
    "zip.bin": (state, {}),
    "legacy.bin": (state, {"_use_new_zipfile_serialization": False}),
    "module.bin": (module.state_dict(), {}),
    "wrapped.bin": ({"state_dict": module.state_dict(), "epoch": 3, "lr": 0.5}, {}),
    "module-legacy.bin": (module.state_dict(), {"_use_new_zipfile_serialization": False}),
}


def describe(tensors):
    return {
        k: {"shape": list(v.shape), "values": v.detach().double().reshape(-1).tolist()}
        for k, v in tensors.items()
        if isinstance(v, torch.Tensor)
    }


expected = {}
for name, (obj, options) in files.items():
    torch.save(obj, name, **options)
    back = torch.load(name, weights_only=True)
    expected[name] = describe(back.get("state_dict", back))
flat = {k: v.detach().clone().contiguous() for k, v in state.items()}
save_file(flat, "flat.safetensors", metadata={"format": "pt"})
expected["flat.safetensors"] = describe(flat)
os.makedirs("sharded", exist_ok=True)
names = sorted(flat)
weight_map = {}
for i, part in enumerate((names[:7], names[7:])):
    shard = f"model-0000{i + 1}-of-00002.safetensors"
    save_file({k: flat[k] for k in part}, f"sharded/{shard}")
    weight_map.update({k: shard for k in part})
with open("sharded/model.safetensors.index.json", "w") as f:
    json.dump({"metadata": {}, "weight_map": weight_map}, f)
expected["sharded"] = describe(flat)
with open("expected.json", "w") as f:
    json.dump(expected, f)
