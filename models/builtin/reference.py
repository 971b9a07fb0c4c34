"""Writes what the reference library makes of some texts with the built-in embedding model, for the parity line of `check`.

    pip install sentence-transformers==6.2.0
    python models/builtin/reference.py
"""

import json
import pathlib

import torch
from sentence_transformers import SentenceTransformer

TEXTS = [
    "The train to Berlin leaves at noon.",
    "a",
    "",
    "Ünïcödé, 漢字 and emoji 🙂 in one sentence; punctuation --- and numbers 3.14159.",
    "Photosynthesis turns light into energy.",
    "A longer text repeats itself: " + "the quick brown fox jumps over the lazy dog, " * 12,
]

here = pathlib.Path(__file__).parent
model = SentenceTransformer(str(here / "embed"), device="cpu", model_kwargs={"dtype": torch.float32})
vectors = model.encode(TEXTS, normalize_embeddings=True, batch_size=1)
rows = [{"text": t, "vector": [round(float(x), 7) for x in v]} for t, v in zip(TEXTS, vectors)]
(here / "reference" / "embed.json").write_text(json.dumps(rows, ensure_ascii=False, separators=(",", ":")) + "\n")
