// Photos on their way in: dropped, pasted or chosen, alone or in folders.
import { upload } from "./server.js";
import { say } from "./words.js";

const waiting = [];
let running = false, done = 0, all = 0;
let limits = { extensions: [], maxBytes: Infinity };
let tell = () => {};

/** tellStatus: is given a sentence on how far it is. */
export function openIntake(tellStatus) {
  tell = tellStatus;
  const files = document.querySelector("#files"), folder = document.querySelector("#folder");
  for (const input of [files, folder]) {
    input.onchange = () => {
      add([...input.files], input === folder);
      input.value = "";
    };
  }
  document.querySelector("#add").onclick = document.querySelector("#choose").onclick = () => files.click();
  document.querySelector("#add-folder").onclick = () => folder.click();
  document.onpaste = (event) => add([...event.clipboardData.files], false);
  let inside = 0;
  const dropping = (change) => document.body.classList.toggle("dropping", (inside = Math.max(0, inside + change)) > 0);
  document.ondragenter = () => dropping(1);
  document.ondragleave = () => dropping(-1);
  document.ondragover = (event) => event.preventDefault();
  document.ondrop = async (event) => {
    event.preventDefault();
    dropping(-inside);
    const entries = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry?.());
    if (!entries.some((entry) => entry?.isDirectory)) return add([...event.dataTransfer.files], false);
    add((await Promise.all(entries.filter(Boolean).map(filesIn))).flat(), true);
  };
  window.onbeforeunload = (event) => {
    if (running) event.preventDefault(); // files that are not here yet would be lost
  };
}

/** What the program takes, as it says itself. */
export function setLimits(told) {
  limits = told;
  document.querySelector("#files").accept = ["image/*", ...told.extensions].join(",");
}

async function filesIn(entry) {
  if (entry.isFile) return [await new Promise((resolve, reject) => entry.file(resolve, reject))];
  const reader = entry.createReader(), found = [];
  for (;;) { // it gives a hundred at a time
    const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (!some.length) break;
    found.push(...some);
  }
  return (await Promise.all(found.map(filesIn))).flat();
}

/** Of a folder only what looks like a photo; what was named one by one is all tried. */
function add(files, fromFolder) {
  const looksLikePhoto = ({ name }) => !name.startsWith(".") && limits.extensions.some((end) => name.toLowerCase().endsWith(end));
  const photos = fromFolder ? files.filter(looksLikePhoto).sort((a, b) => a.name.localeCompare(b.name, undefined, { numeric: true })) : files;
  if (files.length && !photos.length) tell(say("noPhotos"));
  waiting.push(...photos);
  all += photos.length;
  if (!running) send();
}

/** One after the other, so that they come in their order. */
async function send() {
  running = true;
  while (waiting.length) {
    const file = waiting.shift();
    tell(say("adding", { done: done + 1, all }));
    try {
      if (file.size > limits.maxBytes) throw new Error(say("tooLarge", { name: file.name, size: limits.maxBytes / 1e9 }));
      await upload(file, file.name);
      tell("");
    } catch (error) {
      tell(error.message);
    }
    done++;
  }
  running = false;
  done = all = 0;
}
