// What all parts of the page do with its elements. Texts are set as texts, never as markup.

/** The element with this id. */
export const element = (id) => document.getElementById(id);

/** A new element with properties of its own, and children: elements or texts. */
export function make(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

/** Tell those who listen to the page. */
export function announce(text) {
  element("status").textContent = text;
  element("status").classList.add("unseen");
}

/** The same, and show it for a moment. */
export function say(text) {
  announce(text);
  element("status").classList.remove("unseen");
  clearTimeout(say.timer);
  say.timer = setTimeout(() => element("status").classList.add("unseen"), 4000);
}
