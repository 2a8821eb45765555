// OpenAI's own client for Node against a running server, whose address is in AMULET_URL.

import assert from "node:assert/strict";
import { test } from "node:test";

import OpenAI from "openai";

const client = new OpenAI({
  baseURL: `${process.env.AMULET_URL}/v1`,
  apiKey: "none",
  maxRetries: 0,
});
const chat = client.chat.completions;
const asked = {
  model: "pocket",
  messages: [{ role: "user", content: "How do I sleep better?" }],
};
const weather = {
  model: "pocket",
  messages: [{ role: "user", content: "What is the weather in Oslo?" }],
  tools: [
    {
      type: "function",
      function: {
        name: "get_weather",
        description: "The weather of a city",
        strict: true,
        parameters: {
          type: "object",
          properties: { city: { type: "string" } },
          required: ["city"],
          additionalProperties: false,
        },
      },
    },
  ],
  tool_choice: "required",
};

const plain = async () => (await chat.create(asked)).choices[0].message.content;

test("an answer comes with what it cost", async () => {
  const answer = await chat.create(asked);
  assert.ok(answer.choices[0].message.content);
  assert.equal(answer.choices[0].finish_reason, "stop");
  assert.ok(answer.usage.completion_tokens > 0);
});

test("a preference steers, by the body and by metadata", async () => {
  const body = await chat.create({ ...asked, preference: "concise" });
  const metadata = await chat.create({ ...asked, metadata: { preference: "concise" } });
  assert.notEqual(body.choices[0].message.content, await plain());
  assert.equal(metadata.choices[0].message.content, body.choices[0].message.content);
});

test("a stream is the answer in pieces", async () => {
  const options = { stream: true, stream_options: { include_usage: true } };
  let text = "";
  let usage = null;
  for await (const chunk of await chat.create({ ...asked, ...options })) {
    text += chunk.choices[0]?.delta.content ?? "";
    usage = chunk.usage ?? usage;
  }
  assert.equal(text, await plain());
  assert.ok(usage.total_tokens > 0);
});

test("the streaming helper puts the same answer together, log-probabilities too", async () => {
  const stream = chat.stream({ ...asked, logprobs: true, top_logprobs: 2 });
  const pieces = [];
  stream.on("content", (delta) => pieces.push(delta));
  const tokens = [];
  stream.on("logprobs.content.delta", (event) => tokens.push(...event.content));
  const answer = await stream.finalChatCompletion();
  assert.equal(answer.choices[0].message.content, await plain());
  assert.equal(pieces.join(""), answer.choices[0].message.content);
  assert.equal(tokens.map((each) => each.token).join(""), pieces.join(""));
  assert.ok(tokens.every((each) => each.top_logprobs.length === 2));
});

test("a tool is called, streamed or not", async () => {
  const [call] = (await chat.create(weather)).choices[0].message.tool_calls;
  assert.deepEqual(JSON.parse(call.function.arguments), { city: "Oslo" });
  const stream = chat.stream(weather);
  let pieces = 0;
  stream.on("tool_calls.function.arguments.delta", () => (pieces += 1));
  const answer = await stream.finalChatCompletion();
  assert.equal(answer.choices[0].finish_reason, "tool_calls");
  assert.deepEqual(
    JSON.parse(answer.choices[0].message.tool_calls[0].function.arguments),
    { city: "Oslo" },
  );
  assert.ok(pieces > 1);
});

test("tools are run until there is an answer", async () => {
  const cities = [];
  const tool = {
    type: "function",
    function: {
      ...weather.tools[0].function,
      parse: JSON.parse,
      function: ({ city }) => {
        cities.push(city);
        return "Sunny, 20 C";
      },
    },
  };
  const { tools: _, tool_choice: __, ...question } = weather;
  const runner = chat.runTools({ ...question, tools: [tool] }, { maxChatCompletions: 3 });
  assert.ok(await runner.finalContent());
  assert.deepEqual(cities, ["Oslo"]);
});

test("an answer to a schema is parsed", async () => {
  const schema = {
    type: "object",
    properties: { tip: { type: "string" } },
    required: ["tip"],
    additionalProperties: false,
  };
  const answer = await chat.parse({
    ...asked,
    response_format: { type: "json_schema", json_schema: { name: "tip", strict: true, schema } },
  });
  assert.deepEqual(Object.keys(JSON.parse(answer.choices[0].message.content)), ["tip"]);
});

test("errors are OpenAI's, before a stream begins, too", async () => {
  for (const stream of [false, true]) {
    await assert.rejects(chat.create({ ...asked, stream, style: "x" }), (error) => {
      assert.ok(error instanceof OpenAI.BadRequestError);
      assert.equal(error.param, "style");
      assert.equal(error.code, "unknown_parameter");
      return true;
    });
  }
  await assert.rejects(chat.create({ ...asked, model: "gpt" }), OpenAI.NotFoundError);
});

test("a stream that is aborted ends, and the next call is answered", async () => {
  const stream = await chat.create({ ...asked, stream: true });
  let chunks = 0;
  for await (const _ of stream) {
    chunks += 1;
    stream.controller.abort();
  }
  assert.ok(chunks >= 1);
  const leaving = new AbortController();
  setTimeout(() => leaving.abort(), 20);
  await assert.rejects(
    chat.create({ ...asked, n: 8 }, { signal: leaving.signal }),
    OpenAI.APIUserAbortError,
  );
  assert.ok(await plain());
});

test("models are listed with their styles", async () => {
  const names = [];
  for await (const model of client.models.list()) names.push(model.id);
  assert.ok(names.includes("pocket@concise"));
});
