"""Writes tiny random language models in the layout of real repositories, and what transformers makes of some prompts.

    python make.py [name ...]        # torch, transformers, tokenizers

Each folder is one repository; expected.json.gz holds, for each, the prompts' ids, the float32 logits behind them and 64
tokens of greedy decoding. Weights are random but not small, so that attention is sharp and norms matter; a seed is taken
whose greedy choices are nowhere closer than MARGIN, so that equal tokens are a fair demand of float32, and do not repeat
a few tokens only. Repositories
stored in 16 bits are computed in float32 with the rounded weights.

Attention is the eager one: others leave Gemma 2's cap of scores out. Phi-3 is run without a cache, because cached
generation forgets what it must compute again at the switch of LongRoPE's factors.
"""
import copy
import gzip
import json
import os
import shutil
import sys

import torch
from safetensors.torch import load_file, save_file
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import (
    AutoModelForCausalLM, Gemma2Config, Gemma3TextConfig, GemmaConfig, LlamaConfig, MistralConfig, Phi3Config, Qwen2Config,
    Qwen3Config, SmolLM3Config,
)

os.chdir(os.path.dirname(os.path.abspath(__file__)))
torch.set_num_threads(1)
MARGIN = 1e-3
VOCAB = 320

CORPUS = [
    "The harbour was quiet before the ferry came in.", "A recipe needs flour, water, salt and patience.",
    "How do I reset the password of my account?", "Der Zug nach München fährt um 7:45 Uhr ab.",
    "La niña encontró una estrella de mar en la playa.", "今天的天气非常好，我们去公园吧。", "price: $19.99 (20% off!)",
    "def main():\n    return [x ** 2 for x in range(10)]", "🙂 great work 👩‍🚀",
]
GPT = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"


def byte_level(specials, bos=None):
    t = Tokenizer(models.BPE())
    t.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(GPT), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    t.decoder = decoders.ByteLevel()
    t.train_from_iterator(CORPUS, trainers.BpeTrainer(
        vocab_size=VOCAB - len(specials) - 4, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False))
    t.add_special_tokens(specials)
    if bos:
        t.post_processor = processors.TemplateProcessing(single=f"{bos} $A", pair=f"{bos} $A {bos} $B", special_tokens=[(bos, t.token_to_id(bos))])
    return t


def sentence_pieces(specials, bos=None, legacy=True):
    """As SentencePiece's BPE with byte fallback: Llama 2, Phi-3, Gemma."""
    bytes_ = [f"<0x{i:02X}>" for i in range(256)]
    pieces = ["<unk>", "<s>", "</s>"] + bytes_
    for c in sorted(set("▁etaoinshrdlucmfwypg,.")):
        pieces.append(c)
    vocab = {p: i for i, p in enumerate(pieces)}
    merges = []
    for a, b in [("▁", "t"), ("h", "e"), ("▁t", "he"), ("i", "n"), ("r", "e"), ("▁", "a"), ("o", "n"), ("a", "n"), ("a", "t"), ("e", "r")]:
        if a in vocab and b in vocab:
            merges.append((a, b))
            vocab[a + b] = len(vocab)
    t = Tokenizer(models.BPE(vocab=vocab, merges=merges, byte_fallback=True, fuse_unk=True, unk_token="<unk>"))
    if legacy:
        t.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
        t.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    else:
        t.normalizer = normalizers.Replace(" ", "▁")
        t.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    t.add_special_tokens(["<unk>", "<s>", "</s>"] + specials)
    if bos:
        t.post_processor = processors.TemplateProcessing(single=f"{bos} $A", pair=f"{bos} $A {bos} $B", special_tokens=[(bos, t.token_to_id(bos))])
    return t


CHATML = """{%- for m in messages %}{{ '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"""
TOOLS = """{%- if tools %}{{ '<|im_start|>system\\nTools:\\n' }}{% for t in tools %}{{ t | tojson }}{{ '\\n' }}{% endfor %}{{ 'Answer with <tool_call>\\n{"name": ..., "arguments": ...}\\n</tool_call>.<|im_end|>\\n' }}{% endif %}"""
PHI = """{%- for m in messages %}{{ '<|' + m.role + '|>\\n' + m.content + '<|end|>\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>\\n' }}{% endif %}"""
GEMMA = """{{ bos_token }}{% for m in messages %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('roles must alternate') }}{% endif %}{{ '<start_of_turn>' + ('model' if m.role == 'assistant' else m.role) + '\\n' + m.content | trim + '<end_of_turn>\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<start_of_turn>model\\n' }}{% endif %}"""
LLAMA = """{{ bos_token }}{% for m in messages %}{{ '<|start_header_id|>' + m.role + '<|end_header_id|>\\n\\n' + m.content | trim + '<|eot_id|>' }}{% endfor %}{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}"""
MISTRAL = """{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}{{ '[INST] ' + m.content + '[/INST]' }}{% elif m.role == 'assistant' %}{{ ' ' + m.content + eos_token }}{% else %}{{ raise_exception('Only user and assistant roles are supported!') }}{% endif %}{% endfor %}"""

IM = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
wide = dict(vocab_size=VOCAB, hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=1, head_dim=64)

# name: (config, tokenizer, template, eos, bos, stored dtype, generation_config)
MODELS = {
    "llama": (lambda: LlamaConfig(**{**wide, "num_attention_heads": 4, "num_key_value_heads": 2}, rms_norm_eps=1e-5, max_position_embeddings=512, tie_word_embeddings=False, rope_parameters={
        "rope_type": "llama3", "rope_theta": 500000.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 64}),
        lambda: byte_level(["<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "<|python_tag|>"], "<|begin_of_text|>"),
        LLAMA, "<|eot_id|>", "<|begin_of_text|>", "bfloat16", {"temperature": 0.6, "top_p": 0.9}),
    "llama-odd": (lambda: LlamaConfig(vocab_size=VOCAB - 3, hidden_size=36, intermediate_size=50, num_hidden_layers=3, num_attention_heads=6, num_key_value_heads=3, head_dim=10,
        attention_bias=True, mlp_bias=True, tie_word_embeddings=True, max_position_embeddings=300, rope_parameters={"rope_type": "linear", "rope_theta": 10000.0, "factor": 4.0}),
        lambda: sentence_pieces([], "<s>"), None, "</s>", "<s>", "float32", None),
    "llama-dynamic": (lambda: LlamaConfig(vocab_size=VOCAB, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, head_dim=8,
        max_position_embeddings=64, rope_parameters={"rope_type": "dynamic", "rope_theta": 10000.0, "factor": 4.0}),
        lambda: sentence_pieces([], "<s>"), None, "</s>", "<s>", "float16", None),
    "mistral": (lambda: MistralConfig(**wide, sliding_window=24, max_position_embeddings=512, rope_parameters={"rope_type": "default", "rope_theta": 1000000.0}),
        lambda: sentence_pieces(["[INST]", "[/INST]", "[TOOL_CALLS]", "[AVAILABLE_TOOLS]", "[/AVAILABLE_TOOLS]"], "<s>", legacy=False), MISTRAL, "</s>", "<s>", "bfloat16", None),
    "qwen2": (lambda: Qwen2Config(**{k: v for k, v in wide.items() if k != "head_dim"}, use_sliding_window=True, sliding_window=20, max_window_layers=1, max_position_embeddings=256,
        tie_word_embeddings=True, rope_parameters={"rope_type": "yarn", "rope_theta": 1000000.0, "factor": 4.0, "original_max_position_embeddings": 64}),
        lambda: byte_level(IM + ["<tool_call>", "</tool_call>"]), TOOLS + CHATML, "<|im_end|>", None, "bfloat16", {"repetition_penalty": 1.05, "temperature": 0.7, "top_p": 0.8, "top_k": 20}),
    "qwen3": (lambda: Qwen3Config(**wide, max_position_embeddings=512, tie_word_embeddings=True, rope_parameters={"rope_type": "default", "rope_theta": 1000000.0}),
        lambda: byte_level(IM + ["<tool_call>", "</tool_call>", "<think>", "</think>"]), TOOLS + CHATML, "<|im_end|>", None, "bfloat16", None),
    "smollm3": (lambda: SmolLM3Config(**{**{k: v for k, v in wide.items() if k != "head_dim"}, "num_hidden_layers": 4}, max_position_embeddings=256, use_sliding_window=True, sliding_window=30,
        pad_token_id=0, bos_token_id=None, eos_token_id=None, tie_word_embeddings=True),
        lambda: byte_level(IM), CHATML, "<|im_end|>", None, "bfloat16", None),
    "gemma": (lambda: GemmaConfig(**wide, max_position_embeddings=256, hidden_act="gelu_pytorch_tanh"),
        lambda: sentence_pieces(["<start_of_turn>", "<end_of_turn>"], "<s>", legacy=False), GEMMA, "<end_of_turn>", "<s>", "bfloat16", None),
    "gemma2": (lambda: Gemma2Config(**{**wide, "num_hidden_layers": 4}, max_position_embeddings=256, sliding_window=16, query_pre_attn_scalar=64, attn_logit_softcapping=5.0, final_logit_softcapping=8.0),
        lambda: sentence_pieces(["<start_of_turn>", "<end_of_turn>"], "<s>", legacy=False), GEMMA, "<end_of_turn>", "<s>", "bfloat16", None),
    "gemma3": (lambda: Gemma3TextConfig(**{**wide, "num_hidden_layers": 3}, max_position_embeddings=256, sliding_window=16, query_pre_attn_scalar=64,
        layer_types=["sliding_attention", "full_attention", "sliding_attention"],
        rope_parameters={"full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1000000.0}, "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0}}),
        lambda: sentence_pieces(["<start_of_turn>", "<end_of_turn>"], "<s>", legacy=False), GEMMA, "<end_of_turn>", "<s>", "bfloat16", None),
    "phi3": (lambda: Phi3Config(**{**wide, "hidden_size": 192, "intermediate_size": 128, "num_attention_heads": 2, "num_key_value_heads": 2, "head_dim": 96}, rms_norm_eps=1e-5, max_position_embeddings=256,
        original_max_position_embeddings=48, sliding_window=200, tie_word_embeddings=False, pad_token_id=0, bos_token_id=1, eos_token_id=2,
        rope_parameters={"rope_type": "longrope", "rope_theta": 10000.0, "original_max_position_embeddings": 48,
            "short_factor": [1 + 0.02 * i for i in range(48)], "long_factor": [1 + 0.7 * i for i in range(48)]}),
        lambda: sentence_pieces(["<|endoftext|>", "<|assistant|>", "<|system|>", "<|end|>", "<|user|>"]), PHI, "<|endoftext|>", "<s>", "bfloat16", "phi"),
    "phi4": (lambda: Phi3Config(**{**wide, "num_attention_heads": 3, "num_key_value_heads": 1, "head_dim": 32, "hidden_size": 96, "intermediate_size": 80}, max_position_embeddings=256,
        original_max_position_embeddings=200, sliding_window=None, tie_word_embeddings=True, pad_token_id=0, bos_token_id=0, eos_token_id=0, partial_rotary_factor=0.75,
        rope_parameters={"rope_type": "longrope", "rope_theta": 10000.0, "original_max_position_embeddings": 200, "partial_rotary_factor": 0.75,
            "short_factor": [1 + 0.1 * i for i in range(12)], "long_factor": [1 + 0.1 * i for i in range(12)]}),
        lambda: byte_level(["<|endoftext|>", "<|assistant|>", "<|system|>", "<|end|>", "<|user|>", "<|tool|>", "<|/tool|>", "<|tool_call|>", "<|/tool_call|>"]), PHI.replace("\\n", ""), "<|endoftext|>", None, "float32", None),
}


def randomise(model, seed):
    g = torch.Generator().manual_seed(seed)
    for name, p in model.named_parameters():
        with torch.no_grad():
            r = torch.randn(p.shape, generator=g)
            if p.dim() == 1 and "norm" in name:
                base = 0.0 if "gemma" in model.config.model_type else 1.0
                p.copy_(base + 0.2 * r)
            elif p.dim() == 1:
                p.copy_(0.3 * r)
            elif "embed_tokens" in name or "lm_head" in name:
                p.copy_(r * (0.4 if model.config.tie_word_embeddings else 1.5) / p.shape[1] ** 0.5)
            else:
                p.copy_(r * 1.3 / p.shape[1] ** 0.5)


def prompts(vocab):
    lengths = [1, 9, 40, 100]
    return [[(7 * i * i + 13 * i + 5 * n) % vocab for i in range(n)] for n in lengths]


@torch.no_grad()
def greedy(model, ids, n, cached):
    """The logits behind the prompt, n tokens, and the least distance between the best two."""
    ids, first, margin, out, past = list(ids), None, 1e9, [], None
    for _ in range(n):
        if cached:
            r = model(torch.tensor([ids if past is None else ids[-1:]]), past_key_values=past, use_cache=True)
            past = r.past_key_values
        else:
            r = model(torch.tensor([ids]), use_cache=False)
        z = r.logits[0, -1].float()
        if first is None:
            first = z.tolist()
        top = torch.topk(z, 2)
        margin = min(margin, float(top.values[0] - top.values[1]))
        ids.append(int(top.indices[0]))
        out.append(ids[-1])
    return first, out, margin


def make(name):
    config, tokenizer, template, eos, bos, stored, generation = MODELS[name]
    shutil.rmtree(name, ignore_errors=True)
    t = tokenizer()
    for seed in range(1, 600):
        c = config()
        c._attn_implementation = "eager"
        torch.manual_seed(seed)
        model = AutoModelForCausalLM.from_config(c, attn_implementation="eager").float().eval()
        randomise(model, seed)
        for p in model.parameters():  # but not the rotary frequencies
            p.data = p.data.to(getattr(torch, stored)).float()
        runs, least = [], 1e9
        for p in prompts(c.vocab_size):
            # A copy, because a dynamic rotary embedding remembers the longest sequence that it has seen.
            first, out, margin = greedy(copy.deepcopy(model), p, 64, cached=c.model_type != "phi3")
            least = min(least, margin if len(set(out)) > 8 else 0)  # a model that repeats itself shows little
            runs.append({"ids": p, "logits": [round(x, 6) for x in first], "greedy": out})
            if least < MARGIN:
                break
        if least >= MARGIN:
            break
    else:
        raise SystemExit(f"{name}: no seed has a margin of {MARGIN}")
    os.makedirs(name)
    c.eos_token_id = t.token_to_id(eos)
    c.bos_token_id = t.token_to_id(bos) if bos else None
    model.config = c
    model.to(getattr(torch, stored)).save_pretrained(name)
    if os.path.exists(f"{name}/generation_config.json"):
        os.remove(f"{name}/generation_config.json")
    if generation == "phi":
        generation = {"eos_token_id": [t.token_to_id(x) for x in ("<|end|>", "<|assistant|>", "<|endoftext|>")]}
    if generation:
        json.dump({"do_sample": True, **generation}, open(f"{name}/generation_config.json", "w"))
    os.chmod(f"{name}/model.safetensors", 0o644)
    t.save(f"{name}/tokenizer.json")
    json.dump({"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": c.max_position_embeddings, "eos_token": eos, **({"bos_token": bos} if bos else {}),
        **({"chat_template": template} if template else {})}, open(f"{name}/tokenizer_config.json", "w"))
    print(name, "seed", seed, "margin", round(least, 5), "parameters", sum(p.numel() for p in model.parameters()), flush=True)
    return runs


def tensors(path):
    return load_file(f"{path}/model.safetensors")


def shard(path):
    w = tensors(path)
    names = sorted(w)
    half = len(names) // 2
    index = {"metadata": {"total_size": sum(x.numel() * x.element_size() for x in w.values())}, "weight_map": {}}
    for i, part in enumerate((names[:half], names[half:])):
        file = f"model-0000{i + 1}-of-00002.safetensors"
        save_file({n: w[n].clone() for n in part}, f"{path}/{file}", metadata={"format": "pt"})
        index["weight_map"].update({n: file for n in part})
    os.remove(f"{path}/model.safetensors")
    json.dump(index, open(f"{path}/model.safetensors.index.json", "w"))


def inside_vision(path, to):
    """The text model of a Gemma 3 checkpoint with a vision tower, with the names that files of transformers 4 have."""
    shutil.rmtree(to, ignore_errors=True)
    shutil.copytree(path, to)
    w = {"language_model." + n: x for n, x in tensors(path).items()}
    w["vision_tower.vision_model.post_layernorm.weight"] = torch.ones(4)
    save_file(w, f"{to}/model.safetensors", metadata={"format": "pt"})
    c = json.load(open(f"{path}/config.json"))
    types, rope = c.pop("layer_types"), c.pop("rope_parameters")
    c["layer_types"] = types
    c.update(rope_theta=rope["full_attention"]["rope_theta"], rope_scaling={"rope_type": "linear", "factor": 8.0}, rope_local_base_freq=rope["sliding_attention"]["rope_theta"])
    c.pop("architectures", None)
    json.dump({"architectures": ["Gemma3ForConditionalGeneration"], "model_type": "gemma3", "text_config": c}, open(f"{to}/config.json", "w"), indent=1)


def old_phi(path):
    """A config.json as revisions for transformers 4 have it."""
    c = json.load(open(f"{path}/config.json"))
    r = c.pop("rope_parameters")
    c.update(rope_theta=r["rope_theta"], original_max_position_embeddings=48, rope_scaling={"type": "su", "short_factor": r["short_factor"], "long_factor": r["long_factor"]})
    json.dump(c, open(f"{path}/config.json", "w"), indent=1)


if __name__ == "__main__":
    expected = {}
    if os.path.exists("expected.json.gz"):
        expected = json.load(gzip.open("expected.json.gz", "rt"))
    for name in sys.argv[1:] or MODELS:
        expected[name] = make(name)
        if name == "llama-odd":
            shard(name)
        if name == "gemma3":
            inside_vision(name, "gemma3-vision")
            expected["gemma3-vision"] = expected[name]
        if name == "phi3":
            old_phi(name)
    with gzip.GzipFile("expected.json.gz", "wb", mtime=0) as f:
        f.write(json.dumps(expected).encode())
