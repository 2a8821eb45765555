// What is set: the form, the address bar's fragment, and what a request says of it, kept the same.
// The server says which methods, parameters and traits there are.

import { element, make } from "./dom.js";

const COLUMNS = ["base", "pref"]; // methods that are always shown beside the steered answer
const LINKED = ["preference", "compose", "method", "temperature", "max_tokens", "measure"];
const FURTHEST = 6; // where the slider ends; the number beside it goes on

export class Settings {
  #form = element("settings");
  #methods = new Map();
  #strengths = {};
  #numbers = {}; // parameters as they are set, by name

  constructor() {
    this.#form.addEventListener("input", (event) => this.#changed(event.target));
    this.#form.addEventListener("submit", (event) => event.preventDefault());
    addEventListener("hashchange", () => this.#restore());
  }

  get measure() {
    return this.#form.measure.value;
  }

  /** Called when what colours show has changed. */
  onMeasure = () => {};

  /** Fill the form with what a server offers, then with what the link says. */
  offer({ methods, method, parameters, strengths, traits, keeps_preferences: keeps }) {
    const offered = methods.filter(({ name }) => !COLUMNS.includes(name));
    this.#methods = new Map(offered.map((each) => [each.name, each]));
    if (this.#methods.has(method)) this.#methods.get(method).own = parameters; // the server's own
    this.#strengths = strengths;
    const names = [...this.#methods.keys()];
    const isKept = names.includes(this.#form.method.value) && this.#form.method.value;
    this.#form.method.replaceChildren(...names.map((name) => make("option", { textContent: name })));
    this.#form.method.value = isKept || (this.#methods.has(method) ? method : names[0]);
    element("traits").replaceChildren(...Object.entries(traits).map((each) => this.#trait(...each)));
    element("compose-row").hidden = !keeps;
    this.#showMethod();
    this.#restore();
  }

  /** What a request says of how it is steered and sampled. */
  get request() {
    const { preference, compose, temperature, max_tokens: most } = this.#form;
    const said = {};
    if (preference.value.trim()) {
      said.preference = preference.value.trim();
      if (compose.checked) said.compose = true;
    }
    if (temperature.value) said.temperature = temperature.valueAsNumber;
    if (most.value) said.max_tokens = most.valueAsNumber;
    return said;
  }

  /** The method as a request names it, such as `amulet:strength=2`. */
  get method() {
    const defaults = this.#methods.get(this.#form.method.value)?.parameters ?? {};
    const numbers = Object.entries(this.#numbers).filter(([name, value]) => value !== rounded(defaults[name]));
    const text = numbers.map(([name, value]) => `${name}=${value}`).join(",");
    return text ? `${this.#form.method.value}:${text}` : this.#form.method.value;
  }

  #trait(name, text) {
    const button = make("button", { type: "button", textContent: name, title: text });
    button.addEventListener("click", () => {
      this.#form.preference.value = text;
      this.#changed(this.#form.preference);
    });
    return button;
  }

  #changed(field) {
    if (field.dataset?.parameter) this.#setNumber(field.dataset.parameter, field.value);
    if (field === this.#form.method) this.#showMethod();
    if (field === this.#form.measure) this.onMeasure();
    history.replaceState(null, "", `#${this.#fragment()}`);
  }

  #setNumber(name, value) {
    if (value === "") delete this.#numbers[name];
    else this.#numbers[name] = Number(value);
    for (const field of this.#form.querySelectorAll(`[data-parameter="${name}"]`)) {
      field.value = value === "" && field.type === "range" ? field.defaultValue : value;
    }
    if (name !== "strength") return;
    for (const button of this.#form.querySelectorAll("[data-strength]")) {
      button.ariaPressed = Number(button.dataset.strength) === this.#numbers.strength;
    }
  }

  #showMethod() {
    const { meaning, parameters, own } = this.#methods.get(this.#form.method.value);
    element("meaning").textContent = meaning;
    this.#numbers = {};
    const [first, ...others] = Object.entries(parameters);
    element("strength").replaceChildren(...(first ? this.#slider(...first) : []));
    element("parameters").replaceChildren(...others.map((each) => this.#number(...each)));
    const set = own ?? (first ? { [first[0]]: first[1] } : {});
    for (const [name, value] of Object.entries(set)) {
      if (value !== null) this.#setNumber(name, rounded(value));
    }
  }

  /** A method's number as a field. */
  #number(name, value) {
    const field = make("input", { type: "number", step: "any", placeholder: value ?? "none" });
    field.dataset.parameter = name;
    return make("label", { textContent: inWords(name) }, field);
  }

  /** Its first number, which says how far it steers. */
  #slider(name, value) {
    const slider = make("input", { type: "range", min: 0, max: FURTHEST, step: 0.05, id: "how-far" });
    slider.defaultValue = value;
    const field = make("input", { type: "number", step: "any", placeholder: value });
    field.ariaLabel = `${inWords(name)}, as a number`;
    slider.dataset.parameter = field.dataset.parameter = name;
    const label = make("label", { htmlFor: slider.id, textContent: inWords(name) });
    const names = name === "strength" ? this.#namedStrengths() : [];
    return [label, make("div", { className: "row" }, slider, field), ...names];
  }

  #namedStrengths() {
    const buttons = Object.entries(this.#strengths).map(([name, value]) => {
      const button = make("button", { type: "button", textContent: name });
      button.dataset.strength = rounded(value);
      button.addEventListener("click", () => {
        this.#setNumber("strength", button.dataset.strength);
        this.#changed(button);
      });
      return button;
    });
    const group = make("div", { className: "chips", role: "group" }, ...buttons);
    group.ariaLabel = "Named strengths";
    return [group];
  }

  // --- The link ---

  #fragment() {
    const said = new URLSearchParams();
    for (const name of LINKED) {
      const field = this.#form[name];
      const value = field.type === "checkbox" ? field.checked && "yes" : field.value;
      if (value) said.set(name, value);
    }
    said.set("method", this.method);
    return said;
  }

  #restore() {
    const said = new URLSearchParams(location.hash.slice(1));
    for (const name of LINKED.filter((each) => said.has(each) && each !== "method")) {
      const field = this.#form[name];
      if (field.type === "checkbox") field.checked = said.get(name) === "yes";
      else field.value = said.get(name);
    }
    if (!this.#form.measure.value) this.#form.measure.selectedIndex = 0;
    this.#restoreMethod(said.get("method") ?? "");
    this.onMeasure();
  }

  #restoreMethod(text) {
    const [name, numbers = ""] = text.split(":");
    if (!this.#methods.has(name)) return;
    this.#form.method.value = name;
    this.#showMethod();
    for (const [parameter, value] of new URLSearchParams(numbers.replaceAll(",", "&"))) {
      if (parameter in this.#methods.get(name).parameters && Number.isFinite(Number(value))) {
        this.#setNumber(parameter, value);
      }
    }
  }
}

const inWords = (name) => name[0].toUpperCase() + name.slice(1).replaceAll("_", " ");
const rounded = (number) => Math.round(number * 100) / 100; // as fields show it
