"""Makes the fixtures of this package: small tokenizers in the layouts of real models, trained by the reference library, and that library's answers for the texts of corpus.py.

    python make.py        (tokenizers 0.23.3, transformers 5.23, sentencepiece 0.2.3, protobuf)

The texts, the pipelines and the SentencePiece models come out the same each time; the library's own trainers break ties as they like, so a new run may learn other tokens and bring the answers for those.

Writes next to itself:
    texts.json.gz       the texts
    charsmap.gz         SentencePiece's nmt_nfkc map; "@nmt_nfkc" stands for it in tokenizers
    NAME.json.gz        a tokenizer and what it gives (see answers)
    repos.json.gz       the files of slow tokenizers, and which NAME they must equal
    unicode.json.gz     digests of pipelines over all code points
"""
import base64, gzip, importlib, io, json, os, sys, tempfile, zlib
import sentencepiece as spm
from sentencepiece import sentencepiece_model_pb2 as pb
from tokenizers import AddedToken, Regex, Tokenizer, decoders as D, models as M, normalizers as N, pre_tokenizers as P, processors as R, trainers as T
from tokenizers.decoders import DecodeStream
import corpus

C = importlib.import_module("transformers.convert_slow_tokenizer")

HERE = os.path.dirname(os.path.abspath(__file__))
TEXTS, TRAINING = corpus.texts(), corpus.training()
QWEN2 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
LLAMA3 = QWEN2.replace(r"|\p{N}|", r"|\p{N}{1,3}|")
QWEN35 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
O200K = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
DEEPSEEK = [r"\p{N}{1,3}", "[一-龥぀-ゟ゠-ヿ]+", r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"]
CLIP = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
BLOOM = " ?[^(\\s|[.,!?…。，、।۔،])]+"


def tok(content, **k):
    return AddedToken(content, **{"special": True, "normalized": False, **k})


def template(cls, sep, t, double=False, kind=0):
    ids = [(x, t.token_to_id(x)) for x in dict.fromkeys((cls, sep))]
    return R.TemplateProcessing(single=f"{cls} $A {sep}", pair=f"{cls} $A {sep} {sep + ' ' if double else ''}$B:{kind} {sep}:{kind}", special_tokens=ids)


def trained(model, trainer, normalizer=None, pre=None, decoder=None):
    t = Tokenizer(model)
    if normalizer is not None:
        t.normalizer = normalizer
    if pre is not None:
        t.pre_tokenizer = pre
    t.train_from_iterator(TRAINING, trainer)
    if decoder is not None:
        t.decoder = decoder
    return t


def bert(lower, special=("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"), unk="[UNK]"):
    t = trained(M.WordPiece(unk_token=unk), T.WordPieceTrainer(vocab_size=1500, special_tokens=list(special), show_progress=False), N.BertNormalizer(lowercase=lower), P.BertPreTokenizer(), D.WordPiece())
    return t


def byte_level(pre, special=(), normalizer=None, size=1200, decoder=None, **model):
    return trained(M.BPE(**model), T.BpeTrainer(vocab_size=size, special_tokens=list(special), initial_alphabet=P.ByteLevel.alphabet(), show_progress=False), normalizer, pre, decoder or D.ByteLevel())


def split(pattern, behavior="isolated", invert=False):
    return P.Split(Regex(pattern), behavior, invert)


def last_byte_level(*before):
    return P.Sequence([*before, P.ByteLevel(add_prefix_space=False, use_regex=False)])


def train_sp(kind, norm="nmt_nfkc", size=1500, **k):
    out = io.BytesIO()
    spm.SentencePieceTrainer.train(sentence_iterator=iter(TRAINING), model_writer=out, model_type=kind, vocab_size=size, normalization_rule_name=norm, num_threads=1, minloglevel=2, hard_vocab_limit=False, **k)
    return out.getvalue()


class Slow:
    """What the converters want to know of a slow tokenizer."""

    def __init__(self, model, **k):
        f = tempfile.NamedTemporaryFile(suffix=".model", delete=False)
        f.write(model)
        f.close()
        self.vocab_file = f.name
        self.pieces = [p.piece for p in pb.ModelProto.FromString(model).pieces]
        self.__dict__.update(k)

    def convert_tokens_to_ids(self, t):
        return self.fixed[t] if t in getattr(self, "fixed", {}) else self.pieces.index(t)

    def convert_ids_to_tokens(self, i):
        return self.pieces[i]


def converted(cls, model, special, **k):
    t = cls(Slow(model, **k)).converted()
    t.add_special_tokens([tok(s) if isinstance(s, str) else s for s in special])
    return t


class Extractor:
    """The merges of a BPE model; transformers 5.23 lost the connection between its converter and its extractor, the rule is the same."""

    def __init__(self, path):
        with open(path, "rb") as f:
            self.pieces = [p.piece for p in pb.ModelProto.FromString(f.read()).pieces]

    def extract(self, scores):
        vocab = {p: i for i, p in enumerate(self.pieces)}
        return vocab, C.generate_merges(vocab, scores)


class GemmaExtractor(Extractor):
    def extract(self, scores):
        vocab = {p: i for i, p in enumerate(self.pieces)}
        vocab.setdefault("\t", vocab.get("<0x09>"))
        return vocab, C.generate_merges(vocab, scores)


C.LlamaConverter.SpmExtractor, C.GemmaConverter.SpmExtractor = Extractor, GemmaExtractor


def without_charsmap(model):
    m = pb.ModelProto.FromString(model)
    m.normalizer_spec.precompiled_charsmap = b""
    return m.SerializeToString()


SP_UNIGRAM = train_sp("unigram")
SP_DEBERTA = train_sp("unigram", pad_id=0, bos_id=1, eos_id=2, unk_id=3, pad_piece="[PAD]", bos_piece="[CLS]", eos_piece="[SEP]", unk_piece="[UNK]")
SP_T5 = train_sp("unigram", pad_id=0, eos_id=1, unk_id=2, bos_id=-1)
SP_LLAMA = train_sp("bpe", norm="identity", byte_fallback=True, remove_extra_whitespaces=False)
SP_GEMMA = train_sp("bpe", norm="identity", byte_fallback=True, remove_extra_whitespaces=False, pad_id=0, eos_id=1, bos_id=2, unk_id=3, pad_piece="<pad>", eos_piece="<eos>", bos_piece="<bos>", user_defined_symbols=["<start_of_turn>", "<think>"])
CHARSMAP = pb.ModelProto.FromString(SP_UNIGRAM).normalizer_spec.precompiled_charsmap
assert len(CHARSMAP) > 200_000

TOKENIZERS, REPOS = {}, {}


def layouts():
    t = bert(True)
    t.post_processor = template("[CLS]", "[SEP]", t, kind=1)
    t.enable_truncation(128)
    t.enable_padding(length=128)
    yield "bert-uncased", t
    t = bert(False)
    t.post_processor = R.BertProcessing(("[SEP]", t.token_to_id("[SEP]")), ("[CLS]", t.token_to_id("[CLS]")))
    yield "bert-cased", t
    t = Tokenizer.from_str(t.to_str())
    t.normalizer = N.Sequence([N.Lowercase(), t.normalizer])
    yield "bert-cased-lowercase", t

    t = bert(True, ("<s>", "<pad>", "</s>", "[UNK]"))
    t.add_special_tokens([tok("<mask>", lstrip=True)])
    t.post_processor = template("<s>", "</s>", t, double=True, kind=1)
    yield "mpnet", t

    t = byte_level(P.ByteLevel(add_prefix_space=False), ("<s>", "<pad>", "</s>", "<unk>"))
    t.add_special_tokens([tok("<mask>", lstrip=True)])
    t.post_processor = R.RobertaProcessing(("</s>", 2), ("<s>", 0), trim_offsets=True, add_prefix_space=False)
    yield "roberta", t
    t = byte_level(P.ByteLevel(add_prefix_space=True), ("<s>", "<pad>", "</s>", "<unk>"))
    t.add_special_tokens([tok("<mask>", lstrip=True)])
    t.post_processor = R.RobertaProcessing(("</s>", 2), ("<s>", 0), trim_offsets=True, add_prefix_space=True)
    yield "roberta-prefix", t

    xlmr = dict(fixed={"<s>": 0, "</s>": 2})
    t = converted(C.XLMRobertaConverter, SP_UNIGRAM, ["<s>", "<pad>", "</s>", "<unk>", tok("<mask>", lstrip=True)], **xlmr)
    yield "xlm-roberta-converted", t
    t = converted(C.XLMRobertaConverter, SP_UNIGRAM, ["<s>", "<pad>", "</s>", "<unk>", tok("<mask>", lstrip=True)], **xlmr)
    t.normalizer = N.Precompiled(CHARSMAP)
    t.pre_tokenizer = P.Sequence([P.WhitespaceSplit(), P.Metaspace()])
    yield "xlm-roberta", t
    t = converted(C.XLMRobertaConverter, SP_UNIGRAM, ["<s>", "<pad>", "</s>", "<unk>", tok("<mask>", lstrip=True)], **xlmr)
    t.normalizer = N.Sequence([N.Precompiled(CHARSMAP), N.Replace(Regex(" {2,}"), " ")])
    yield "bge-m3", t

    t = converted(C.DebertaV2Converter, SP_DEBERTA, ["[CLS]", "[SEP]", tok("[UNK]", normalized=True), "[PAD]", "[MASK]"], do_lower_case=False, split_by_punct=False)
    t.add_tokens([AddedToken(x, normalized=True) for x in ("[FLERT]", "<<ENT>>", "<<SEP>>")])
    yield "deberta-v3", t
    t = converted(C.T5Converter, SP_T5, ["</s>", "<unk>", "<pad>", *(f"<extra_id_{i}>" for i in range(99, -1, -1))], _extra_ids=100)
    yield "t5", t
    t = converted(C.LlamaConverter, SP_LLAMA, ["<unk>", "<s>", "</s>"], legacy=True, add_prefix_space=True)
    t.post_processor = R.TemplateProcessing(single="<s>:0 $A:0", pair="<s>:0 $A:0 <s>:1 $B:1", special_tokens=[("<s>", 1)])
    yield "llama2", t
    t = converted(C.LlamaConverter, SP_LLAMA, ["<unk>", "<s>"], legacy=True, add_prefix_space=True)
    t.add_tokens([AddedToken("</s>", rstrip=True, normalized=False), tok("<|endoftext|>"), tok("<|end|>", rstrip=True), tok("<|user|>", rstrip=True)])
    yield "phi3", t
    t = converted(C.LlamaConverter, SP_LLAMA, ["<unk>", "<s>", "</s>", "[INST]"], legacy=False, add_prefix_space=True)
    yield "mistral", t
    t = converted(C.LlamaConverter, SP_LLAMA, ["<unk>", "<s>", "</s>", "<start_of_turn>"], legacy=True, add_prefix_space=True)
    t.normalizer, t.pre_tokenizer = N.Replace(" ", "▁"), P.Split(" ", "merged_with_previous")
    t.decoder = D.Sequence([D.Replace("▁", " "), D.ByteFallback(), D.Fuse()])
    yield "gemma", t
    t = converted(C.GemmaConverter, SP_GEMMA, ["<bos>", "<eos>", "<unk>", "<pad>"], pad_token="<pad>", eos_token="<eos>", bos_token="<bos>")
    t.post_processor = R.TemplateProcessing(single="<bos>:0 $A:0", pair="<bos>:0 $A:0 <bos>:1 $B:1", special_tokens=[("<bos>", 2)])
    yield "gemma-converted", t

    modern = [AddedToken("    ", normalized=True), AddedToken("  ", normalized=True), tok("<|endoftext|>"), tok("[UNK]"), tok("[CLS]"), tok("[SEP]"), tok("[PAD]"), tok("[MASK]", lstrip=True)]
    t = byte_level(P.ByteLevel(add_prefix_space=False), normalizer=N.NFC())
    t.add_tokens(modern)
    t.post_processor = template("[CLS]", "[SEP]", t)
    yield "modernbert", t
    t = byte_level(last_byte_level(split(QWEN2)), normalizer=N.NFC())
    t.add_tokens([tok("<|endoftext|>"), tok("<|im_start|>"), tok("<|im_end|>"), AddedToken("<think>", normalized=False), AddedToken("</think>", normalized=False)])
    t.post_processor = R.TemplateProcessing(single="$A <|endoftext|>", pair="$A $B:1 <|endoftext|>:1", special_tokens=[("<|endoftext|>", t.token_to_id("<|endoftext|>"))])
    yield "qwen3-embedding", t
    t = byte_level(last_byte_level(split(QWEN2)), normalizer=N.NFC())
    t.post_processor = R.ByteLevel(trim_offsets=False)
    t.add_special_tokens([tok("<|endoftext|>")])
    yield "qwen2", t
    t = byte_level(P.ByteLevel(add_prefix_space=False), ("<|endoftext|>",))
    t.post_processor = R.ByteLevel(trim_offsets=False)
    yield "gpt2", t
    t = byte_level(last_byte_level(split(QWEN35)), normalizer=N.NFC())
    t.post_processor = R.ByteLevel(trim_offsets=False)
    yield "qwen3.5", t
    t = byte_level(last_byte_level(split(LLAMA3)), ignore_merges=True)
    t.add_tokens([tok("<|begin_of_text|>"), tok("<|eot_id|>")])
    bos = R.TemplateProcessing(single="<|begin_of_text|> $A", pair="<|begin_of_text|> $A <|begin_of_text|>:1 $B:1", special_tokens=[("<|begin_of_text|>", t.token_to_id("<|begin_of_text|>"))])
    t.post_processor = R.Sequence([R.ByteLevel(trim_offsets=False), bos])
    yield "llama3", t
    t = byte_level(last_byte_level(split(O200K)))
    t.post_processor = R.ByteLevel(trim_offsets=True)
    yield "gpt4o", t
    t = byte_level(last_byte_level(*map(split, DEEPSEEK)), normalizer=N.Sequence([]))
    t.add_tokens([tok("<｜User｜>"), AddedToken("<think>", normalized=False)])
    yield "deepseek-v3", t
    t = byte_level(P.Sequence([P.Digits(True), P.ByteLevel(add_prefix_space=False)]), ("<|endoftext|>",), unk_token="<|endoftext|>")
    yield "smollm2", t
    t = byte_level(P.ByteLevel(add_prefix_space=False))
    t.add_tokens([AddedToken("<image>", lstrip=True, rstrip=True), AddedToken("[INST]", single_word=True), AddedToken("the", single_word=True, normalized=True), tok("<|im_start|>", rstrip=True), tok("<|im_end|>", lstrip=True)])
    yield "added-flags", t
    t = byte_level(P.Sequence([split(BLOOM), P.ByteLevel(add_prefix_space=False, use_regex=False)]), ("<unk>", "<s>", "</s>", "<pad>"))
    t.post_processor = R.ByteLevel(trim_offsets=False)
    yield "bloom", t
    clip = lambda: N.Sequence([N.NFC(), N.Replace(Regex(r"\s+"), " "), N.Lowercase()])
    t = trained(M.BPE(end_of_word_suffix="</w>", unk_token="<|endoftext|>"), T.BpeTrainer(vocab_size=1600, end_of_word_suffix="</w>", special_tokens=["<|startoftext|>", "<|endoftext|>"], initial_alphabet=P.ByteLevel.alphabet(), show_progress=False), clip(), P.Sequence([split(CLIP, "removed", True), P.ByteLevel(add_prefix_space=False)]), D.ByteLevel())
    t.post_processor = R.RobertaProcessing(("<|endoftext|>", 1), ("<|startoftext|>", 0), trim_offsets=False, add_prefix_space=False)
    yield "clip", t

    # kinds that few repositories use
    t = trained(M.BPE(continuing_subword_prefix="##", end_of_word_suffix="</w>", unk_token="[UNK]", fuse_unk=True), T.BpeTrainer(vocab_size=900, continuing_subword_prefix="##", end_of_word_suffix="</w>", special_tokens=["[UNK]"], limit_alphabet=120, show_progress=False), N.Sequence([N.NFKC(), N.Nmt()]), P.Sequence([P.UnicodeScripts(), P.Whitespace()]), D.BPEDecoder())
    yield "bpe-affixes", t
    t = trained(M.WordLevel(unk_token="[UNK]"), T.WordLevelTrainer(vocab_size=700, special_tokens=["[UNK]", "<pad>", "|"], show_progress=False), N.Sequence([N.NFKD(), N.StripAccents(), N.Strip(), N.Lowercase()]), P.Sequence([P.CharDelimiterSplit("e"), P.Whitespace()]), D.CTC())
    yield "word-level", t
    t = trained(M.Unigram(), T.UnigramTrainer(vocab_size=600, special_tokens=["<unk>"] + [f"<0x{b:02X}>" for b in range(256)], unk_token="<unk>", show_progress=False), N.NFD(), P.Sequence([P.Punctuation("merged_with_previous"), P.Digits(False), P.Metaspace(prepend_scheme="first")]), D.Sequence([D.ByteFallback(), D.Metaspace(prepend_scheme="first")]))
    j = json.loads(t.to_str())
    j["model"]["byte_fallback"] = True
    yield "unigram-bytes", Tokenizer.from_str(json.dumps(j))
    t = trained(M.BPE(unk_token="<unk>"), T.BpeTrainer(vocab_size=700, special_tokens=["<unk>"], limit_alphabet=100, show_progress=False), N.Sequence([N.Prepend("_"), N.Replace("the", "ðə")]), P.Sequence([P.FixedLength(7), P.Split(" ", "contiguous"), P.Split("a", "merged_with_next")]))
    yield "odd-splits", t
    t = trained(M.BPE(), T.BpeTrainer(vocab_size=900, initial_alphabet=P.ByteLevel.alphabet(), show_progress=False), N.Sequence([N.NFC(), N.ByteLevel()]), None, D.ByteLevel())
    t.add_tokens([AddedToken("Yesterday ok", normalized=True), AddedToken("ünïcode", normalized=True, special=True)])
    yield "byte-normalizer", t


def crc(*parts):
    return zlib.crc32("\n".join(parts).encode("utf-8", "surrogatepass"))


def nums(a):
    return " ".join(map(str, a))


def byte_offsets(s, offsets):
    at = [0]
    for ch in s:
        at.append(at[-1] + len(ch.encode()))
    return [at[x] for o in offsets for x in o]


def stream(t, ids):
    d = DecodeStream(skip_special_tokens=True)
    return [d.step(t, i) or "" for i in ids]


def answers(t):
    """ids: with special tokens, a text each. encoding, decoding: crc32 a text of the rest (fixtures_test.go says of what).
    pairs: [i, j, ids, crc32]. truncations: [i, j or -1, max, stride, left, strategy, ids, overflow ids]. streams: [i, crc32]."""
    t.no_truncation()
    t.no_padding()
    out = {"ids": [], "encoding": [], "decoding": [], "pairs": [], "truncations": [], "streams": []}
    for s in TEXTS:
        e, p = t.encode(s), t.encode(s, add_special_tokens=False)
        out["ids"].append(e.ids)
        out["encoding"].append(crc(nums(p.ids), nums(e.type_ids), nums(e.special_tokens_mask), nums(byte_offsets(s, e.offsets)), "\0".join(e.tokens)))
        out["decoding"].append(crc(t.decode(e.ids), t.decode(e.ids, skip_special_tokens=False)))
    n = len(TEXTS)
    for i in range(0, n, 11):
        j = (i * 7 + 3) % n
        e = t.encode(TEXTS[i], TEXTS[j])
        out["pairs"].append([i, j, e.ids, crc(nums(e.type_ids), nums(e.special_tokens_mask), "\0".join(e.tokens))])
    for i in range(0, n, 5):
        if len(out["ids"][i]) < 200:
            out["streams"].append([i, crc("\0".join(stream(t, out["ids"][i])))])
    single, pair = t.num_special_tokens_to_add(False), t.num_special_tokens_to_add(True)
    k = 0
    for i in range(0, n, 23):
        for j in (-1, (i * 5 + 1) % n):
            if len(out["ids"][i]) > 300 or j >= 0 and len(out["ids"][j]) > 60:
                continue
            k += 1
            room = 1 + k % 9
            stride = (0, 0, 1, 2)[k % 4] if room > 5 else 0
            longest = ("longest_first", "only_first", "only_second")[k % 3 if j >= 0 else 0]
            direction = "left" if k % 5 == 0 else "right"
            most = room + (pair if j >= 0 else single)
            t.no_truncation()
            a = t.encode(TEXTS[i], add_special_tokens=False)
            b = t.encode(TEXTS[j], add_special_tokens=False) if j >= 0 else None
            t.enable_truncation(most, stride=stride, strategy=longest, direction=direction)
            try:
                e = t.post_process(a, b, True)
            except BaseException:  # too short for the strategy, or for the stride
                out["truncations"].append([i, j, most, stride, direction == "left", longest, None, None])
                continue
            out["truncations"].append([i, j, most, stride, direction == "left", longest, e.ids, [o.ids for o in e.overflowing]])
    t.no_truncation()
    return out


def gz(name, data):
    raw = data if isinstance(data, bytes) else json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")
    with open(os.path.join(HERE, name), "wb") as f, gzip.GzipFile(fileobj=f, mode="wb", compresslevel=9, mtime=0, filename="") as z:
        z.write(raw)
    size = os.path.getsize(os.path.join(HERE, name))
    print(f"{name:28} {size:8}", flush=True)
    return size


def b64(x):
    return base64.b64encode(x if isinstance(x, bytes) else x.encode()).decode()


def vocab_txt(t):
    return "".join(k + "\n" for k, _ in sorted(json.loads(t.to_str())["model"]["vocab"].items(), key=lambda x: x[1]))


def slow_repos(made):
    """The same tokenizers in the files of slow ones."""
    model = lambda n: json.loads(made[n].to_str())["model"]
    merges = lambda n: "#version: 0.2\n" + "".join(" ".join(m) + "\n" for m in model(n)["merges"])
    vocab = lambda n: json.dumps(model(n)["vocab"], ensure_ascii=False)
    config = lambda **k: json.dumps(k)
    yield "bert-uncased", {"vocab.txt": vocab_txt(made["bert-uncased"])}
    yield "bert-cased", {"vocab.txt": vocab_txt(made["bert-cased"]).replace("\n", "\r\n"), "tokenizer_config.json": config(do_lower_case=False, tokenizer_class="BertTokenizer")}
    yield "mpnet", {"vocab.txt": vocab_txt(made["mpnet"]), "tokenizer_config.json": config(do_lower_case=True, tokenizer_class="MPNetTokenizer", mask_token="<mask>")}
    yield "roberta", {"vocab.json": vocab("roberta"), "merges.txt": merges("roberta"), "config.json": config(model_type="roberta")}
    yield "roberta-prefix", {"vocab.json": vocab("roberta-prefix"), "merges.txt": merges("roberta-prefix"), "tokenizer_config.json": config(tokenizer_class="RobertaTokenizerFast", add_prefix_space=True)}
    yield "clip", {"vocab.json": vocab("clip"), "merges.txt": merges("clip"), "tokenizer_config.json": config(tokenizer_class="CLIPTokenizer")}
    yield "xlm-roberta-converted", {"sentencepiece.bpe.model": without_charsmap(SP_UNIGRAM)}
    n = len(model("deberta-v3")["vocab"])
    yield "deberta-v3", {"spm.model": without_charsmap(SP_DEBERTA), "added_tokens.json": config(**{"[FLERT]": n + 1, "<<ENT>>": n + 2, "<<SEP>>": n + 3}), "config.json": config(model_type="deberta-v2")}
    yield "t5", {"spiece.model": without_charsmap(SP_T5)}
    yield "llama2", {"tokenizer.model": SP_LLAMA}
    yield "mistral", {"tokenizer.model": SP_LLAMA, "tokenizer_config.json": config(tokenizer_class="LlamaTokenizer", legacy=False, add_bos_token=False, additional_special_tokens=["[INST]"])}
    yield "gemma-converted", {"tokenizer.model": SP_GEMMA, "config.json": config(model_type="gemma")}
    yield "qwen2", {"vocab.json": vocab("qwen2"), "merges.txt": merges("qwen2"), "tokenizer_config.json": config(tokenizer_class="Qwen2Tokenizer")}
    yield "gpt2", {"vocab.json": vocab("gpt2"), "merges.txt": merges("gpt2")}


def unicode_digests():
    """A crc32 for every 4096 code points of each pipeline's pieces for corpus.boundaries."""
    one = {"normalizer": None, "pre_tokenizer": None}
    bert_n = {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True, "strip_accents": None, "lowercase": True}
    byte = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    rx = lambda p, b="Isolated": {"type": "Split", "pattern": {"Regex": p}, "behavior": b, "invert": False}
    kinds = [
        {"normalizer": bert_n, "pre_tokenizer": {"type": "BertPreTokenizer"}},
        {"normalizer": {**bert_n, "lowercase": False}, "pre_tokenizer": {"type": "BertPreTokenizer"}},
        *({"normalizer": {"type": f}} for f in ("NFC", "NFD", "NFKC", "NFKD", "Lowercase", "StripAccents", "Nmt")),
        {"normalizer": {"type": "Precompiled", "precompiled_charsmap": "@nmt_nfkc"}, "pre_tokenizer": {"type": "WhitespaceSplit"}},
        *({"pre_tokenizer": p} for p in (byte, rx(QWEN2), rx(QWEN35), rx(LLAMA3), rx(O200K), *map(rx, DEEPSEEK), rx(CLIP, "Removed"), rx(BLOOM), rx(r"\w+"), rx(r"\d"), {"type": "Whitespace"}, {"type": "Digits", "individual_digits": False}, {"type": "Punctuation", "behavior": "Isolated"}, {"type": "UnicodeScripts"})),
    ]
    for k in kinds:
        k = {**one, **k}
        full = {**(k["normalizer"] or {})}
        if full.get("precompiled_charsmap"):
            full["precompiled_charsmap"] = b64(CHARSMAP)
        t = Tokenizer.from_str(json.dumps({"version": "1.0", "added_tokens": [], "normalizer": full or None, "pre_tokenizer": k["pre_tokenizer"], "model": {"type": "WordLevel", "vocab": {"?": 0}, "unk_token": "?"}}))
        crcs = []
        for lo in range(0, 0x110000, 4096):
            s = "".join(corpus.boundaries(c) for c in range(lo, lo + 4096) if corpus.valid(c))
            if t.normalizer is not None:
                s = t.normalizer.normalize_str(s)
            parts = [p for p, _ in t.pre_tokenizer.pre_tokenize_str(s)] if t.pre_tokenizer is not None else [s]
            crcs.append(crc("\0".join(parts)))
        yield {**k, "crc": crcs}


def main():
    total = gz("texts.json.gz", TEXTS) + gz("charsmap.gz", CHARSMAP)
    made, seen = {}, b64(CHARSMAP)
    for name, t in layouts():
        made[name] = t = Tokenizer.from_str(t.to_str())  # the file is what counts
        j = json.loads(t.to_str().replace(seen, "@nmt_nfkc"))
        total += gz(name + ".json.gz", {"tokenizer": j, **answers(t)})
    repos = [{"equals": n, "files": {f: b64(c) for f, c in files.items()}} for n, files in slow_repos(made)]
    total += gz("repos.json.gz", repos)
    total += gz("unicode.json.gz", list(unicode_digests()))
    print("total", total)


main()
