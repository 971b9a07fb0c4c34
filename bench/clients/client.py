"""openai-python against a running server: python client.py http://127.0.0.1:8888"""
import sys

import openai

base = sys.argv[1]
texts = ["The train leaves at noon.", "When does the train depart?", "She planted tomatoes in the garden."]


def cosine(a, b):
    return sum(x * y for x, y in zip(a, b)) / (sum(x * x for x in a) * sum(y * y for y in b)) ** 0.5


vectors = {}
for prefix in ("/v1", "/openai/v1", "/api"):
    client = openai.OpenAI(base_url=base + prefix, api_key="EMPTY", max_retries=0)
    for encoding in ("base64", "float", openai.NOT_GIVEN):  # without one the client asks for base64 and decodes it
        r = client.embeddings.create(model="any", input=texts, encoding_format=encoding)
        assert len(r.data) == 3 and [d.index for d in r.data] == [0, 1, 2], r
        if encoding != "base64":
            vectors[prefix, str(encoding)] = [d.embedding for d in r.data]
first = next(iter(vectors.values()))
for key, v in vectors.items():
    for a, b in zip(first, v):
        assert max(abs(x - y) for x, y in zip(a, b)) < 1e-6, key
assert cosine(first[0], first[1]) > cosine(first[0], first[2]) + 0.2, "related sentences are not closer"

client = openai.OpenAI(base_url=base + "/v1", api_key="EMPTY", max_retries=0)
assert len(client.models.list().data) == 1
ids = client.embeddings.create(model="any", input=[[2, 5, 6, 3], [2, 3]])
assert ids.usage.prompt_tokens == 6, ids.usage
for bad in ({"input": []}, {"input": "x", "dimensions": 0}, {"input": [[1, -1]]}, {"input": "x", "encoding_format": "hex"}):
    try:
        client.embeddings.create(model="any", **bad)
    except openai.BadRequestError as e:
        assert e.param, e
    else:
        raise AssertionError(f"{bad} is accepted")
try:
    client.chat.completions.create(model="any", messages=[{"role": "user", "content": "hello"}])
except openai.BadRequestError as e:
    assert "embeddings" in e.message, e.message
else:
    raise AssertionError("an embedder chats")
