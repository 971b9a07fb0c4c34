"""Writing text: this server over HTTP beside llama.cpp and transformers, all in one run.

    pip install torch transformers gguf llama-cpp-python    # the last compiles llama.cpp for this very CPU
    make build && python bench/peers/text.py --server bin/remote-client-server

Two random checkpoints are written once: four layers of Phi-3-mini's shape, and SmolLM2-135M's. The same weights become GGUF files. The
contenders take turns, each round beginning with another one; the tables have medians in tokens/s and the ratio ours / peer of medians.
Ours counts from the request to the stream's chunks at the client. llama.cpp counts llama_decode and the choice of the largest logit.
"""
import argparse
import concurrent.futures
import http.client
import json
import os
import re
import statistics
import subprocess
import sys
import time

import numpy as np

PROMPT, TOKENS, USERS, USER_PROMPT, USER_TOKENS = 128, 32, 8, 16, 48
SHAPES = {
    "phi": dict(hidden_size=3072, intermediate_size=8192, num_hidden_layers=4, num_attention_heads=32, num_key_value_heads=32, vocab_size=32064,
                tie_word_embeddings=False, max_position_embeddings=4096, rms_norm_eps=1e-5),
    "smol": dict(hidden_size=576, intermediate_size=1536, num_hidden_layers=30, num_attention_heads=9, num_key_value_heads=3, vocab_size=49152,
                 tie_word_embeddings=True, max_position_embeddings=8192, rms_norm_eps=1e-5),
}
PAIRS = {"bfloat16": "bf16", "q8": "q8_0", "q4": "q4_0"}


def checkpoint(path, name):
    """A repository with random weights and a tokenizer of plain words, so that each token is a text of its own."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, Phi3Config, Phi3ForCausalLM

    torch.manual_seed(0)
    ids = dict(bos_token_id=1, eos_token_id=2, pad_token_id=0)
    config, model = (Phi3Config, Phi3ForCausalLM) if name == "phi" else (LlamaConfig, LlamaForCausalLM)
    torch.set_default_dtype(torch.bfloat16)
    model(config(**SHAPES[name], **ids)).save_pretrained(path)
    torch.set_default_dtype(torch.float32)
    words = ["<unk>", "<s>", "</s>"] + [f"w{i}" for i in range(3, SHAPES[name]["vocab_size"])]
    t = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="<unk>"))
    t.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    t.save(f"{path}/tokenizer.json")
    with open(f"{path}/tokenizer_config.json", "w") as f:
        json.dump({"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}, f)


def tensors(path):
    with open(f"{path}/model.safetensors", "rb") as f:
        n = int.from_bytes(f.read(8), "little")
        head = json.loads(f.read(n))
    data = np.memmap(f"{path}/model.safetensors", dtype=np.uint8, mode="r", offset=8 + n)
    for name, t in head.items():
        if name != "__metadata__":
            a, b = t["data_offsets"]
            yield name, (data[a:b].view(np.uint16).astype(np.uint32) << 16).view(np.float32).reshape(t["shape"])


def gguf_file(path, name, kind):
    """The checkpoint at path as a GGUF file without a tokenizer: the prompts are ids."""
    import gguf

    s, kinds = SHAPES[name], {"bf16": gguf.GGMLQuantizationType.BF16, "q8_0": gguf.GGMLQuantizationType.Q8_0, "q4_0": gguf.GGMLQuantizationType.Q4_0}
    dim = s["hidden_size"] // s["num_attention_heads"]
    w = gguf.GGUFWriter(f"{path}/{kind}.gguf", "phi3" if name == "phi" else "llama")
    w.add_context_length(s["max_position_embeddings"])
    w.add_embedding_length(s["hidden_size"])
    w.add_block_count(s["num_hidden_layers"])
    w.add_feed_forward_length(s["intermediate_size"])
    w.add_rope_dimension_count(dim)
    w.add_rope_freq_base(10000.0)
    w.add_head_count(s["num_attention_heads"])
    w.add_head_count_kv(s["num_key_value_heads"])
    w.add_layer_norm_rms_eps(1e-5)
    w.add_vocab_size(s["vocab_size"])
    w.add_tokenizer_model("none")
    if name == "phi":
        w.add_sliding_window(0)
    names = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output", "input_layernorm": "attn_norm",
             "post_attention_layernorm": "ffn_norm", "self_attn.qkv_proj": "attn_qkv", "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k",
             "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output", "mlp.gate_up_proj": "ffn_up", "mlp.gate_proj": "ffn_gate",
             "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down"}
    for key, x in tensors(path):
        key = key.removesuffix(".weight")
        layer = re.fullmatch(r"model\.layers\.(\d+)\.(.*)", key)
        to = f"blk.{layer[1]}.{names[layer[2]]}.weight" if layer else f"{names[key]}.weight"
        if name == "smol" and key.endswith(("q_proj", "k_proj")):  # llama.cpp rotates neighbours, transformers halves
            x = x.reshape(-1, 2, dim // 2, x.shape[1]).swapaxes(1, 2).reshape(x.shape)
        if x.ndim == 1:
            w.add_tensor(to, x)
        else:
            w.add_tensor(to, gguf.quants.quantize(np.ascontiguousarray(x), kinds[kind]), raw_dtype=kinds[kind])
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def llama_worker(path, threads):
    """Answers each line {"ids", "tokens"} with the milliseconds to the first token and between the others, and the tokens."""
    import llama_cpp as l

    @l.llama_log_callback
    def silent(*_):
        pass

    l.llama_log_set(silent, None)
    l.llama_backend_init()
    p = l.llama_model_default_params()
    p.n_gpu_layers = 0
    model = l.llama_model_load_from_file(path.encode(), p)
    c = l.llama_context_default_params()
    c.n_ctx, c.n_batch, c.n_ubatch, c.n_threads, c.n_threads_batch = 1024, 512, 512, threads, threads
    context = l.llama_init_from_model(model, c)
    vocab = l.llama_vocab_n_tokens(l.llama_model_get_vocab(model))

    def step(ids):
        held = (l.llama_token * len(ids))(*ids)  # the batch only points to it
        if l.llama_decode(context, l.llama_batch_get_one(held, len(ids))) != 0:
            raise RuntimeError("llama_decode failed")
        return int(np.ctypeslib.as_array(l.llama_get_logits_ith(context, -1), shape=(vocab,)).argmax())

    for line in sys.stdin:
        q = json.loads(line)
        l.llama_memory_clear(l.llama_get_memory(context), True)
        start = time.perf_counter()
        out = [step(q["ids"])]
        first = time.perf_counter()
        while len(out) < q["tokens"]:
            out.append(step(out[-1:]))
        print(json.dumps([first - start, time.perf_counter() - first, out]), flush=True)


class Llama:
    def __init__(self, python, path, threads):
        self.p = subprocess.Popen([python, __file__, "--llama", path, "--threads", str(threads)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def write(self, ids, tokens):
        self.p.stdin.write(json.dumps({"ids": ids, "tokens": tokens}).encode() + b"\n")
        self.p.stdin.flush()
        return json.loads(self.p.stdout.readline())

    def close(self):
        self.p.stdin.close()
        self.p.wait()


class Ours:
    def __init__(self, binary, path, dtype, threads, port):
        self.port = port
        self.flags = ["--model", "m", "--model_type", "text", "--model_files", path, "--dtype", dtype, "--threads", str(threads), "--max_model_len", "1024", "--no_redis"]
        self.binary = binary
        self.p = subprocess.Popen([binary, "--host", "127.0.0.1", "--port", str(port), *self.flags], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while True:
            try:
                c = http.client.HTTPConnection("127.0.0.1", port)
                c.request("GET", "/api/health")
                if c.getresponse().status == 200:
                    return
            except OSError:
                pass
            if self.p.poll() is not None:
                raise RuntimeError(f"the server ended with {self.p.returncode}")
            time.sleep(0.02)

    def chunks(self, ids, tokens):
        """The arrival of each token, and its id."""
        c = http.client.HTTPConnection("127.0.0.1", self.port)
        body = json.dumps({"prompt": ids, "max_tokens": tokens, "temperature": 0, "ignore_eos": True, "stream": True, "return_token_ids": True,
                           "add_special_tokens": False, "stream_options": {"include_usage": True}})
        start = time.perf_counter()
        c.request("POST", "/v1/completions", body, {"Content-Type": "application/json"})
        r = c.getresponse()
        if r.status != 200:
            raise RuntimeError(r.read())
        at, out, usage = [], [], None
        for line in r:
            if line.startswith(b"data: {"):
                e = json.loads(line[6:])
                usage = e.get("usage") or usage
                got = e["choices"][0].get("token_ids") or [] if e["choices"] else []
                at += [time.perf_counter()] * len(got)
                out += got
        c.close()
        if usage["prompt_tokens"] != len(ids) or len(out) != tokens:
            raise RuntimeError(f"{usage}, {len(out)} tokens seen")
        return start, at, out

    def write(self, ids, tokens):
        start, at, out = self.chunks(ids, tokens)
        return at[0] - start, at[-1] - at[0], out

    def users(self, rng, vocab, n):
        """Tokens/s of n users while all of them write."""
        prompts = [rng.integers(3, vocab, USER_PROMPT).tolist() for _ in range(n)]
        with concurrent.futures.ThreadPoolExecutor(n) as pool:
            seen = [at for _, at, _ in pool.map(lambda p: self.chunks(p, USER_TOKENS), prompts)]
        begin, end = max(at[0] for at in seen), min(at[-1] for at in seen)
        return sum(begin < t <= end for at in seen for t in at) / (end - begin)

    def read(self):
        """What `check` says of one user's tokens: GB/s of weights, and GB/s that both cores read."""
        said = subprocess.run([self.binary, "check", *self.flags], capture_output=True, text=True).stdout
        m = re.search(r"weights read at ([\d.]+) GB/s, .*? of the ([\d.]+) GB/s", said)
        return (float(m[1]), float(m[2])) if m else None

    def close(self):
        self.p.terminate()
        self.p.wait()


class Transformers:
    def __init__(self, path, threads):
        import torch
        from transformers import AutoModelForCausalLM

        torch.set_num_threads(threads)
        self.torch = torch
        self.model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.bfloat16, attn_implementation="sdpa").eval()

    def write(self, ids, tokens):
        with self.torch.inference_mode():
            def step(ids, cache):
                r = self.model(self.torch.tensor([ids]), past_key_values=cache, use_cache=True, logits_to_keep=1)
                return int(r.logits[0, -1].argmax()), r.past_key_values

            start = time.perf_counter()
            token, cache = step(ids, None)
            first, out = time.perf_counter(), [token]
            while len(out) < tokens:
                token, cache = step(out[-1:], cache)
                out.append(token)
            return first - start, time.perf_counter() - first, out

    def close(self):
        pass


def compare(a, name, contenders, ours):
    """Medians of prefill and decode of every contender; of one and of many users of ours; of the bandwidth."""
    rng, vocab = np.random.default_rng(1), SHAPES[name]["vocab_size"]
    got = {c: ([], []) for c in contenders}
    many, one, reads = {c: [] for c in ours}, {c: [] for c in ours}, {c: [] for c in ours}
    for r in range(a.rounds + 1):
        ids = rng.integers(3, vocab, PROMPT).tolist()
        order = list(contenders.items())
        for c, who in order[r % len(order):] + order[:r % len(order)]:
            time.sleep(0.3)  # peers' threads spin for a while after their turn
            fill, write, _ = who.write(ids, TOKENS + 1)
            if r > 0:  # the first round warms up
                got[c][0].append(PROMPT / fill)
                got[c][1].append(TOKENS / write)
        for c, who in ours.items() if r > 0 else ():
            time.sleep(0.3)
            one[c].append(who.users(rng, vocab, 1))
            many[c].append(who.users(rng, vocab, USERS))
            if r <= 2 and (x := who.read()):
                reads[c].append(x)
        print(f"{name} round {r}: load {os.getloadavg()[0]:.1f}", file=sys.stderr, flush=True)
    m = {c: [statistics.median(x) for x in v] for c, v in got.items()}
    print(f"\n| {name} | prefill {PROMPT}, tokens/s | decode, tokens/s |\n|---|---|---|")
    for c, (fill, write) in m.items():
        print(f"| {c} | {fill:.0f} | {write:.1f} |")
    print("\n| ours / peer | prefill | decode |\n|---|---|---|")
    for c in ours:
        for peer in contenders:
            if peer not in ours and peer.split()[-1] == PAIRS[c.split()[-1]]:
                print(f"| {c} / {peer} | {m[c][0] / m[peer][0]:.2f} | {m[c][1] / m[peer][1]:.2f} |")
    print(f"\n| ours | 1 user, tokens/s | {USERS} users | ratio | weights read, GB/s | the device reads | share |\n|---|---|---|---|---|---|---|")
    for c in ours:
        x, y = statistics.median(one[c]), statistics.median(many[c])
        moved, device = (statistics.median(v) for v in zip(*reads[c])) if reads[c] else (0, 0)
        print(f"| {c} | {x:.1f} | {y:.1f} | {y / x:.2f} | {moved:.1f} | {device:.1f} | {moved / max(device, 1e-9):.2f} |", flush=True)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--server", help="the binary")
    p.add_argument("--llama-python", default=sys.executable, help="a Python that has llama-cpp-python")
    p.add_argument("--dir", default="/tmp/text-random")
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--models", default="phi,smol")
    p.add_argument("--llama", help="be the worker for this GGUF file")
    a = p.parse_args()
    if a.llama:
        return llama_worker(a.llama, a.threads)
    if not a.server:
        p.error("--server is required")
    print(f"load at the start: {os.getloadavg()}", file=sys.stderr)
    for name in a.models.split(","):
        path, dtypes = f"{a.dir}/{name}", list(PAIRS) if name == "phi" else ["bfloat16"]
        if not os.path.exists(f"{path}/tokenizer_config.json"):
            checkpoint(path, name)
        contenders, ours = {}, {}
        try:
            for i, d in enumerate(dtypes):
                if not os.path.exists(f"{path}/{PAIRS[d]}.gguf"):
                    gguf_file(path, name, PAIRS[d])
                ours[f"ours {d}"] = contenders[f"ours {d}"] = Ours(a.server, path, d, a.threads, 8910 + i)
                contenders[f"llama.cpp {PAIRS[d]}"] = Llama(a.llama_python, f"{path}/{PAIRS[d]}.gguf", a.threads)
            if name == "smol":
                contenders["transformers bf16"] = Transformers(path, a.threads)
            compare(a, name, contenders, ours)
        finally:
            for c in contenders.values():
                c.close()


if __name__ == "__main__":
    main()
