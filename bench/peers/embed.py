"""Embedding a text: this server's model beside PyTorch, sentence-transformers and ONNX Runtime, all in one run.

    pip install torch transformers sentence-transformers onnx onnxruntime onnxscript
    (cd bench && go build -o /tmp/embedworker ./cmd/embedworker)
    python bench/peers/embed.py --worker /tmp/embedworker

One random BERT-base checkpoint is written once and given to everybody, with the same number of threads. The contenders
take turns, shape by shape, round by round, each round beginning with another one; the table has medians in milliseconds and the ratio peer / ours of medians.
"""
import argparse
import json
import os
import statistics
import subprocess
import time

import numpy as np
import torch

SHAPES = [(1, 32), (1, 128), (1, 512), (32, 128)]


def checkpoint(path, layers):
    """A BERT-base-shaped repository with a vocabulary of plain words, so that n words are n tokens."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import BertConfig, BertModel

    os.makedirs(f"{path}/1_Pooling", exist_ok=True)
    torch.manual_seed(0)
    BertModel(BertConfig(num_hidden_layers=layers), add_pooling_layer=False).save_pretrained(path)
    vocab = {w: i for i, w in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]"] + [f"w{i}" for i in range(30000)])}
    t = Tokenizer(models.WordPiece(vocab, unk_token="[UNK]"))
    t.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    t.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    t.save(f"{path}/tokenizer.json")
    for name, content in {
        "tokenizer_config.json": {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": 512, "pad_token": "[PAD]", "cls_token": "[CLS]",
                                  "sep_token": "[SEP]", "unk_token": "[UNK]"},
        "sentence_bert_config.json": {"max_seq_length": 512, "do_lower_case": False},
        "1_Pooling/config.json": {"word_embedding_dimension": 768, "pooling_mode_mean_tokens": True},
        "modules.json": [{"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
                         {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"}],
    }.items():
        with open(f"{path}/{name}", "w") as f:
            json.dump(content, f)


class Ours:
    def __init__(self, binary, path, dtype, threads):
        self.p = subprocess.Popen([binary, "-dir", path, "-dtype", dtype, "-threads", str(threads)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def ask(self, **q):
        self.p.stdin.write(json.dumps(q).encode() + b"\n")
        self.p.stdin.flush()
        return json.loads(self.p.stdout.readline())

    def ids(self, ids):
        return self.ask(ids=ids.tolist())["ms"]

    def texts(self, texts):
        return self.ask(texts=texts)["ms"]


def timed(f):
    start = time.perf_counter()
    f()
    return (time.perf_counter() - start) * 1e3


class PyTorch:
    def __init__(self, path, dtype):
        from transformers import AutoModel

        self.model = AutoModel.from_pretrained(path, dtype=dtype, attn_implementation="sdpa").eval()

    def ids(self, ids):
        x = torch.from_numpy(ids)
        with torch.inference_mode():
            return timed(lambda: self.model(input_ids=x).last_hidden_state.float().mean(1).numpy())


class SentenceTransformers:
    def __init__(self, path, dtype):
        from sentence_transformers import SentenceTransformer

        self.model = SentenceTransformer(path, device="cpu", model_kwargs={"dtype": dtype})

    def texts(self, texts):
        return timed(lambda: self.model.encode(texts, show_progress_bar=False))


class Plain(torch.nn.Module):
    """The same network from plain operators, in the form that ONNX Runtime's BERT optimizer knows; transformers' own code does not trace."""

    def __init__(self, model):
        super().__init__()
        self.model = model
        self.heads = model.config.num_attention_heads

    def forward(self, ids, mask):
        e = self.model.embeddings
        x = e.word_embeddings(ids) + e.token_type_embeddings(torch.zeros_like(ids)) + e.position_embeddings(torch.arange(ids.shape[1])[None])
        x = e.LayerNorm(x)
        bias = (1.0 - mask[:, None, None, :].float()) * -10000.0
        for layer in self.model.encoder.layer:
            a = layer.attention.self
            q, k, v = (f(x).view(x.shape[0], x.shape[1], self.heads, -1).transpose(1, 2) for f in (a.query, a.key, a.value))
            p = torch.softmax(q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5 + bias, -1)
            y = (p @ v).transpose(1, 2).reshape(x.shape)
            x = layer.attention.output.LayerNorm(layer.attention.output.dense(y) + x)
            x = layer.output.LayerNorm(layer.output.dense(torch.nn.functional.gelu(layer.intermediate.dense(x))) + x)
        return x


class OnnxRuntime:
    """The exported graph as it is and under ONNX Runtime's BERT optimizer (fused attention, GELU, layer norm); the faster one counts."""

    def __init__(self, path, threads):
        import onnxruntime as ort
        from onnxruntime.transformers import optimizer
        from transformers import AutoModel

        plain, fused = f"{path}/model.onnx", f"{path}/model-fused.onnx"
        if not os.path.exists(fused):
            model = AutoModel.from_pretrained(path, dtype=torch.float32).eval()
            ids = torch.ones(2, 8, dtype=torch.long)
            names = {n: {0: "batch", 1: "tokens"} for n in ("input_ids", "attention_mask")}
            with torch.no_grad():
                torch.testing.assert_close(Plain(model)(ids, ids), model(ids).last_hidden_state, atol=1e-4, rtol=1e-4)
                torch.onnx.export(Plain(model), (ids, ids), plain, input_names=list(names), output_names=["last_hidden_state"], dynamic_axes=names,
                                  opset_version=17, dynamo=False)
            m = optimizer.optimize_model(plain, model_type="bert", num_heads=12, hidden_size=768, opt_level=1)
            print("ONNX Runtime fused:", m.get_fused_operator_statistics())
            m.save_model_to_file(fused)
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        self.sessions = [ort.InferenceSession(p, options, providers=["CPUExecutionProvider"]) for p in (plain, fused)]
        self.best = {}

    def run(self, session, ids):
        return session.run(None, {"input_ids": ids, "attention_mask": np.ones_like(ids)})[0].mean(1)

    def ids(self, ids):
        if ids.shape not in self.best:
            for s in self.sessions:
                self.run(s, ids)
            times = [statistics.median(timed(lambda: self.run(s, ids)) for _ in range(3)) for s in self.sessions]
            self.best[ids.shape] = self.sessions[times.index(min(times))]
        return timed(lambda: self.run(self.best[ids.shape], ids))


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--worker", required=True)
    p.add_argument("--dir", default="/tmp/bert-base-random")
    p.add_argument("--layers", type=int, default=12)
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--rounds", type=int, default=7)
    p.add_argument("--big-rounds", type=int, default=3)
    p.add_argument("--shapes", default=",".join([f"{b}x{n}" for b, n in SHAPES] + ["mixed"]), help="batch x tokens, and 'mixed' for 64 texts of 10 to 500 tokens")
    a = p.parse_args()
    torch.set_num_threads(a.threads)
    if not os.path.exists(f"{a.dir}/modules.json"):
        checkpoint(a.dir, a.layers)
    ours = {d: Ours(a.worker, a.dir, d, a.threads) for d in ("float32", "bfloat16", "q8")}
    contenders = {
        "ours float32": ours["float32"].ids, "ours bfloat16": ours["bfloat16"].ids, "ours q8": ours["q8"].ids,
        "ONNX Runtime float32": OnnxRuntime(a.dir, a.threads).ids,
        "PyTorch float32": PyTorch(a.dir, torch.float32).ids, "PyTorch bfloat16": PyTorch(a.dir, torch.bfloat16).ids,
    }
    rng = np.random.default_rng(1)
    shapes = a.shapes.split(",")
    for b, n in (map(int, s.split("x")) for s in shapes if s != "mixed"):
        report(contenders, f"{b}x{n}", rng.integers(4, 30000, (b, n), dtype=np.int64), a.big_rounds if b * n > 1024 else a.rounds)
    if "mixed" in shapes:
        run_mixed(a, ours, rng)
    print("peak of this run:", ours["float32"].ask(peak=True)["peak"])


def run_mixed(a, ours, rng):
    # as people run it: texts of 10 to 500 tokens through encode()
    lengths = rng.integers(8, 499, 64)
    texts = [" ".join(f"w{i}" for i in rng.integers(0, 30000, n)) for n in lengths]
    mixed = {
        "ours float32": ours["float32"].texts, "ours bfloat16": ours["bfloat16"].texts,
        "sentence-transformers float32": SentenceTransformers(a.dir, torch.float32).texts,
        "sentence-transformers bfloat16": SentenceTransformers(a.dir, torch.bfloat16).texts,
    }
    report(mixed, f"64 texts, {lengths.sum() + 128} tokens", texts, a.big_rounds)


def report(contenders, name, x, rounds):
    times = {c: [] for c in contenders}
    for r in range(rounds + 1):
        order = list(contenders.items())
        for c, run in order[r % len(order):] + order[:r % len(order)]:
            time.sleep(0.3)  # peers' threads spin for a while after their turn
            t = run(x)
            if r > 0:  # the first round warms up
                times[c].append(t)
    medians = {c: statistics.median(t) for c, t in times.items()}
    print(f"\n| {name} | median ms | / ours float32 | / ours bfloat16 |\n|---|---|---|---|")
    for c, m in medians.items():
        print(f"| {c} | {m:.1f} | {m / medians['ours float32']:.2f} | {m / medians['ours bfloat16']:.2f} |", flush=True)


if __name__ == "__main__":
    main()
