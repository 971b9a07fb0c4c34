"""Writes tiny random embedders in the layout of real repositories, and what sentence-transformers makes of some texts.

    python make.py        # torch, transformers, sentence-transformers, tokenizers

Each folder is one repository; expected.json.gz holds, for each, the ids and raw vectors (normalize_embeddings=False) of
every text. Weights are random but not small, so that attention is sharp and norms matter; some repositories are stored
in 16 bits, in which case the reference computes in float32 with the rounded weights.
"""
import gzip
import json
import os
import shutil

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from sentence_transformers import SentenceTransformer
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import (
    BertConfig, BertModel, DistilBertConfig, DistilBertModel, GteConfig, GteModel, ModernBertConfig, ModernBertModel,
    MPNetConfig, MPNetModel, NomicBertConfig, NomicBertModel, Qwen3Config, Qwen3Model, RobertaConfig, RobertaModel,
    XLMRobertaConfig, XLMRobertaModel,
)

os.chdir(os.path.dirname(os.path.abspath(__file__)))

CORPUS = [
    "The harbour was quiet before the ferry came in.", "A recipe needs flour, water, salt and patience.",
    "search_document: photosynthesis turns light into sugar", "How do I reset the password of my account?",
    "Der Zug nach München fährt um 7:45 Uhr ab.", "Les élèves ont visité le musée d'histoire naturelle.",
    "La niña encontró una estrella de mar en la playa.", "Сегодня утром шёл сильный снег.", "今天的天气非常好，我们去公园吧。",
    "東京の電車はとても正確です。", "오늘은 날씨가 맑습니다.", "مرحبا بالعالم", "ยินดีต้อนรับ", "price: $19.99 (20% off!)",
    "def main():\n    return [x ** 2 for x in range(10)]", "e = mc²; naïve café; ½ cup", "🙂 great work 👩‍🚀",
]
TEXTS = CORPUS + [
    "", " ", "a", "\t\n", "the", "[CLS] typed [SEP] tokens </s> <pad> <s> <|endoftext|>", "UPPER and lower CASE Straße İstanbul",
    "word " * 60, "無" * 50, "x" * 130, "\u0000\u200b\ufeff\ufffd", "a\u0301e\u0308 ﬁ Å ｆｕｌｌ",
]


def save_tokenizer(t, path, limit, cls="PreTrainedTokenizerFast", **special):
    t.save(f"{path}/tokenizer.json")
    with open(f"{path}/tokenizer_config.json", "w") as f:
        json.dump({"tokenizer_class": cls, "model_max_length": limit, **special}, f)


def wordpiece(names, template_pair=None):
    cls, sep, pad, unk, mask = names
    t = Tokenizer(models.WordPiece(unk_token=unk))
    t.normalizer = normalizers.BertNormalizer(lowercase=True)
    t.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    t.train_from_iterator(CORPUS, trainers.WordPieceTrainer(vocab_size=300, special_tokens=[pad, unk, cls, sep, mask], show_progress=False))
    t.post_processor = processors.TemplateProcessing(
        single=f"{cls} $A {sep}", pair=f"{cls} $A {sep} $B:1 {sep}:1", special_tokens=[(cls, t.token_to_id(cls)), (sep, t.token_to_id(sep))])
    t.decoder = decoders.WordPiece()
    return t


def byte_bpe(special, prefix_space=False, split=None):
    t = Tokenizer(models.BPE())
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=prefix_space, use_regex=split is None)
    if split:
        t.normalizer = normalizers.NFC()
        t.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(split), "isolated"), byte_level])
    else:
        t.pre_tokenizer = byte_level
    t.decoder = decoders.ByteLevel()
    t.train_from_iterator(CORPUS, trainers.BpeTrainer(
        vocab_size=330, special_tokens=special, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False))
    return t


def unigram():
    t = Tokenizer(models.Unigram())
    t.normalizer = normalizers.Sequence([normalizers.Nmt(), normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")])
    t.pre_tokenizer = pre_tokenizers.Metaspace()
    t.decoder = decoders.Metaspace()
    t.train_from_iterator(CORPUS, trainers.UnigramTrainer(
        vocab_size=320, special_tokens=["<s>", "<pad>", "</s>", "<unk>", "<mask>"], unk_token="<unk>", show_progress=False))
    t.post_processor = processors.TemplateProcessing(single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)])
    return t


def random_weights(model, scale):
    g = torch.Generator().manual_seed(hash_name(type(model).__name__))
    with torch.no_grad():
        for name, p in model.named_parameters():
            if p.dim() > 1:
                p.copy_(torch.randn(p.shape, generator=g) * (scale if "embed" in name else 1.6 * p.shape[-1] ** -0.5))
            elif name.endswith("weight"):
                p.copy_(1 + 0.2 * torch.randn(p.shape, generator=g))
            else:
                p.copy_(0.2 * torch.randn(p.shape, generator=g))


def hash_name(s):
    h = 2166136261
    for c in s.encode():
        h = (h ^ c) * 16777619 % 2**32
    return h


def repository(path, model, tokenizer, limit, pooling, max_seq_length=None, dtype=torch.float32, normalize=False, prompts=None,
               default_prompt=None, include_prompt=True, dense=None, layer_norm=False, lower=False, scale=1.0, old_keys=True, **special):
    shutil.rmtree(path, ignore_errors=True)
    os.makedirs(path)
    random_weights(model, scale)
    model = model.to(dtype)
    model.save_pretrained(path)
    save_tokenizer(tokenizer, path, limit, **special)
    modules = [("", "Transformer")]
    os.makedirs(f"{path}/1_Pooling")
    width = model.config.hidden_size if hasattr(model.config, "hidden_size") else model.config.dim
    modes = {"cls": "cls_token", "mean": "mean_tokens", "max": "max_tokens", "mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
             "weightedmean": "weightedmean_tokens", "lasttoken": "lasttoken"}
    with open(f"{path}/1_Pooling/config.json", "w") as f:
        if old_keys:
            c = {"word_embedding_dimension": width, **{f"pooling_mode_{v}": k in pooling for k, v in modes.items()}}
        else:
            c = {"embedding_dimension": width, "pooling_mode": pooling}
        json.dump({**c, "include_prompt": include_prompt}, f)
    modules.append(("1_Pooling", "Pooling"))
    width *= len(pooling)
    g = torch.Generator().manual_seed(5)
    if dense:
        out, activation, residual = dense
        os.makedirs(f"{path}/2_Dense")
        with open(f"{path}/2_Dense/config.json", "w") as f:
            json.dump({"in_features": width, "out_features": out, "bias": True, "activation_function": activation, "use_residual": residual}, f)
        w = {"linear.weight": torch.randn(out, width, generator=g) * width**-0.5, "linear.bias": torch.randn(out, generator=g) * 0.1}
        if residual and width != out:
            w["residual.weight"] = torch.randn(out, width, generator=g) * width**-0.5
        save_file(w, f"{path}/2_Dense/model.safetensors")
        modules.append(("2_Dense", "Dense"))
        width = out
    if layer_norm:
        os.makedirs(f"{path}/3_LayerNorm")
        with open(f"{path}/3_LayerNorm/config.json", "w") as f:
            json.dump({"dimension": width}, f)
        torch.save({"norm.weight": 1 + 0.1 * torch.randn(width, generator=g), "norm.bias": 0.1 * torch.randn(width, generator=g)}, f"{path}/3_LayerNorm/pytorch_model.bin")
        modules.append(("3_LayerNorm", "LayerNorm"))
    if normalize:
        modules.append((f"{len(modules)}_Normalize", "Normalize"))
        os.makedirs(f"{path}/{modules[-1][0]}", exist_ok=True)
    kinds = {"Transformer": "Transformer", "Pooling": "Pooling", "Dense": "Dense", "LayerNorm": "LayerNorm", "Normalize": "Normalize"}
    with open(f"{path}/modules.json", "w") as f:
        json.dump([{"idx": i, "name": str(i), "path": p, "type": f"sentence_transformers.models.{kinds[k]}"} for i, (p, k) in enumerate(modules)], f)
    with open(f"{path}/sentence_bert_config.json", "w") as f:
        json.dump({"max_seq_length": max_seq_length, "do_lower_case": lower}, f)
    with open(f"{path}/config_sentence_transformers.json", "w") as f:
        json.dump({"prompts": prompts or {}, "default_prompt_name": default_prompt, "similarity_fn_name": "cosine"}, f)


BERT_NAMES = ("[CLS]", "[SEP]", "[PAD]", "[UNK]", "[MASK]")
BERT_SPECIAL = dict(cls_token="[CLS]", sep_token="[SEP]", pad_token="[PAD]", unk_token="[UNK]", mask_token="[MASK]")
ROBERTA_SPECIAL = dict(bos_token="<s>", eos_token="</s>", cls_token="<s>", sep_token="</s>", pad_token="<pad>", unk_token="<unk>", mask_token="<mask>")


def roberta_bpe():
    t = byte_bpe(["<s>", "<pad>", "</s>", "<unk>", "<mask>"])
    t.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), trim_offsets=True, add_prefix_space=False)
    return t


def build():
    torch.manual_seed(3)
    wp = wordpiece(BERT_NAMES)
    v = wp.get_vocab_size()
    # MiniLM's layout, sizes that no tile fits
    repository("bert-odd", BertModel(BertConfig(vocab_size=v, hidden_size=24, num_hidden_layers=3, num_attention_heads=3, intermediate_size=37,
               max_position_embeddings=64), add_pooling_layer=False), wp, 512, ["mean"], max_seq_length=40, normalize=True, **BERT_SPECIAL)
    # bge's layout with a Dense and a LayerNorm module, production head size, float16
    repository("bert-wide", BertModel(BertConfig(vocab_size=v, hidden_size=128, num_hidden_layers=1, num_attention_heads=2, intermediate_size=192,
               max_position_embeddings=128, hidden_act="gelu_new"), add_pooling_layer=False), wp, 128, ["cls"], dtype=torch.float16, dense=(72, "torch.nn.modules.activation.Tanh", False),
               layer_norm=True, prompts={"query": "Represent this: ", "document": ""}, default_prompt="query", old_keys=False, **BERT_SPECIAL)
    # every pooling at once; prompts that are not pooled
    repository("bert-pools", BertModel(BertConfig(vocab_size=v, hidden_size=12, num_hidden_layers=1, num_attention_heads=2, intermediate_size=20,
               max_position_embeddings=48), add_pooling_layer=False), wp, 48, ["cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken"],
               prompts={"query": "search query: ", "doc": "the "}, default_prompt="query", include_prompt=False,
               dense=(72, "torch.nn.modules.linear.Identity", True), **BERT_SPECIAL)
    # what repositories looked like in 2020; see age()
    repository("bert-old", BertModel(BertConfig(vocab_size=v, hidden_size=20, num_hidden_layers=2, num_attention_heads=2, intermediate_size=30,
               max_position_embeddings=64), add_pooling_layer=False), wp, 60, ["mean"], **BERT_SPECIAL)
    bpe = roberta_bpe()
    v = bpe.get_vocab_size()
    repository("roberta", RobertaModel(RobertaConfig(vocab_size=v, hidden_size=30, num_hidden_layers=2, num_attention_heads=5, intermediate_size=44,
               max_position_embeddings=66, type_vocab_size=1, layer_norm_eps=1e-5, pad_token_id=1), add_pooling_layer=False), bpe, 512, ["mean"], lower=True, **ROBERTA_SPECIAL)
    uni = unigram()
    repository("xlmr", XLMRobertaModel(XLMRobertaConfig(vocab_size=uni.get_vocab_size(), hidden_size=128, num_hidden_layers=1, num_attention_heads=2,
               intermediate_size=256, max_position_embeddings=130, type_vocab_size=1, layer_norm_eps=1e-5, pad_token_id=1), add_pooling_layer=False), uni, 128, ["cls"],
               dtype=torch.bfloat16, normalize=True, **ROBERTA_SPECIAL)
    mp = wordpiece(("<s>", "</s>", "<pad>", "[UNK]", "<mask>"))
    repository("mpnet", MPNetModel(MPNetConfig(vocab_size=mp.get_vocab_size(), hidden_size=24, num_hidden_layers=2, num_attention_heads=3, intermediate_size=40,
               max_position_embeddings=260, layer_norm_eps=1e-5), add_pooling_layer=False), mp, 512, ["mean"], max_seq_length=258, normalize=True,
               **{**ROBERTA_SPECIAL, "unk_token": "[UNK]"})
    repository("distilbert", DistilBertModel(DistilBertConfig(vocab_size=wp.get_vocab_size(), dim=36, n_layers=2, n_heads=3, hidden_dim=50, max_position_embeddings=64)),
               wp, 64, ["mean"], **BERT_SPECIAL)
    # nomic v1.5: transformers saves the original tensor names beside its own config keys
    nomic = NomicBertModel(NomicBertConfig(vocab_size=wp.get_vocab_size() // 8 * 8 + 8, hidden_size=128, num_hidden_layers=1, num_attention_heads=2,
                           intermediate_size=128, max_position_embeddings=96))
    repository("nomic", nomic, wp, 8192, ["mean"], max_seq_length=200, dtype=torch.bfloat16, **BERT_SPECIAL)
    variant("nomic", "nomic-native", state=nomic.state_dict())
    c = json.load(open("nomic/config.json"))
    variant("nomic", "nomic-original", config={
        "architectures": ["NomicBertModel"], "model_type": "nomic_bert", "n_embd": c["hidden_size"], "n_head": c["num_attention_heads"],
        "n_layer": c["num_hidden_layers"], "n_inner": c["intermediate_size"], "vocab_size": c["vocab_size"] - 3, "pad_vocab_size_multiple": 8,
        "n_positions": 8192, "max_trained_positions": 2048, "activation_function": "swiglu", "layer_norm_epsilon": 1e-12, "prenorm": False,
        "causal": False, "rotary_emb_fraction": 1.0, "rotary_emb_base": 1000, "rotary_emb_interleaved": False, "rotary_emb_scale_base": None,
        "rotary_scaling_factor": None, "qkv_proj_bias": False, "mlp_fc1_bias": False, "mlp_fc2_bias": False, "type_vocab_size": 2,
        "parallel_block": False, "use_rms_norm": False})
    modern = ModernBertModel(ModernBertConfig(vocab_size=bpe.get_vocab_size(), hidden_size=40, num_hidden_layers=5, num_attention_heads=5, intermediate_size=33,
                             max_position_embeddings=256, local_attention=8, pad_token_id=1, bos_token_id=0, eos_token_id=2, cls_token_id=0, sep_token_id=2,
                             attn_implementation="eager"))
    repository("modernbert", modern, bpe, 256, ["mean"], **ROBERTA_SPECIAL)
    gte = GteModel(GteConfig(vocab_size=uni.get_vocab_size(), hidden_size=128, num_hidden_layers=1, num_attention_heads=2, intermediate_size=128,
                             max_position_embeddings=128, pad_token_id=1))
    repository("gte", gte, uni, 128, ["cls"], dtype=torch.float16, **ROBERTA_SPECIAL)
    variant("gte", "gte-native", state=gte.state_dict())
    c = json.load(open("gte/config.json"))
    variant("gte", "gte-original", config={
        **{k: c[k] for k in ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "hidden_act",
                             "max_position_embeddings", "type_vocab_size", "layer_norm_eps")},
        "architectures": ["NewModel"], "model_type": "new", "rope_theta": 160000, "rope_scaling": None, "position_embedding_type": "rope",
        "logn_attention_scale": False})
    qwen = byte_bpe(["<|endoftext|>", "<|im_end|>"], split=r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
    qwen.post_processor = processors.TemplateProcessing(single="$A <|endoftext|>", pair="$A $B <|endoftext|>", special_tokens=[("<|endoftext|>", 0)])
    decoder = Qwen3Model(Qwen3Config(vocab_size=qwen.get_vocab_size(), hidden_size=96, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
                                     head_dim=64, intermediate_size=112, max_position_embeddings=256, rope_parameters={"rope_type": "default", "rope_theta": 1000000.0}))
    repository("qwen3", decoder, qwen, 256, ["lasttoken"], dtype=torch.bfloat16, normalize=True,
               prompts={"query": "Instruct: find it\nQuery:", "document": ""}, eos_token="<|endoftext|>", pad_token="<|endoftext|>")


def variant(src, dst, state=None, config=None):
    """The same repository with other tensor names or another config.json."""
    shutil.rmtree(dst, ignore_errors=True)
    shutil.copytree(src, dst)
    if state:
        save_file({k: v.contiguous() for k, v in state.items()}, f"{dst}/model.safetensors", metadata={"format": "pt"})
    if config:
        with open(f"{dst}/config.json", "w") as f:
            json.dump(config, f)


def age(path):
    """Rewrites a repository in the layout of 2020: a torch file of the pre-training class with gamma and beta, vocab.txt, no modules."""
    state = {k.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): v for k, v in load_file(f"{path}/model.safetensors").items()}
    state = {"bert." + k: v for k, v in state.items()}
    state["bert.embeddings.position_ids"] = torch.arange(64)[None]
    state["cls.predictions.bias"] = torch.zeros(8)
    torch.save(state, f"{path}/pytorch_model.bin", _use_new_zipfile_serialization=False)
    config = json.load(open(f"{path}/config.json"))
    keep = ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "max_position_embeddings", "vocab_size", "layer_norm_eps", "hidden_act")
    with open(f"{path}/config.json", "w") as f:
        json.dump({"architectures": ["BertForPreTraining"], **{k: config[k] for k in keep}}, f)
    vocab = json.load(open(f"{path}/tokenizer.json"))["model"]["vocab"]
    with open(f"{path}/vocab.txt", "w") as f:
        f.writelines(w + "\n" for w in sorted(vocab, key=vocab.get))
    with open(f"{path}/tokenizer_config.json", "w") as f:
        json.dump({"do_lower_case": True, "model_max_length": 60}, f)
    for name in ("model.safetensors", "tokenizer.json", "modules.json", "sentence_bert_config.json", "config_sentence_transformers.json"):
        os.remove(f"{path}/{name}")
    shutil.rmtree(f"{path}/1_Pooling")


# Variants share the reference of the form that transformers reads.
SAME_AS = {"nomic-native": "nomic", "nomic-original": "nomic", "gte-native": "gte", "gte-original": "gte"}


def expect(path):
    st = SentenceTransformer(path, device="cpu", model_kwargs={"torch_dtype": torch.float32, "attn_implementation": "eager"})
    config = st[0].auto_model.config
    if config.model_type in ("roberta", "xlm-roberta", "mpnet"):  # beyond it the library fails: positions begin at 2
        st.max_seq_length = min(st.max_seq_length, config.max_position_embeddings - 2)
    out = {"max": st.max_seq_length, "runs": []}
    prompts = [None] + [p for p in st.prompts if st.prompts[p]]
    for prompt in prompts:
        vectors, ids = [], []
        for t in TEXTS:
            kw = {"prompt_name": prompt} if prompt else {}
            vectors.append(st.encode(t, normalize_embeddings=False, convert_to_numpy=True, **kw).astype(np.float32))
            prefix = st.prompts[prompt] if prompt else st.prompts.get(st.default_prompt_name or "", "")
            f = st.preprocess([prefix + t]) if hasattr(st, "preprocess") else st.tokenize([prefix + t])
            ids.append(f["input_ids"][0].tolist())
        out["runs"].append({"prompt": prompt or "", "ids": ids, "vectors": [[float(f"{x:.7g}") for x in v] for v in vectors]})
    return out


if __name__ == "__main__":
    build()
    result = {"texts": TEXTS, "repositories": {}}
    for path in sorted(d for d in os.listdir(".") if os.path.isfile(f"{d}/config.json") and d not in SAME_AS):
        result["repositories"][path] = expect(path)
        print(path, result["repositories"][path]["max"], len(result["repositories"][path]["runs"]))
    for name, same in SAME_AS.items():
        result["repositories"][name] = result["repositories"][same]
    age("bert-old")
    with gzip.GzipFile("expected.json.gz", "wb", mtime=0) as f:
        f.write(json.dumps(result).encode())
