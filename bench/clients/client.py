"""openai-python against a running server: python client.py PART http://127.0.0.1:8888 KEY"""
import asyncio
import json
import sys
import time
import typing

import openai
import pydantic

part, base, key = sys.argv[1:]
texts = ["The train leaves at noon.", "When does the train depart?", "She planted tomatoes in the garden."]
long = ["the quick brown fox " * 30] * 2048  # seconds of work


def new(prefix="/v1", **options):
    return openai.OpenAI(**{"base_url": base + prefix, "api_key": "EMPTY", "max_retries": 0, **options})


def new_async(prefix="/v1", **options):
    return openai.AsyncOpenAI(**{"base_url": base + prefix, "api_key": "EMPTY", "max_retries": 0, **options})


def cosine(a, b):
    return sum(x * y for x, y in zip(a, b)) / (sum(x * x for x in a) * sum(y * y for y in b)) ** 0.5


def fails(error, call):
    """The exception by which a call fails, which must be of this type."""
    try:
        call()
    except error as e:
        assert type(e) is error, repr(e)
        return e
    raise AssertionError(f"no {error.__name__}")


def answers():
    vectors = {}
    for prefix in ("/v1", "/openai/v1", "/api"):
        client = new(prefix)
        for encoding in ("base64", "float", openai.NOT_GIVEN):  # without one the client asks for base64 and decodes it
            r = client.embeddings.create(model="any", input=texts, encoding_format=encoding)
            assert len(r.data) == 3 and [d.index for d in r.data] == [0, 1, 2], r
            if encoding != "base64":
                vectors[prefix, str(encoding)] = [d.embedding for d in r.data]
        models = client.models.list().data
        assert len(models) == 1, models
        assert client.models.retrieve(models[0].id).id == models[0].id
    first = next(iter(vectors.values()))
    for name, v in vectors.items():
        for a, b in zip(first, v):
            assert len(a) == len(b) and max(abs(x - y) for x, y in zip(a, b)) < 1e-6, name
    assert cosine(first[0], first[1]) > cosine(first[0], first[2]) + 0.2, "related sentences are not closer"
    client = new()
    ids = client.embeddings.create(model="any", input=[[2, 5, 6, 3], [2, 3]])
    assert ids.usage.prompt_tokens == 6, ids.usage
    assert len(client.embeddings.create(model="any", input="x", dimensions=32).data[0].embedding) == 32


def errors():
    client = new()
    for param, bad in (
        ("input", {"input": []}),
        ("input[0][1]", {"input": [[1, -1]]}),
        ("dimensions", {"input": "x", "dimensions": 0}),
        ("dimensions", {"input": "x", "dimensions": 1 << 20}),
        ("encoding_format", {"input": "x", "encoding_format": "hex"}),
    ):
        e = fails(openai.BadRequestError, lambda: client.embeddings.create(model="any", **bad))
        assert e.param == param and e.type == "invalid_request_error", (bad, e.param)
    e = fails(openai.BadRequestError, lambda: client.chat.completions.create(model="any", messages=[{"role": "user", "content": "hello"}]))
    assert "embeddings" in e.message and e.code == "wrong_model_type", e
    assert fails(openai.NotFoundError, lambda: client.models.retrieve("nobody")).code == "model_not_found"


def with_key():
    assert fails(openai.AuthenticationError, lambda: new().embeddings.create(model="any", input="x")).code == "invalid_api_key"
    new(api_key=key).embeddings.create(model="any", input="x")


def timeout():
    e = fails(openai.InternalServerError, lambda: new().embeddings.create(model="any", input=long))
    assert e.status_code == 504 and e.code == "timeout", e


class Seen(list):
    """What a client was answered: status, Retry-After, and when it came back for more."""

    def http_client(self):
        async def started(_):
            self.append([None, None, time.monotonic()])

        async def answered(r):
            self[-1][:2] = r.status_code, r.headers.get("Retry-After")
            print(r.status_code, flush=True)

        return openai.DefaultAsyncHttpxClient(event_hooks={"request": [started], "response": [answered]})

    def retried(self, refusal):
        assert len(self) > 1 and [s for s, _, _ in self] == [refusal] * (len(self) - 1) + [200], self
        for (_, wait, at), (_, _, again) in zip(self, self[1:]):
            assert int(wait) >= 1 and again - at >= int(wait), self


async def until(what, come):
    for _ in range(2000):
        if await come():
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"waited in vain until {what}")


async def busy():
    jobs, client = new_async("/api"), new_async()
    others = []
    for n in (1, 2):  # one runs, the other takes the only place
        others.append(asyncio.create_task(client.embeddings.create(model="any", input=long[:256])))

        async def there():
            return len((await jobs.get("/jobs", cast_to=object))["jobs"]) == n

        await until("the job is there", there)
    try:
        await client.embeddings.create(model="any", input="x")
        raise AssertionError("there was room")
    except openai.RateLimitError as e:
        assert e.code == "queue_full" and int(e.response.headers["Retry-After"]) >= 1, e
    seen = Seen()
    await new_async(max_retries=5, http_client=seen.http_client()).embeddings.create(model="any", input="x")
    seen.retried(429)
    await asyncio.gather(*others)


async def cancel():
    jobs, client = new_async("/api"), new_async()

    async def state(id):
        try:
            return (await jobs.get("/jobs/" + id, cast_to=object))["state"]
        except openai.NotFoundError:
            return None

    for name, limit, error in (("timeout", 1.0, openai.APITimeoutError), ("cancel", None, asyncio.CancelledError)):
        id = "python-" + name
        options = {"timeout": limit} if limit else {}
        task = asyncio.create_task(client.embeddings.create(model="any", input=long, extra_headers={"X-Request-Id": id}, **options))

        async def there():
            return await state(id) is not None

        async def cancelled():
            return await state(id) == "cancelled"

        await until("the job is there", there)
        if not limit:
            task.cancel()
        try:
            await task
            raise AssertionError("answered")
        except error:
            pass
        await until("the job is cancelled", cancelled)
        assert (await jobs.get("/jobs", cast_to=object))["jobs"] == []


async def loading():
    """Before the model is there: the client's own retries see it through."""
    seen = Seen()
    r = await new_async(max_retries=5, http_client=seen.http_client()).embeddings.create(model="any", input="x")
    assert len(r.data) == 1
    seen.retried(503)


def chats():
    """Talks, streams, calls a tool and asks for JSON; the built-in model knows the answers."""
    tool = {"type": "function", "function": {"name": "get_weather", "parameters": {
        "type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"], "additionalProperties": False}}}
    user = lambda text: [{"role": "user", "content": text}]
    for prefix in ("/v1", "/openai/v1", "/api"):
        r = new(prefix).chat.completions.create(model="any", messages=user("What is the capital of Norway?"), temperature=0)
        assert r.choices[0].message.content == "The capital of Norway is Oslo." and r.choices[0].finish_reason == "stop", r
    client = new()
    text, last = "", None
    for chunk in client.chat.completions.create(model="any", messages=user("Count from 3 to 9."), temperature=0, stream=True, stream_options={"include_usage": True}):
        text += "".join(c.delta.content or "" for c in chunk.choices)
        last = chunk
    assert text == "3, 4, 5, 6, 7, 8, 9." and last.usage.completion_tokens > 7, (text, last)
    messages = user("What is the weather in Oslo?")
    r = client.chat.completions.create(model="any", messages=messages, tools=[tool], temperature=0)
    call = r.choices[0].message.tool_calls[0]
    assert r.choices[0].finish_reason == "tool_calls" and call.function.name == "get_weather" and call.function.arguments == '{"city": "Oslo"}', r
    messages += [r.choices[0].message, {"role": "tool", "tool_call_id": call.id, "content": "sunny, 20 degrees"}]
    r = client.chat.completions.create(model="any", messages=messages, tools=[tool], temperature=0)
    assert "20 degrees" in r.choices[0].message.content, r
    with client.chat.completions.stream(model="any", messages=user("What is the weather in Lima?"), tools=[tool], temperature=0) as stream:
        stream.until_done()
        call = stream.get_final_completion().choices[0].message.tool_calls[0]
    assert call.function.name == "get_weather" and call.function.arguments == '{"city": "Lima"}', call
    r = client.chat.completions.create(model="any", messages=user("hello"), tools=[tool], tool_choice="required", temperature=1, seed=1)
    assert "city" in json.loads(r.choices[0].message.tool_calls[0].function.arguments), r

    class City(pydantic.BaseModel):
        name: typing.Literal["Oslo", "Lima", "Rome"]
        size: int

    r = client.chat.completions.parse(model="any", messages=user("Tell me about a city."), response_format=City, max_tokens=60)
    assert isinstance(r.choices[0].message.parsed, City), r
    r = client.chat.completions.create(model="any", messages=user("Hello!"), logprobs=True, top_logprobs=3, n=2, seed=7, max_tokens=5)
    assert len(r.choices) == 2 and all(len(c.logprobs.content) == len(c.logprobs.content) and len(c.logprobs.content[0].top_logprobs) == 3 for c in r.choices), r
    e = fails(openai.BadRequestError, lambda: client.chat.completions.create(model="any", messages=user("hello"), temperature=-1))
    assert e.param == "temperature", e
    e = fails(openai.BadRequestError, lambda: client.embeddings.create(model="any", input="x"))
    assert e.code == "wrong_model_type" and "chat/completions" in e.message, e
    r = client.completions.create(model="any", prompt="<|user|>Spell cat.<|end|><|assistant|>", temperature=0)
    assert r.choices[0].text == "C-A-T.", r


play = {"chats": chats, "answers": answers, "errors": errors, "key": with_key, "timeout": timeout, "busy": busy, "cancel": cancel, "loading": loading}[part]
if asyncio.iscoroutinefunction(play):
    asyncio.run(play())
else:
    play()
