// What is stored of the user, to be read, added to, changed and forgotten.

import { element, make, say } from "./dom.js";

export class StoredPreferences {
  #list = element("stored-list");
  #offered = {};

  constructor(server) {
    this.server = server;
    element("user").addEventListener("change", ({ target }) => {
      server.user = target.value.trim();
      this.offer(this.#offered).catch((error) => say(error.message));
    });
    element("remember").addEventListener("submit", (event) => {
      event.preventDefault();
      const field = element("stored-text");
      this.#change("POST", "v1/preferences", { preference: field.value.trim() }, "Remembered.");
      field.value = "";
    });
  }

  /** Show what is stored, if there is a store and a user. */
  async offer(offered) {
    const { keeps_preferences: keeps, user, names_users: isNamed } = offered;
    this.#offered = offered;
    element("stored").hidden = !keeps;
    element("user-row").hidden = !isNamed;
    if (!isNamed) this.server.user = "";
    if (!keeps) return;
    const isSomebody = Boolean(user || this.server.user);
    element("remember").hidden = !isSomebody;
    element("stored-note").textContent = isSomebody
      ? "They count where no preference is given above."
      : "Name a user, and what is stored for them is here.";
    if (!isSomebody) this.#list.replaceChildren();
    else this.#show(await this.server.get("v1/preferences", this.#whose));
  }

  get #whose() {
    return this.server.user ? { user: this.server.user } : {};
  }

  #show({ data, expired }) {
    const over = expired.map((each) => this.#item(each, true));
    this.#list.replaceChildren(...data.map((each) => this.#item(each)), ...over);
  }

  /** A line of the list; of what is over there is nothing to change. */
  #item(stored, isOver = false) {
    const change = make("button", { type: "button", textContent: "Change" });
    const forget = make("button", { type: "button", textContent: "Forget" });
    change.ariaLabel = `Change: ${stored.text}`;
    forget.ariaLabel = `Forget: ${stored.text}`;
    forget.addEventListener("click", () => this.#forget(stored.text, "Forgotten."));
    const buttons = make("span", { className: "row" }, ...(isOver ? [forget] : [change, forget]));
    const details = make("small", { textContent: detailsOf(stored, isOver) });
    const item = make("li", {}, make("span", { textContent: stored.text }), details, buttons);
    change.addEventListener("click", () => this.#edit(item, stored));
    return item;
  }

  #edit(item, stored) {
    const field = make("input", { value: stored.text, required: true });
    field.ariaLabel = "Preference";
    const form = make("form", { className: "row" }, field, make("button", { textContent: "Save" }));
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      const changed = { ...stored, text: field.value.trim() };
      // Added before the old one is forgotten, so that a fault in between loses nothing.
      if (changed.text !== stored.text && (await this.#change("POST", "v1/preferences", { preference: changed }))) {
        await this.#forget(stored.text, "Changed.");
      } else await this.#reload();
    });
    item.replaceChildren(form);
    field.focus();
  }

  async #forget(text, done) {
    if (!(await this.#change("POST", "v1/preferences/forget", { text }))) return;
    await this.#reload();
    say(done);
    element("stored-text").focus(); // the button that had the focus is gone
  }

  async #reload() {
    this.#show(await this.server.get("v1/preferences", this.#whose));
  }

  /** Whether a change was made; what was said against it is told. */
  async #change(method, path, body, done = "") {
    try {
      const answer = await this.server.send(method, path, { ...body, ...this.#whose });
      if (done) this.#show(answer);
      if (done) say(done);
      return true;
    } catch (error) {
      say(error.message);
      return false;
    }
  }
}

/** What is kept with a preference's text, in words. */
function detailsOf({ strength, weight, when, expires_at: end }, isOver) {
  return [
    strength !== null && `strength ${strength}`,
    weight !== 1 && `weight ${weight}`,
    when.length && `about ${when.join(", ")}`,
    end && `${isOver ? "over since" : "until"} ${new Date(end).toLocaleDateString()}`,
  ]
    .filter(Boolean)
    .join(", ");
}
