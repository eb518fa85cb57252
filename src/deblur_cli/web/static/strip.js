// The strip of all photos: a small picture of each, and how far it is.
import { picture } from "./server.js";
import { say } from "./words.js";

const strip = document.querySelector("#strip"), list = strip.querySelector("ul");
const entries = new Map();
const BRIEF = { reading: "read", waiting: "queued", working: "share", failed: "problem" }; // the sentences that are too long for a small picture

/** choose: is called with the id of a photo that was clicked. */
export function openStrip(choose) {
  list.onclick = ({ target }) => {
    const id = target.closest("button")?.dataset.id;
    if (id) choose(id);
  };
}

/** Show a photo as it is now; a new one at the end. */
export function putInStrip(photo) {
  let entry = entries.get(photo.id);
  if (!entry) {
    entry = document.createElement("li");
    entry.innerHTML = "<button><img alt='' width='88' height='66' loading='lazy'><span class='name'></span><span class='state'></span><progress max='1'></progress></button>";
    entry.firstChild.dataset.id = photo.id;
    entries.set(photo.id, entry);
    list.append(entry);
  }
  const [button, image, name, state, progress] = [entry.firstChild, ...entry.firstChild.children];
  button.dataset.status = photo.status;
  name.textContent = photo.name;
  button.title = photo.name;
  state.textContent = say(BRIEF[photo.status] ?? photo.status, { percent: Math.round(100 * photo.progress) });
  progress.hidden = photo.status !== "working";
  progress.value = photo.progress;
  progress.ariaLabel = photo.name;
  const source = photo.size[0] ? picture(photo, `${photo.status === "done" ? "after" : "before"}-thumb.jpg`) : "";
  if (source && image.getAttribute("src") !== source) image.src = source;
  strip.hidden = false;
}

/** Take a photo out; the ids of those that are left, in order. */
export function takeFromStrip(id) {
  entries.get(id)?.remove();
  entries.delete(id);
  strip.hidden = !entries.size;
  return [...entries.keys()];
}

/** Mark the photo that is shown. */
export function markInStrip(id) {
  for (const [key, entry] of entries) {
    if (key === id) {
      entry.firstChild.setAttribute("aria-current", "true");
      entry.scrollIntoView({ block: "nearest", inline: "nearest" });
    } else entry.firstChild.removeAttribute("aria-current");
  }
}
