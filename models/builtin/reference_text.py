"""Writes what the reference library answers with the built-in chat model, for the parity line of `check`.

    pip install torch transformers
    python models/builtin/reference_text.py
"""

import json
import pathlib

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

QUESTIONS = [
    ["Hello!"], ["Who are you?"], ["Count from 3 to 9."], ["What is the capital of Norway?"], ["What is 17 plus 25?"], ["Spell garden."],
    ["Who is the blacksmith of Larkhaven?"], ["Name the days of the week."], ["What is quantum physics?"],
    ["My name is Olga.", "Nice to meet you, Olga!", "What is my name?"], ["Ünïcödé, 漢字 🙂 3.14159"],
]

here = pathlib.Path(__file__).parent
tokenizer = AutoTokenizer.from_pretrained(str(here / "text"))
model = AutoModelForCausalLM.from_pretrained(str(here / "text"), dtype=torch.float32, attn_implementation="eager").eval()
rows = []
for q in QUESTIONS:
    messages = [{"role": ("user", "assistant")[i % 2], "content": c} for i, c in enumerate(q)]
    ids = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)
    out = model.generate(torch.tensor([ids]), do_sample=False, max_new_tokens=40, temperature=None, top_p=None)[0].tolist()
    rows.append({"prompt": ids, "answer": out[len(ids):]})
    print(q[-1], "->", tokenizer.decode(out[len(ids):]))
(here / "reference" / "text.json").write_text(json.dumps(rows, separators=(",", ":")) + "\n")
