// Light or dark, as the system has it or as the reader likes it better.

import { element } from "./dom.js";

const KEPT = "amulet-scheme";

export function followScheme() {
  const select = element("scheme");
  const show = () => (document.documentElement.style.colorScheme = select.value);
  select.value = localStorage.getItem(KEPT) ?? select.value;
  select.addEventListener("change", () => {
    localStorage.setItem(KEPT, select.value);
    show();
  });
  show();
}
