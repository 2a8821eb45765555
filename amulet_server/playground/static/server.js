// The server as docs/serve.md describes it: JSON, and answers as streams of events.

/** What a server says when it doesn't answer; see "Errors" in docs/serve.md. */
export class Refusal extends Error {
  constructor(status, detail) {
    super(detail?.message ?? `The server answered with status ${status}.`);
    this.status = status;
    this.code = detail?.code;
  }
}

export class Server {
  /** Sent with every request; never kept but in this tab. */
  key = "";
  /** In whose name requests are made, where the key may say so. */
  user = "";

  constructor(base) {
    this.base = base;
  }

  async get(path, query = {}) {
    return (await this.#fetch("GET", `${path}?${new URLSearchParams(query)}`)).json();
  }

  async send(method, path, body) {
    return (await this.#fetch(method, path, body)).json();
  }

  /** A chat completion's events, one after the other. */
  async *stream(body, signal) {
    const response = await this.#fetch("POST", "v1/chat/completions", body, signal);
    for await (const data of events(response.body)) {
      if (data === "[DONE]") continue; // nothing follows, and the connection is read to its end
      const event = JSON.parse(data);
      if (event.error) throw new Refusal(response.status, event.error);
      yield event;
    }
  }

  async #fetch(method, path, body, signal) {
    const headers = this.key ? { Authorization: `Bearer ${this.key}` } : {};
    if (body) headers["Content-Type"] = "application/json";
    const sent = body && JSON.stringify(body);
    const options = { method, headers, body: sent, signal, cache: "no-store", credentials: "same-origin" };
    const response = await fetch(new URL(path, this.base), options);
    if (response.ok) return response;
    const told = await response.json().catch(() => ({}));
    throw new Refusal(response.status, told.error);
  }
}

/** The data of a stream's server-sent events. */
async function* events(body) {
  let rest = "";
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  for (let part = await reader.read(); !part.done; part = await reader.read()) {
    const whole = (rest + part.value).split("\n\n");
    rest = whole.pop();
    for (const event of whole) yield event.replace(/^data: /, "");
  }
}
