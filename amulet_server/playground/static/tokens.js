// An answer's tokens, coloured by how far they were moved, each with its probabilities.
// A line of tokens is one stop of the Tab key; the arrow keys go from token to token.

import { element, make } from "./dom.js";

const TINY = 1e-30; // a token that a prompt rules out was moved a long way, not infinitely
const FULL = 1.5; // nats at which a colour is at its strongest
const entries = new WeakMap(); // the server's entry of each token's element

const shift = (to, from) => Math.log(Math.max(to, TINY)) - Math.log(Math.max(from, TINY));

/** How far a token was moved, in nats, by each of what colours can show. */
const MEASURES = {
  prompted: ({ steered, pref }) => shift(steered, pref),
  base: ({ steered, base }) => (base === null ? 0 : shift(steered, base)),
  kl: ({ kl }) => kl,
};

/** Tokens to walk through. */
export class TokenLine {
  element = make("div", { className: "tokens", role: "listbox", ariaOrientation: "horizontal" });
  #utf8 = new TextDecoder(); // a character may be spread over several tokens

  constructor(label, measure) {
    this.measure = measure;
    this.element.ariaLabel = label;
    this.element.hidden = true; // a list of nothing is none
    this.element.addEventListener("keydown", walk);
    this.element.addEventListener("focusin", ({ target }) => this.#choose(target));
    this.element.addEventListener("focusout", hide);
    this.element.addEventListener("pointerover", ({ target }) => entries.has(target) && explain(target));
    this.element.addEventListener("pointerleave", hide);
  }

  /** Add tokens, by the server's entries of them. */
  add(trace) {
    this.element.append(...trace.map((entry) => this.#token(entry)));
    this.element.hidden = false;
    if (!this.element.querySelector("[tabindex='0']")) this.element.firstElementChild.tabIndex = 0;
  }

  /** Show something else by the colours. */
  colour(measure) {
    this.measure = measure;
    for (const token of this.element.children) paint(token, measure);
  }

  #token(entry) {
    const text = this.#utf8.decode(new Uint8Array(entry.bytes), { stream: true });
    const token = make("span", { role: "option", tabIndex: -1, ariaSelected: false, textContent: text });
    if (!text.trim()) token.ariaLabel = text ? "space" : "part of a character";
    entries.set(token, entry);
    paint(token, this.measure);
    return token;
  }

  #choose(token) {
    for (const each of this.element.children) {
      each.tabIndex = each === token ? 0 : -1;
      each.ariaSelected = each === token;
    }
    token.setAttribute("aria-describedby", "why");
    explain(token);
  }
}

function paint(token, measure) {
  const nats = MEASURES[measure](entries.get(token));
  const share = Math.min(1, Math.abs(nats) / FULL);
  token.style.setProperty("--moved", `${Math.round(100 * share)}%`);
  token.dataset.moved = share < 0.02 ? "no" : nats > 0 ? "up" : "down";
}

function walk(event) {
  const tokens = [...event.currentTarget.children];
  const here = tokens.indexOf(event.target);
  const there = {
    ArrowRight: here + 1,
    ArrowLeft: here - 1,
    ArrowDown: tokens.findIndex((each, index) => index > here && each.dataset.moved !== "no"),
    ArrowUp: tokens.findLastIndex((each, index) => index < here && each.dataset.moved !== "no"),
    Home: 0,
    End: tokens.length - 1,
  }[event.key];
  if (event.key === "Escape") hide();
  if (there === undefined) return;
  event.preventDefault();
  tokens[there]?.focus();
}

function hide() {
  element("why").hidden = true;
}

/** Show a token's probabilities beside it. */
function explain(token) {
  const entry = entries.get(token);
  const rows = [
    ["base", entry.base],
    ["prompted", entry.pref],
    ["steered", entry.steered],
  ].filter(([, probability]) => probability !== null);
  element("why").replaceChildren(
    make("p", { className: "token", textContent: JSON.stringify(entry.token) }),
    make("dl", {}, ...rows.map(([name, probability]) => row(name, probability))),
    make("p", { textContent: `steered / prompted ${factor(MEASURES.prompted(entry))}, divergence ${entry.kl.toFixed(2)} nats` }),
  );
  place(element("why"), token.getClientRects()[0]);
}

function row(name, probability) {
  const bar = make("i");
  bar.style.setProperty("--share", `${100 * probability}%`);
  const value = make("dd", {}, bar, percent(probability));
  return make("div", {}, make("dt", { textContent: name }), " ", value);
}

/** Below a place if there is room, else above it, and never beyond the window's sides. */
function place(box, at) {
  box.hidden = false;
  const { width, height } = box.getBoundingClientRect();
  const left = Math.max(8, Math.min(at.left, document.documentElement.clientWidth - width - 8));
  const below = at.bottom + 6;
  box.style.left = `${left}px`;
  box.style.top = `${below + height < innerHeight ? below : at.top - height - 6}px`;
}

const percent = (probability) => `${(100 * probability).toFixed(1)} %`;

/** By what factor a shift in nats changes a probability, as in `x1.55`. */
function factor(nats) {
  const ratio = Math.exp(nats);
  return `x${ratio >= 0.01 && ratio < 1000 ? ratio.toFixed(2) : ratio.toExponential(0)}`;
}
