// openai-node against a running server: node client.cjs PART http://127.0.0.1:8888 KEY
"use strict";
const assert = require("node:assert/strict");
const OpenAI = require("openai");

const [part, base, key] = process.argv.slice(2);
const texts = ["The train leaves at noon.", "When does the train depart?", "She planted tomatoes in the garden."];
const long = Array(2048).fill("the quick brown fox ".repeat(30)); // seconds of work

const connect = (prefix = "/v1", options = {}) => new OpenAI({ baseURL: base + prefix, apiKey: "EMPTY", maxRetries: 0, ...options });

function cosine(a, b) {
  let [dot, x, y] = [0, 0, 0];
  a.forEach((v, i) => ((dot += v * b[i]), (x += v * v), (y += b[i] * b[i])));
  return dot / Math.sqrt(x * y);
}

// fails returns the error by which a call fails, which must be of this type.
async function fails(type, call) {
  try {
    await call;
  } catch (e) {
    assert.equal(e.constructor.name, type.name, e);
    return e;
  }
  assert.fail(`no ${type.name}`);
}

async function until(what, come) {
  for (let i = 0; i < 2000; i++) {
    if (await come()) return;
    await new Promise((done) => setTimeout(done, 10));
  }
  assert.fail(`waited in vain until ${what}`);
}

// seen is what a client was answered: status, Retry-After and when it had asked.
function watched(seen) {
  return {
    fetch: async (url, init) => {
      const at = performance.now();
      const r = await fetch(url, init);
      console.log(r.status);
      seen.push({ status: r.status, wait: r.headers.get("Retry-After"), at });
      return r;
    },
  };
}

function retried(seen, refusal) {
  assert.ok(seen.length > 1 && seen.every((s, i) => s.status === (i === seen.length - 1 ? 200 : refusal)), JSON.stringify(seen));
  for (let i = 0; i + 1 < seen.length; i++) {
    assert.ok(Number(seen[i].wait) >= 1 && seen[i + 1].at - seen[i].at >= Number(seen[i].wait) * 1000 - 2, JSON.stringify(seen)); // a timer's grain
  }
}

const plays = {
  async chats() {
    const tool = {
      type: "function",
      function: { name: "get_weather", parameters: { type: "object", properties: { city: { type: "string" } }, required: ["city"], additionalProperties: false } },
    };
    const user = (content) => [{ role: "user", content }];
    for (const prefix of ["/v1", "/openai/v1", "/api"]) {
      const r = await connect(prefix).chat.completions.create({ model: "any", messages: user("What is the capital of Norway?"), temperature: 0 });
      assert.equal(r.choices[0].message.content, "The capital of Norway is Oslo.");
    }
    const client = connect();
    let [text, chunks] = ["", 0];
    for await (const c of await client.chat.completions.create({ model: "any", messages: user("Count from 3 to 9."), temperature: 0, stream: true })) {
      text += c.choices[0]?.delta.content ?? "";
      chunks++;
    }
    assert.equal(text, "3, 4, 5, 6, 7, 8, 9.");
    assert.ok(chunks > 7);
    const stream = client.chat.completions.stream({ model: "any", messages: user("What is the weather in Oslo?"), tools: [tool], temperature: 0 });
    const call = (await stream.finalChatCompletion()).choices[0].message.tool_calls[0];
    assert.deepEqual([call.function.name, JSON.parse(call.function.arguments)], ["get_weather", { city: "Oslo" }]);
    const schema = { type: "object", properties: { name: { type: "string" }, size: { type: "integer" } }, required: ["name", "size"], additionalProperties: false };
    const form = await client.chat.completions.create({
      model: "any", messages: user("Tell me about a city."), max_tokens: 60, response_format: { type: "json_schema", json_schema: { name: "city", strict: true, schema } },
    });
    assert.deepEqual(Object.keys(JSON.parse(form.choices[0].message.content)), ["name", "size"]);
    const e = await fails(OpenAI.BadRequestError, client.chat.completions.create({ model: "any", messages: user("hello"), top_p: 2 }));
    assert.equal(e.param, "top_p");
  },
  async answers() {
    const vectors = [];
    for (const prefix of ["/v1", "/openai/v1", "/api"]) {
      const client = connect(prefix);
      for (const encoding of [undefined, "float", "base64"]) { // without one the client asks for base64 and decodes it
        const r = await client.embeddings.create({ model: "any", input: texts, encoding_format: encoding });
        assert.deepEqual(r.data.map((d) => d.index), [0, 1, 2]);
        if (encoding === "base64") assert.equal(typeof r.data[0].embedding, "string");
        else vectors.push(r.data.map((d) => d.embedding));
      }
      const models = (await client.models.list()).data;
      assert.equal(models.length, 1);
      assert.equal((await client.models.retrieve(models[0].id)).id, models[0].id);
    }
    for (const v of vectors) {
      v.forEach((row, i) => assert.ok(row.length === vectors[0][i].length && row.every((x, j) => Math.abs(x - vectors[0][i][j]) < 1e-6)));
    }
    const [a, b, c] = vectors[0];
    assert.ok(cosine(a, b) > cosine(a, c) + 0.2, "related sentences are not closer");
    const ids = await connect().embeddings.create({ model: "any", input: [[2, 5, 6, 3], [2, 3]] });
    assert.equal(ids.usage.prompt_tokens, 6);
    assert.equal((await connect().embeddings.create({ model: "any", input: "x", dimensions: 32 })).data[0].embedding.length, 32);
  },

  async errors() {
    const client = connect();
    for (const [param, bad] of [
      ["input", { input: [] }],
      ["input[0][1]", { input: [[1, -1]] }],
      ["dimensions", { input: "x", dimensions: 0 }],
      ["dimensions", { input: "x", dimensions: 1 << 20 }],
      ["encoding_format", { input: "x", encoding_format: "hex" }],
    ]) {
      const e = await fails(OpenAI.BadRequestError, client.embeddings.create({ model: "any", ...bad }));
      assert.equal(e.param, param);
      assert.equal(e.type, "invalid_request_error");
    }
    const chat = await fails(OpenAI.BadRequestError, client.chat.completions.create({ model: "any", messages: [{ role: "user", content: "hello" }] }));
    assert.equal(chat.code, "wrong_model_type");
    assert.equal((await fails(OpenAI.NotFoundError, client.models.retrieve("nobody"))).code, "model_not_found");
  },

  async key() {
    assert.equal((await fails(OpenAI.AuthenticationError, connect().embeddings.create({ model: "any", input: "x" }))).code, "invalid_api_key");
    await connect("/v1", { apiKey: key }).embeddings.create({ model: "any", input: "x" });
  },

  async timeout() {
    const e = await fails(OpenAI.InternalServerError, connect().embeddings.create({ model: "any", input: long }));
    assert.equal(e.status, 504);
    assert.equal(e.code, "timeout");
  },

  async busy() {
    const client = connect(), jobs = connect("/api"), others = [];
    for (const n of [1, 2]) { // one runs, the other takes the only place
      others.push(client.embeddings.create({ model: "any", input: long.slice(0, 256) }));
      others[n - 1].catch(() => {}); // it is awaited below
      await until("the job is there", async () => (await jobs.get("/jobs")).jobs.length === n);
    }
    const e = await fails(OpenAI.RateLimitError, client.embeddings.create({ model: "any", input: "x" }));
    assert.equal(e.code, "queue_full");
    assert.ok(Number(e.headers.get("Retry-After")) >= 1);
    const seen = [];
    await connect("/v1", { maxRetries: 5, ...watched(seen) }).embeddings.create({ model: "any", input: "x" });
    retried(seen, 429);
    await Promise.all(others);
  },

  async cancel() {
    const client = connect(), jobs = connect("/api");
    const state = async (id) => {
      try {
        return (await jobs.get("/jobs/" + id)).state;
      } catch (e) {
        assert.ok(e instanceof OpenAI.NotFoundError, e);
      }
    };
    for (const [name, options, error] of [["timeout", { timeout: 1000 }, OpenAI.APIConnectionTimeoutError], ["cancel", {}, OpenAI.APIUserAbortError]]) {
      const id = "node-" + name, abort = new AbortController();
      const call = client.embeddings.create({ model: "any", input: long }, { headers: { "X-Request-Id": id }, signal: abort.signal, ...options });
      const failed = fails(error, call);
      await until("the job is there", async () => (await state(id)) !== undefined);
      if (name === "cancel") abort.abort();
      await failed;
      await until("the job is cancelled", async () => (await state(id)) === "cancelled");
      assert.deepEqual((await jobs.get("/jobs")).jobs, []);
    }
  },

  // Before the model is there: the client's own retries see it through.
  async loading() {
    const seen = [];
    const r = await connect("/v1", { maxRetries: 5, ...watched(seen) }).embeddings.create({ model: "any", input: "x" });
    assert.equal(r.data.length, 1);
    retried(seen, 503);
  },
};

plays[part]().catch((e) => {
  console.error(e);
  process.exit(1);
});
