// Who is asking: an API key, where the server wants one.

import { announce, element } from "./dom.js";

const KEPT = "amulet-key"; // in sessionStorage: it ends with the tab

export class Identity {
  constructor(server, changed) {
    server.key = element("key").value = sessionStorage.getItem(KEPT) ?? "";
    element("key").addEventListener("change", ({ target }) => {
      server.key = target.value.trim();
      sessionStorage.setItem(KEPT, server.key);
      changed();
    });
    element("identity").addEventListener("submit", (event) => event.preventDefault());
    this.server = server;
  }

  /** Show what the server says of the caller. */
  show(offer) {
    const known = element("known-user");
    known.hidden = !offer.user;
    known.textContent = `You are ${offer.user}.`;
    element("identity").hidden = !(offer.user || this.server.key);
    if (element("key").validationMessage) announce(""); // what was said of another key
    element("key").setCustomValidity("");
  }

  /** Ask for a key, if it is that which was missing. */
  refused(error) {
    if (error.status !== 401) return;
    element("identity").hidden = false;
    element("panel").open = true;
    element("key").setCustomValidity(this.server.key ? error.message : "");
    element("key").focus();
  }
}
