// What there is to say of the photo that is shown, and to do with it.
import * as server from "./server.js";
import { endRegion, startRegion } from "./region.js";
import { setStrength } from "./stage.js";
import { say, translated } from "./words.js";

const get = (id) => document.querySelector(`#${id}`);
const panel = get("panel"), strength = get("strength"), weights = get("weights"), shake = get("shake"), format = get("format");

let photo = null, drawing = false, sliding = false;
let formats = [];
let wishes = Promise.resolve(); // one after the other, so that the last one holds

const wish = (id, wished) => (wishes = wishes.catch(() => {}).then(() => server.wish(id, wished)));

/** tell: is given a sentence on what has happened. */
export function openPanel(tell) {
  const doing = (action) => async () => {
    try {
      await action();
    } catch (error) {
      tell(error.message);
    }
  };
  strength.oninput = () => {
    sliding = true;
    showStrength();
  };
  strength.onchange = doing(async () => {
    sliding = false;
    await wish(photo.id, { percent: Number(strength.value) });
  });
  format.onchange = doing(() => wish(photo.id, { extension: format.value }));
  weights.onchange = doing(() => server.sharpen(photo.id, { weights: weights.value, region: photo.wish.region }));
  shake.onchange = doing(() => server.sharpen(photo.id, { shake: shake.value, region: photo.wish.region }));
  get("draw").onclick = () => setDrawing(true);
  get("undraw").onclick = () => setDrawing(false);
  get("sharpen-region").onclick = doing(() => server.sharpen(photo.id, { region: setDrawing(false) }));
  get("whole").onclick = doing(() => server.sharpen(photo.id, { region: null }));
  get("again").onclick = doing(() => server.sharpen(photo.id, { region: photo.wish.region }));
  get("stop").onclick = doing(() => server.stop(photo.id));
  get("remove").onclick = doing(() => server.remove(photo.id));
  get("save").onclick = doing(async () => {
    tell(say("saving"));
    const { id, name } = photo;
    const { download } = await wish(id, { percent: Number(strength.value), extension: format.value });
    await server.save(id);
    tell(say("saved", { name: download ?? name }));
  });
  get("save-all").onclick = doing(async () => {
    tell(say("saving"));
    await wishes;
    await server.save();
    tell(say("saved", { name: "sharp.zip" }));
  });
}

/** What there is to choose from, as the program says. */
export function setChoices(told) {
  weights.replaceChildren(...told.weights.map((name) => new Option(name)));
  formats = told.formats;
}

/** Show what is known of a photo, or nothing. */
export function showPanel(next) {
  const other = next?.id !== photo?.id;
  if (drawing && (other || next.status !== "done")) setDrawing(false);
  photo = next;
  panel.hidden = !photo;
  if (!photo) return;
  const done = photo.status === "done", busy = ["reading", "waiting", "working"].includes(photo.status);
  get("name").replaceChildren(...photo.name.split(/(?<=[_.-])/).flatMap((part) => [part, document.createElement("wbr")]));
  get("told").lastChild.textContent = done ? inWords(photo) : photo.error ? "" : say(photo.status, { percent: Math.round(100 * photo.progress) });
  get("kernel").hidden = !(done && photo.changed.shake.length_px);
  if (!get("kernel").hidden) get("kernel").src = server.picture(photo, "kernel.png");
  showProblem();
  get("notes").replaceChildren(...photo.notes.map((note) => Object.assign(document.createElement("li"), { textContent: note })));
  get("controls").hidden = !done && !(photo.status === "stopped");
  for (const id of ["strength", "draw", "format"]) get(id).disabled = !done;
  get("save").hidden = !done;
  get("again").hidden = done || busy || !photo.size[0];
  get("stop").hidden = !["waiting", "working"].includes(photo.status);
  weights.value = photo.wish.weights;
  shake.value = photo.wish.shake;
  format.replaceChildren(...[...new Set([photo.own, ...formats])].map((end) => new Option(end === photo.own ? `${nameOf(end)} (${say("own")})` : nameOf(end), end)));
  format.value = photo.extension;
  sliding &&= !other;
  if (other || !(sliding || document.activeElement === strength)) strength.value = photo.percent; // or what is told of the last step would undo the next
  showStrength();
  showDrawing();
}

function showStrength() {
  document.querySelector("#controls output").textContent = `${strength.value} %`;
  setStrength(strength.value / 100);
}

function showProblem() {
  const problem = get("problem"), [title, error, hint] = problem.children;
  problem.hidden = !photo.error;
  title.textContent = say("failed");
  const known = translated(photo.error, photo.hint);
  error.lang = known ? document.documentElement.lang : "en";
  error.textContent = known ?? sentence(photo.error);
  hint.textContent = known ? "" : sentence(photo.hint);
}

function setDrawing(on) {
  drawing = on;
  const rectangle = on ? startRegion(photo.size) : endRegion();
  showDrawing();
  return rectangle;
}

function showDrawing() {
  get("draw").hidden = drawing;
  get("whole").hidden = drawing || !photo.wish.region;
  for (const id of ["sharpen-region", "undraw", "region-help"]) get(id).hidden = !drawing;
}

/** What was changed. */
function inWords({ changed, wish }) {
  const { rms, gain, barely, shake: seen } = changed, words = [];
  if (seen.outcome === "undone") words.push(say(seen.share > 0.95 ? "undone" : "undonePart", { length: Math.round(seen.length_px), share: Math.round(100 * seen.share) }));
  else if (seen.outcome) words.push(say(seen.outcome));
  words.push(barely ? say("barely") : say("changed", { edges: Math.round(100 * (gain - 1)), levels: rms.toLocaleString(document.documentElement.lang, { maximumFractionDigits: 1 }) }));
  if (wish.region) words.push(say("part"));
  return words.join(" ");
}

const nameOf = (extension) => ({ jpg: "JPEG", jpeg: "JPEG", tif: "TIFF", tiff: "TIFF", webp: "WebP", jxl: "JPEG XL" })[extension.slice(1).toLowerCase()] ?? extension.slice(1).toUpperCase();
const sentence = (text) => (text ? text[0].toUpperCase() + text.slice(1) + (/[.!?)]$/.test(text) ? "" : ".") : "");
