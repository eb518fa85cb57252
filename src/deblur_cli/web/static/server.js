// What the page asks of the program, and what the program tells it. All addresses are relative: the token is in that of the page.
import { translated } from "./words.js";

async function ask(address, options) {
  const answer = await fetch(address, options);
  if (answer.status === 204) return null;
  const told = await answer.json();
  if (!answer.ok) throw new Error(translated(told.error, told.hint) ?? [told.error, told.hint].filter(Boolean).join(". "));
  return told;
}

const post = (address, value) => ask(address, { method: "POST", body: JSON.stringify(value ?? {}) });

export const upload = (file, name) => ask(`photos?name=${encodeURIComponent(name)}`, { method: "POST", body: file });
export const wish = (id, wished) => post(`photos/${id}`, wished);
export const sharpen = (id, how) => post(`photos/${id}/sharpen`, how);
export const stop = (id) => post(`photos/${id}/stop`);
export const remove = (id) => ask(`photos/${id}`, { method: "DELETE" });
export const picture = (photo, name) => `photos/${photo.id}/pictures/${name}?${photo.version}`;

/** Have the file made, then let the browser take it as a download. */
export async function save(id) {
  const { address } = await post(id === undefined ? "save" : `photos/${id}/save`);
  const link = document.createElement("a");
  link.href = address;
  link.download = "";
  link.click();
}

/** Call `hear` with all there is, and then with whatever changes; `lost(true)` when the program is gone, `lost(false)` when it is there. */
export function listen(hear, lost) {
  const events = new EventSource("events");
  events.onopen = () => lost(false);
  events.onerror = () => lost(true);
  events.onmessage = (event) => hear(JSON.parse(event.data));
}
