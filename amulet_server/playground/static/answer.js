// One answer as it comes: as text, and as tokens that tell where they came from once that is known.

import { make } from "./dom.js";
import { TokenLine } from "./tokens.js";

export class Answer {
  text = "";
  isWhole = false;
  #thought = make("p", { className: "thought" });
  #line = null; // of tokens, in an answer with colours
  #rest = make("span"); // text whose tokens aren't known yet
  #count = 0;

  /**
   * @param {string} title What the answer is called.
   * @param {string} note How it is made.
   * @param {?string} measure What its colours show; null for an answer without colours.
   */
  constructor(title, note, measure) {
    if (measure !== null) this.#line = new TokenLine(`${title} answer, token by token`, measure);
    this.facts = make("p", { className: "note" });
    const heading = make("h3", {}, title, " ", make("small", { textContent: note }));
    const body = make("div", { className: "answer" }, this.#thought, this.#rest);
    if (this.#line) this.#rest.before(this.#line.element);
    this.article = make("article", { ariaBusy: true, ariaLabel: title }, heading, body, this.facts);
  }

  /** Add an event of the stream. */
  add({ choices: [choice] }) {
    if (!choice) return;
    const { delta, amulet = {}, finish_reason: reason } = choice;
    this.#thought.append(delta.reasoning_content ?? "");
    this.text += delta.content ?? "";
    this.#rest.append(delta.content ?? "");
    this.#trace(amulet.trace ?? []);
    if (reason) this.#finish(reason, amulet.mean_kl);
  }

  fail(message) {
    this.facts.textContent = message;
    this.facts.role = "alert";
  }

  end() {
    this.article.ariaBusy = false;
  }

  /** Show something else by the colours. */
  colour(measure) {
    this.#line?.colour(measure);
  }

  /** Tokens take the place of the text, and of the thought, that they are of. */
  #trace(entries) {
    this.#count += entries.length;
    if (!this.#line || !entries.length) return;
    this.#line.add(entries);
    this.#rest.replaceChildren();
    this.#thought.replaceChildren();
  }

  #finish(reason, kl) {
    this.isWhole = true;
    const facts = [`${this.#count} tokens`];
    if (this.#line) facts.push(`${kl.toFixed(2)} nats per token`);
    if (reason === "length") facts.push("cut at its length");
    this.facts.textContent = facts.join(" · ");
  }
}
