// The page as a whole: what the program tells goes to the stage, the strip and the panel.
import { openIntake, setLimits } from "./intake.js";
import { openPanel, setChoices, showPanel } from "./panel.js";
import { listen } from "./server.js";
import { show } from "./stage.js";
import { markInStrip, openStrip, putInStrip, takeFromStrip } from "./strip.js";
import { fillIn, say } from "./words.js";

const photos = new Map();
const status = document.querySelector("#status"), working = document.querySelector("#working");
let chosen = null;

/** Say what has happened, for as long as it takes to read it. */
function tell(sentence) {
  status.textContent = sentence;
  clearTimeout(tell.end);
  tell.end = setTimeout(() => (status.textContent = ""), 4000 + 60 * sentence.length);
}

function choose(id) {
  chosen = id;
  sessionStorage.chosen = id ?? "";
  showChosen();
}

function showChosen() {
  const photo = photos.get(chosen) ?? null;
  document.querySelector("#welcome").hidden = photos.size > 0;
  document.querySelector("#save-all").hidden = [...photos.values()].filter((other) => other.status === "done").length < 2;
  document.body.classList.toggle("empty", !photos.size);
  showPanel(photo);
  show(photo);
  showWorking(photo);
  const nothing = document.querySelector("#nothing"); // to see: it is not read yet, or cannot be
  nothing.hidden = !photo || photo.size[0] > 0;
  if (photo) nothing.firstChild.textContent = say(photo.status, { percent: 0 });
  markInStrip(chosen);
}

function showWorking(photo) {
  working.hidden = !photo || !["reading", "waiting", "working"].includes(photo.status);
  if (working.hidden) return;
  const [label, progress] = working.children;
  label.textContent = say(photo.status, { percent: Math.round(100 * photo.progress) });
  if (photo.status === "working") progress.value = photo.progress;
  else progress.removeAttribute("value");
}

function take(photo) {
  const before = photos.get(photo.id);
  photos.set(photo.id, photo);
  putInStrip(photo);
  if (before && before.status !== photo.status && ["done", "failed"].includes(photo.status)) tell(say(photo.status === "done" ? "finished" : "broken", { name: photo.name }));
  chosen ??= photo.id;
}

function hear(news) {
  if (news.photos) {
    setChoices(news);
    setLimits(news);
    for (const id of photos.keys()) drop(id);
    chosen = null;
    for (const photo of news.photos) take(photo);
    if (photos.has(sessionStorage.chosen)) chosen = sessionStorage.chosen;
    showChosen();
  } else if (news.photo) {
    take(news.photo);
    showChosen();
  } else if (news.progress) {
    const [id, share] = news.progress, photo = photos.get(id);
    if (!photo) return;
    photo.progress = share;
    putInStrip(photo);
    if (id === chosen) {
      showWorking(photo);
      showPanel(photo);
    }
  } else if (news.removed) {
    const left = drop(news.removed);
    if (chosen === news.removed) choose(left[0] ?? null);
    else showChosen();
  }
}

function drop(id) {
  photos.delete(id);
  return takeFromStrip(id);
}

fillIn();
openPanel(tell);
openIntake(tell);
openStrip(choose);
listen(hear, (lost) => (document.querySelector("#ended").hidden = !lost));
