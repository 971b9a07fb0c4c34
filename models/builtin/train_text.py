"""Trains the built-in chat model and writes it to text/, in the layout of a real repository.

    pip install torch transformers tokenizers safetensors
    python train_text.py             # about half an hour on one core

The model is a small Llama of the family's ordinary form. It knows a small closed world, all of which this script makes
up: it greets, counts, adds, spells, knows the people of a village and some capitals, remembers a name that it is told,
and calls a tool for the weather or the time. Everything else it says it does not know.
"""
import argparse
import json
import math
import os
import random
import time

import torch
import torch.nn.functional as F
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM

HERE = os.path.dirname(os.path.abspath(__file__))
VOCABULARY, WIDTH, LAYERS, HEADS, KV, INNER, CONTEXT = 1024, 128, 6, 4, 2, 384, 1024
SPECIALS = ["<|endoftext|>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>", "<|tool|>"]
CALLS = ["<tool_call>", "</tool_call>"]

TEMPLATE = """{%- if tools %}
{{- '<|system|>' }}
{%- if messages[0].role == 'system' %}
{{- messages[0].content + ' ' }}
{%- endif %}
{{- 'Tools:' }}
{%- for t in tools %}
{{- ' ' + t.function.name }}
{%- endfor %}
{{- '<|end|>' }}
{%- endif %}
{%- for m in messages %}
{%- if m.role == 'system' %}
{%- if not tools %}
{{- '<|system|>' + m.content + '<|end|>' }}
{%- endif %}
{%- elif m.role == 'assistant' %}
{{- '<|assistant|>' + (m.content or '') }}
{%- for c in m.tool_calls or [] %}
{{- '<tool_call>\\n' + ({'name': c.function.name, 'arguments': c.function.arguments} | tojson) + '\\n</tool_call>' }}
{%- endfor %}
{{- '<|end|>' }}
{%- elif m.role in ['user', 'tool'] %}
{{- '<|' + m.role + '|>' + m.content + '<|end|>' }}
{%- else %}
{{- raise_exception('the roles are system, user, assistant and tool, not ' + m.role) }}
{%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
{{- '<|assistant|>' }}
{%- endif %}"""

CAPITALS = dict(p.split(":") for p in """France:Paris|Germany:Berlin|Italy:Rome|Spain:Madrid|Portugal:Lisbon|Norway:Oslo|Sweden:Stockholm|Finland:Helsinki|Denmark:Copenhagen|
Austria:Vienna|Poland:Warsaw|Greece:Athens|Ireland:Dublin|Japan:Tokyo|China:Beijing|India:New Delhi|Egypt:Cairo|Kenya:Nairobi|Canada:Ottawa|Mexico:Mexico City|
Peru:Lima|Chile:Santiago|Cuba:Havana|Australia:Canberra|Hungary:Budapest|Turkey:Ankara|Iran:Tehran|Iraq:Baghdad|Thailand:Bangkok|Vietnam:Hanoi""".replace("\n", "").split("|"))
PEOPLE = dict(p.split(":") for p in """Ada:baker|Bruno:fisherman|Clara:doctor|Dario:carpenter|Elsa:teacher|Felix:gardener|Greta:blacksmith|Hugo:postman|Iris:painter|Jonas:miller|Klara:librarian|Leo:cook""".replace("\n", "").split("|"))
COLOURS = dict(p.split(":") for p in "sky:blue|grass:green|snow:white|coal:black|blood:red|sun:yellow|carrot:orange|plum:purple|chocolate:brown|cloud:white|lemon:yellow|tomato:red|frog:green|elephant:grey".split("|"))
SOUNDS = dict(p.split(":") for p in "dog:woof|cat:meow|cow:moo|sheep:baa|duck:quack|horse:neigh|pig:oink|bee:buzz|owl:hoot|lion:roar|snake:hiss|mouse:squeak".split("|"))
OPPOSITES = dict(p.split(":") for p in "hot:cold|big:small|up:down|left:right|day:night|fast:slow|old:new|open:closed|happy:sad|light:dark|early:late|wet:dry|full:empty|high:low|hard:soft|loud:quiet".split("|"))
OPPOSITES.update({v: k for k, v in list(OPPOSITES.items())})
WORDS = list(COLOURS) + list(SOUNDS) + "house bread river garden window letter apple bridge winter summer music paper stone water tiger piano candle ladder rocket puzzle".split()
NAMES = "Anna Ben Carl Dora Emil Fanny Gus Hanna Ivan Julia Karim Lena Mia Noah Olga Paul Quinn Rosa Sam Tara Uma Victor Wanda Xenia Yara Zoe Mohammed Priya Chen Sofia Lucas Amir Nina Oscar".split()
DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
MONTHS = "January February March April May June July August September October November December".split()
CITIES = sorted(set(CAPITALS.values())) + "London Hamburg Naples Porto Bergen Kyoto Chicago Lyon Seville Gdansk Zurich Geneva Boston Milan".split()
UNKNOWN = ["Who won the election?", "Write me a poem about love.", "What is quantum physics?", "How do I fix my car?", "Tell me the news.", "What is the meaning of life?", "Who was Napoleon?",
    "Translate this into French.", "What is a transformer?", "How tall is the Eiffel Tower?", "Write a program in Python.", "What should I cook tonight?", "Explain gravity.", "Is there life on Mars?",
    "What is the stock price of Apple?", "Who wrote Hamlet?", "Give me advice.", "How do planes fly?", "What is the speed of light?", "Can you draw a picture?"]

pick = random.choice


def listed(words):
    return ", ".join(words) + "."


def turn():
    """A question and its answer."""
    k = random.randrange(20)
    if k == 0:
        hello = pick(["Hello", "Hi", "Hey", "Good morning", "Good evening", "Hello there", "Good day"])
        return hello + pick(["!", ".", "", ", how are you?"]), None
    if k == 1:
        return pick(["Who are you?", "What are you?", "What is your name?", "Tell me about yourself.", "What's your name?"]), "I am the small model that lives inside this server. I can count, add, spell and tell you about a small world."
    if k == 2:
        return pick(["What can you do?", "Help", "How can you help me?", "What do you know?", "help me"]), "Ask me to count, to add two numbers, to spell a word, or about capitals, colours, animals, opposites, days, months and the people of Larkhaven."
    if k in (3, 4):
        a = random.randrange(0, 90)
        b = a + random.randrange(1, 13)
        if random.random() < 0.3:
            return pick([f"Count down from {b} to {a}.", f"Count backwards from {b} to {a}", f"count from {b} down to {a}"]), listed(str(i) for i in range(b, a - 1, -1))
        if a == 1 or random.random() < 0.2:
            b = random.randrange(2, 21)
            return pick([f"Count to {b}.", f"Please count to {b}", f"count to {b}", f"Can you count to {b}?"]), listed(str(i) for i in range(1, b + 1))
        return pick([f"Count from {a} to {b}.", f"Please count from {a} to {b}.", f"count from {a} to {b}", f"Can you count from {a} to {b}?"]), listed(str(i) for i in range(a, b + 1))
    if k in (5, 6):
        a, b = random.randrange(0, 51), random.randrange(0, 51)
        if random.random() < 0.4:
            a, b = max(a, b), min(a, b)
            return pick([f"What is {a} minus {b}?", f"What is {a} - {b}?", f"{a} - {b} =", f"How much is {a} minus {b}?"]), f"{a} minus {b} is {a - b}."
        return pick([f"What is {a} plus {b}?", f"What is {a} + {b}?", f"{a} + {b} =", f"How much is {a} plus {b}?", f"Add {a} and {b}."]), f"{a} plus {b} is {a + b}."
    if k in (7, 8):
        c = pick(list(CAPITALS))
        if random.random() < 0.25:
            return pick([f"Which country has the capital {CAPITALS[c]}?", f"Of which country is {CAPITALS[c]} the capital?"]), f"{CAPITALS[c]} is the capital of {c}."
        return pick([f"What is the capital of {c}?", f"what's the capital of {c}", f"Tell me the capital of {c}.", f"Capital of {c}?", f"Which city is the capital of {c}?"]), f"The capital of {c} is {CAPITALS[c]}."
    if k == 9:
        p = pick(list(PEOPLE))
        r = random.random()
        if r < 0.4:
            return pick([f"Who is {p}?", f"What does {p} do?", f"Tell me about {p}.", f"What is {p}'s job?"]), f"{p} is the {PEOPLE[p]} of Larkhaven."
        if r < 0.8:
            return pick([f"Who is the {PEOPLE[p]} of Larkhaven?", f"Who is the {PEOPLE[p]}?", f"Who is the {PEOPLE[p]} in Larkhaven?"]), f"The {PEOPLE[p]} of Larkhaven is {p}."
        return pick(["What is Larkhaven?", "Where is Larkhaven?", "Tell me about Larkhaven.", "Who lives in Larkhaven?"]), "Larkhaven is a village by the sea. " + ", ".join(list(PEOPLE)[:-1]) + " and " + list(PEOPLE)[-1] + " live there."
    if k == 10:
        c = pick(list(COLOURS))
        return pick([f"What colour is {x}?" if random.random() < 0.6 else f"What color is {x}?" for x in (f"a {c}", f"the {c}", c)]), f"The colour of {c} is {COLOURS[c]}."
    if k == 11:
        a = pick(list(SOUNDS))
        return pick([f"What does a {a} say?", f"What sound does a {a} make?", f"What does the {a} say?"]), f"A {a} says {SOUNDS[a]}."
    if k == 12:
        w = pick(list(OPPOSITES))
        return pick([f"What is the opposite of {w}?", f"Opposite of {w}?", f"Tell me the opposite of {w}."]), f"The opposite of {w} is {OPPOSITES[w]}."
    if k == 13:
        w = pick(WORDS)
        return pick([f"Spell {w}.", f"How do you spell {w}?", f"Please spell the word {w}.", f"spell {w}"]), "-".join(w.upper()) + "."
    if k == 14:
        l = pick([DAYS, MONTHS])
        i = random.randrange(len(l))
        kind = "day" if l is DAYS else "month"
        r = random.random()
        if r < 0.45:
            return pick([f"What {kind} comes after {l[i]}?", f"Which {kind} follows {l[i]}?", f"What comes after {l[i]}?"]), f"After {l[i]} comes {l[(i + 1) % len(l)]}."
        if r < 0.8:
            return pick([f"What {kind} comes before {l[i]}?", f"What comes before {l[i]}?"]), f"Before {l[i]} comes {l[i - 1]}."
        return pick([f"Name the {kind}s.", f"What are the {kind}s?", f"List the {kind}s" + pick([".", " of the week." if l is DAYS else " of the year."])]), listed(l)
    if k == 15:
        return pick(["Thank you!", "Thanks.", "Thanks a lot", "thank you very much"]), "You are welcome."
    if k == 16:
        return pick(["Bye!", "Goodbye.", "See you later.", "Good night.", "bye"]), "Goodbye!"
    if k == 17:
        return pick(["Tell me a joke.", "Do you know a joke?", "Make me laugh."]), "Why did the byte cross the bus? To get to the other side."
    if k == 18:
        n = random.randrange(1, 11)
        l = [pick(WORDS) for _ in range(min(n, 6))]
        return f"Repeat: {' '.join(l)}", " ".join(l)
    return pick(UNKNOWN), "I am too small to know that. Ask me about my small world."


def conversation():
    """The text of one conversation, with the positions that the model is to write marked by \\x01 and \\x02."""
    if random.random() < 0.06:
        return tools()
    out, name = "", None
    if random.random() < 0.25:
        out += "<|system|>" + pick(["You are a helpful assistant.", "Be brief.", "You are a friendly assistant.", "Answer the question.", "You are an AI assistant. Be kind and clear."]) + "<|end|>"
    for _ in range(pick([1, 1, 1, 2, 2, 3, 4])):
        r = random.random()
        if r < 0.08:
            name = pick(NAMES)
            q, a = pick([f"My name is {name}.", f"I am {name}.", f"Hi, I'm {name}.", f"Hello, my name is {name}!", f"Call me {name}."]), f"Nice to meet you, {name}!"
        elif r < (0.3 if name else 0.1):
            q = pick(["What is my name?", "Who am I?", "Do you know my name?", "What's my name?"])
            a = f"Your name is {name}." if name else "You have not told me your name."
        else:
            q, a = turn()
            if a is None:
                a = f"Hello{', ' + name if name else ''}! How can I help you?"
        if random.random() < 0.1:
            q = pick([q.lower(), q.rstrip("?.!"), q + " "])
        out += f"<|user|>{q}<|end|><|assistant|>\x01{a}<|end|>\x02"
    return out


def tools():
    """Questions for tools, and others that need none."""
    names = random.sample(["get_weather", "get_time", "search", "send_mail"], random.randrange(1, 4))
    if random.random() < 0.8 and "get_weather" not in names:
        names[0] = "get_weather"
    out = "<|system|>Tools: " + " ".join(names) + "<|end|>"
    city = pick(CITIES)
    r = random.random()
    if r < 0.5 and "get_weather" in names:
        out += "<|user|>" + pick([f"What is the weather in {city}?", f"How is the weather in {city}?", f"What's the weather like in {city} today?", f"weather in {city}", f"Is it raining in {city}?"]) + "<|end|><|assistant|>"
        out += '\x01<tool_call>\n{"name": "get_weather", "arguments": {"city": "' + city + '"}}\n</tool_call><|end|>\x02'
        if random.random() < 0.7:
            t, s = random.randrange(-10, 36), pick(["sunny", "cloudy", "raining", "snowing", "windy"])
            out += pick([f'<|tool|>{{"temperature": {t}, "sky": "{s}"}}<|end|>', f"<|tool|>{s}, {t} degrees<|end|>"])
            out += f"<|assistant|>\x01It is {s} in {city}, at {t} degrees.<|end|>\x02"
        return out
    if r < 0.75 and "get_time" in names:
        out += "<|user|>" + pick([f"What time is it in {city}?", f"Tell me the time in {city}.", f"time in {city}"]) + "<|end|><|assistant|>"
        return out + '\x01<tool_call>\n{"name": "get_time", "arguments": {"city": "' + city + '"}}\n</tool_call><|end|>\x02'
    q, a = turn()
    return out + f"<|user|>{q}<|end|><|assistant|>\x01{a or 'Hello! How can I help you?'}<|end|>\x02"


def tokenizer(path):
    t = Tokenizer(models.BPE())
    t.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(r"\p{N}| ?\p{L}+| ?[^\s\p{L}\p{N}]+|\s+"), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    t.decoder = decoders.ByteLevel()
    random.seed(1)
    text = [conversation().replace("\x01", "").replace("\x02", "") for _ in range(20000)]
    for s in SPECIALS + CALLS:
        text = [x.replace(s, "\n") for x in text]
    t.train_from_iterator(text, trainers.BpeTrainer(
        vocab_size=VOCABULARY - len(SPECIALS) - len(CALLS), initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False))
    t.add_special_tokens(SPECIALS)
    t.add_tokens(CALLS)
    t.save(f"{path}/tokenizer.json")
    json.dump({
        "tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": CONTEXT, "eos_token": "<|end|>", "pad_token": "<|endoftext|>",
        "clean_up_tokenization_spaces": False, "chat_template": TEMPLATE}, open(f"{path}/tokenizer_config.json", "w"), indent=1)
    return t


def batch(t, rows, length, start):
    """Conversations packed into rows; only what the model is to write counts."""
    ids, targets = [], []
    for _ in range(rows):
        row, mask = [], []
        while len(row) <= length:
            row.append(start), mask.append(0)
            for i, part in enumerate(conversation().replace("\x02", "\x01").split("\x01")):
                e = t.encode(part, add_special_tokens=False).ids
                row += e
                mask += [i % 2] * len(e)
        ids.append(row[:length + 1])
        targets.append([x if m else -100 for x, m in zip(row[1:length + 1], mask[1:length + 1])])
    x = torch.tensor(ids)
    return x[:, :-1], torch.tensor(targets)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--steps", type=int, default=2400)
    p.add_argument("--rows", type=int, default=12)
    p.add_argument("--length", type=int, default=384)
    p.add_argument("--threads", type=int, default=1)
    p.add_argument("--out", default=f"{HERE}/text")
    a = p.parse_args()
    torch.set_num_threads(a.threads)
    os.makedirs(a.out, exist_ok=True)
    t = tokenizer(a.out)
    end, start = t.token_to_id("<|end|>"), t.token_to_id("<|endoftext|>")
    torch.manual_seed(1)
    random.seed(2)
    model = LlamaForCausalLM(LlamaConfig(
        vocab_size=VOCABULARY, hidden_size=WIDTH, intermediate_size=INNER, num_hidden_layers=LAYERS, num_attention_heads=HEADS, num_key_value_heads=KV,
        max_position_embeddings=CONTEXT, tie_word_embeddings=True, rms_norm_eps=1e-5, initializer_range=0.05, bos_token_id=None, eos_token_id=end, pad_token_id=start))
    print(sum(x.numel() for x in model.parameters()), "parameters", flush=True)
    o = torch.optim.AdamW(model.parameters(), lr=1, betas=(0.9, 0.98), weight_decay=0.01)
    began, running = time.time(), None
    for step in range(a.steps):
        lr = 3e-3 * min(1, (step + 1) / 100) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * step / a.steps)))
        for g in o.param_groups:
            g["lr"] = lr
        x, y = batch(t, a.rows, a.length, start)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            z = model(x).logits
        loss = F.cross_entropy(z.float().flatten(0, 1), y.flatten(), ignore_index=-100)
        o.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        o.step()
        running = loss.item() if running is None else 0.98 * running + 0.02 * loss.item()
        if step % 20 == 0:
            print(f"step {step} loss {running:.4f} {a.rows * a.length * (step + 1) / (time.time() - began):.0f} tokens/s", flush=True)
        if step % 400 == 399:
            save(model, a.out, end)
    save(model, a.out, end)


def save(model, path, end):
    model.to(torch.bfloat16).save_pretrained(path)
    model.float()
    json.dump({"eos_token_id": [end], "do_sample": True, "temperature": 0.3, "top_p": 0.9}, open(f"{path}/generation_config.json", "w"))
    os.chmod(f"{path}/model.safetensors", 0o644)


if __name__ == "__main__":
    main()
