// A conversation that is led three times: by the model alone, prompted, and steered.
// Each goes on from its own answers, so that none is told what another said.

import { announce, element, make } from "./dom.js";
import { Answer } from "./answer.js";

export class Conversation {
  #histories = new Map();
  #answers = [];
  #stopping = null;
  #columns = [];

  constructor(server, settings, stored) {
    Object.assign(this, { server, settings, stored });
    const question = element("question");
    element("ask").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#ask(question.value.trim());
    });
    question.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      element("ask").requestSubmit();
    });
    element("stop").addEventListener("click", () => this.#stopping?.abort());
    element("again").addEventListener("click", () => this.#forget());
    element("examples").addEventListener("click", ({ target }) => {
      if (target.matches("button")) this.#ask(target.textContent);
    });
    settings.onMeasure = () => this.#answers.forEach((answer) => answer.colour(settings.measure));
  }

  /** Which answers there are. The model alone is one that no preference reaches. */
  offer({ model, methods }) {
    this.model = model;
    const isPrompted = methods.some(({ name }) => name === "pref");
    const prompted = { title: "Prompted", note: () => "the preference in its prompt", says: () => ({ method: "pref" }) };
    this.#columns = [
      { title: "Base", note: () => "the conversation alone", says: () => ({ preference: null, compose: false }) },
      ...(isPrompted ? [prompted] : []),
      { title: "Steered", note: () => this.settings.method, says: () => ({ method: this.settings.method }) },
    ];
  }

  async #ask(question) {
    if (!question || this.#stopping || !this.#columns.length) return;
    this.#stopping = new AbortController();
    this.#busy(true);
    element("opening").hidden = true;
    const common = {
      model: this.model,
      stream: true,
      trace: true,
      // The same for all three, so that they differ by what they are told, not by their dice.
      seed: crypto.getRandomValues(new Uint32Array(1))[0],
      ...(this.server.user && { user: this.server.user }),
      ...this.settings.request,
    };
    const asked = this.#columns.map((column) => this.#column(column, question, common));
    const articles = asked.map(({ answer }) => answer.article);
    const title = make("h2", { textContent: question });
    const turn = make("section", { className: "turn" }, title, make("div", { className: "answers" }, ...articles));
    element("conversation").append(turn);
    element("question").value = "";
    turn.scrollIntoView({ block: "start" });
    const ended = await Promise.all(asked.map((each) => this.#answer(each, question)));
    this.#busy(false);
    announce(ended.every(Boolean) ? "The answers are complete." : "Not every answer is complete.");
  }

  #column(column, question, common) {
    const history = this.#histories.get(column.title) ?? [];
    const messages = [...history, { role: "user", content: question }];
    const isSteered = column.title === "Steered";
    const answer = new Answer(column.title, column.note(), isSteered ? this.settings.measure : null);
    this.#answers.push(answer);
    return { title: column.title, answer, body: { ...common, ...column.says(), messages } };
  }

  async #answer({ title, answer, body }) {
    try {
      for await (const event of this.server.stream(body, this.#stopping.signal)) answer.add(event);
    } catch (error) {
      answer.fail(error.name === "AbortError" ? "Stopped." : error.message);
    }
    answer.end();
    // An answer of which nothing came is no turn that a model could read.
    if (answer.text) this.#histories.set(title, [...body.messages, { role: "assistant", content: answer.text }]);
    return answer.isWhole;
  }

  #busy(isBusy) {
    if (!isBusy) this.#stopping = null;
    element("stop").disabled = !isBusy;
    element("ask").querySelector("[type=submit]").disabled = isBusy;
    element("conversation").ariaBusy = isBusy;
  }

  #forget() {
    this.#stopping?.abort();
    this.#histories.clear();
    this.#answers = [];
    for (const turn of document.querySelectorAll(".turn")) turn.remove();
    element("opening").hidden = false;
    element("question").focus();
  }
}
