// The page's parts, put together. What each does is in the module of its name.

import { Server } from "./server.js";
import { Settings } from "./settings.js";
import { Conversation } from "./conversation.js";
import { StoredPreferences } from "./stored.js";
import { Identity } from "./identity.js";
import { followScheme } from "./scheme.js";
import { element, say } from "./dom.js";

const server = new Server(new URL(".", document.baseURI));
const settings = new Settings();
const stored = new StoredPreferences(server);
const conversation = new Conversation(server, settings, stored);
const identity = new Identity(server, connect);

async function connect() {
  try {
    const offer = await server.get("v1/steering");
    element("model").textContent = offer.model;
    settings.offer(offer);
    conversation.offer(offer);
    identity.show(offer);
    await stored.offer(offer);
  } catch (error) {
    identity.refused(error);
    say(error.message);
  }
}

followScheme();
element("copy-link").addEventListener("click", async () => {
  // Without a secure context, such as on another machine's plain HTTP, there is no clipboard.
  await navigator.clipboard?.writeText(location.href);
  say(navigator.clipboard ? "The link is copied." : "The link is in the address bar.");
});

// On a phone the settings are folded away, so that the conversation is what is seen first.
const wide = matchMedia("(min-width: 60rem)");
const unfold = () => (element("panel").open = wide.matches);
wide.addEventListener("change", unfold);
unfold();
connect();
