// The photo, before and after: two sides that lie exactly on each other, moved and zoomed together, and a divider between them.
// Both sides have the same transform; the upper one, after, is cut off at the divider, and its opacity is the strength: so the browser mixes both as the program does.
import { picture } from "./server.js";

const TILE = 1024, WHOLE = 2048; // as the program makes them
const MOST = 8; // device pixels a side of one of the photo's
const NEAR = 24; // px around the divider in which it is taken hold of

const stage = document.querySelector("#stage");
const sides = ["before", "after"].map((name) => ({ name, element: stage.querySelector(`.side.${name}`), sheet: stage.querySelector(`.side.${name} .sheet`) }));
const divider = document.querySelector("#divider"), slider = divider.querySelector("input");
const tags = stage.querySelectorAll(".tag");

let photo = null; // as the program tells of it
let shown = ""; // of which photo and result the pictures are
let scale = 1, x = 0, y = 0; // of the sheets: CSS px a pixel of the photo; where its corner lies on the stage
let fitted = true;
let region = null; // gets the pointer while a region is drawn
let moved = () => {};

export const isDone = () => photo?.status === "done";

/** Show a photo; what was zoomed to stays in sight as long as it is the same. */
export function show(next) {
  const same = photo && next && photo.id === next.id;
  photo = next?.size[0] ? next : null;
  stage.hidden = !photo;
  if (!photo) return void (shown = "");
  const key = `${photo.id} ${photo.version} ${isDone()}`;
  if (key !== shown) {
    shown = key;
    for (const side of sides) fill(side);
  }
  divider.hidden = !isDone();
  for (const tag of tags) tag.hidden = !isDone();
  if (!same) fit();
  else draw();
}

/** How much of the result is mixed in, 0 to 1. */
export function setStrength(share) {
  sides[1].sheet.style.opacity = share;
}

/** While `handlers` is not null, the pointer draws a region: {down, move, up} get points of the photo. onMove: is called when photo and stage have moved. */
export function drawWith(handlers, onMove) {
  region = handlers;
  moved = onMove ?? (() => {});
  stage.classList.toggle("drawing", Boolean(handlers));
  draw();
}

/** A rectangle of the photo, [x, y, width, height], as one of the stage. */
export const onStage = ([left, top, width, height]) => [x + left * scale, y + top * scale, width * scale, height * scale];

function fill({ name, sheet }) {
  sheet.replaceChildren();
  const [height, width] = photo.size;
  sheet.style.width = `${width}px`;
  sheet.style.height = `${height}px`;
  if (name === "after" && !isDone()) return;
  put(sheet, `${name}-whole`, 0, 0, width, height);
}

function put(sheet, name, left, top, width, height) {
  const image = new Image();
  image.alt = "";
  image.draggable = false;
  image.dataset.name = name;
  Object.assign(image.style, { left: `${left}px`, top: `${top}px`, width: `${width}px`, height: `${height}px` });
  image.src = picture(photo, `${name}.jpg`);
  sheet.append(image);
}

/** The tiles that are in sight, where the whole, made small, is not sharp enough. */
function putTiles() {
  const [height, width] = photo.size;
  if (Math.max(height, width) <= WHOLE || scale * devicePixelRatio <= WHOLE / Math.max(height, width)) return;
  for (let row = Math.max(0, Math.floor(-y / scale / TILE)); row * TILE < Math.min(height, (stage.clientHeight - y) / scale); row++) {
    for (let column = Math.max(0, Math.floor(-x / scale / TILE)); column * TILE < Math.min(width, (stage.clientWidth - x) / scale); column++) {
      for (const { name, sheet } of sides) {
        const tile = `${name}-${row}-${column}`;
        if ((name === "after" && !isDone()) || sheet.querySelector(`[data-name="${tile}"]`)) continue;
        const left = column * TILE, top = row * TILE;
        put(sheet, tile, left, top, Math.min(TILE, width - left), Math.min(TILE, height - top));
      }
    }
  }
}

const fitting = () => Math.min(stage.clientWidth / photo.size[1], stage.clientHeight / photo.size[0], MOST / devicePixelRatio);

/** All of the photo. */
export function fit() {
  fitted = true;
  scale = fitting();
  x = y = 0;
  draw();
}

/** So many device pixels a side of one of the photo's; what is at a point of the stage stays there. */
export function zoomTo(zoom, atX = stage.clientWidth / 2, atY = stage.clientHeight / 2) {
  const least = Math.min(fitting(), 1 / devicePixelRatio);
  const next = Math.min(Math.max(zoom / devicePixelRatio, least), MOST / devicePixelRatio);
  fitted = next === fitting();
  x = atX - (atX - x) * (next / scale);
  y = atY - (atY - y) * (next / scale);
  scale = next;
  draw();
}

function draw() {
  if (!photo || !stage.clientWidth) return;
  const [height, width] = photo.size;
  const within = (at, room, length) => (length <= room ? (room - length) / 2 : Math.min(0, Math.max(room - length, at)));
  x = Math.round(within(x, stage.clientWidth, width * scale));
  y = Math.round(within(y, stage.clientHeight, height * scale));
  for (const { sheet } of sides) {
    sheet.style.transform = `translate(${x}px, ${y}px) scale(${scale})`;
    sheet.classList.toggle("pixels", scale * devicePixelRatio >= 2);
  }
  for (const button of document.querySelectorAll("#zoom button")) {
    const zoom = button.dataset.zoom;
    button.ariaPressed = zoom === "fit" ? fitted : !fitted && Math.abs(scale * devicePixelRatio - zoom) < 1e-6;
  }
  putTiles();
  divide();
  moved();
}

/** Where the photo is in sight, from left to right. */
const inSight = () => [Math.max(0, x), Math.min(stage.clientWidth, x + photo.size[1] * scale)];

function divide() {
  const [left, right] = inSight(), at = left + ((right - left) * slider.value) / 100;
  divider.style.left = `${at}px`;
  sides[1].element.style.clipPath = isDone() ? `inset(0 0 0 ${at}px)` : "";
  slider.ariaValueText = `${Math.round(slider.value)} %`;
  tags[0].style.left = `${left + 12}px`;
  tags[1].style.right = `${stage.clientWidth - right + 12}px`;
}

// The pointer: one finger moves the divider or, zoomed in and away from it, the photo; two zoom.
const fingers = new Map();
let doing = null;

const point = (event) => {
  const { left, top } = stage.getBoundingClientRect();
  return [event.clientX - left, event.clientY - top];
};
const onPhoto = ([px, py]) => [(px - x) / scale, (py - y) / scale];

stage.onpointerdown = (event) => {
  if (event.target.closest("button") || event.button) return;
  const at = point(event);
  fingers.set(event.pointerId, at);
  stage.setPointerCapture(event.pointerId);
  const overflows = photo.size[1] * scale > stage.clientWidth + 1 || photo.size[0] * scale > stage.clientHeight + 1;
  const near = Math.abs(at[0] - parseFloat(divider.style.left)) < NEAR;
  doing = fingers.size > 1 ? "pinch" : region ? "region" : isDone() && (near || !overflows) ? "divide" : "pan";
  if (doing === "region") region.down(onPhoto(at));
  if (doing === "divide") {
    moveDivider(at);
    slider.focus({ preventScroll: true });
    event.preventDefault();
  }
};

stage.onpointermove = (event) => {
  const before = fingers.get(event.pointerId), at = point(event);
  if (!before) return;
  if (doing === "pinch") pinch(event.pointerId, at);
  fingers.set(event.pointerId, at);
  if (doing === "divide") moveDivider(at);
  if (doing === "region") region.move(onPhoto(at));
  if (doing === "pan") {
    x += at[0] - before[0];
    y += at[1] - before[1];
    draw();
  }
};

stage.onpointerup = stage.onpointercancel = (event) => {
  if (fingers.delete(event.pointerId) && doing === "region") region.up();
  doing = fingers.size ? "pan" : null;
};

function moveDivider([px]) {
  const [left, right] = inSight();
  slider.value = (100 * (px - left)) / (right - left);
  divide();
}

function pinch(id, at) {
  const other = [...fingers].find(([finger]) => finger !== id)?.[1], before = fingers.get(id);
  if (!other) return;
  const apart = (a, b) => Math.hypot(a[0] - b[0], a[1] - b[1]);
  zoomTo((scale * devicePixelRatio * apart(at, other)) / Math.max(1, apart(before, other)), (at[0] + other[0]) / 2, (at[1] + other[1]) / 2);
}

stage.addEventListener("wheel", (event) => {
  event.preventDefault();
  zoomTo(scale * devicePixelRatio * Math.exp(-event.deltaY / (event.deltaMode ? 20 : 500)), ...point(event));
}, { passive: false });

stage.ondblclick = (event) => {
  if (event.target.closest("button") || region) return;
  if (fitted) zoomTo(1, ...point(event));
  else fit();
};

stage.onkeydown = (event) => {
  if (event.target !== stage || event.ctrlKey || event.metaKey || event.altKey) return;
  const step = 60, steps = { ArrowLeft: [step, 0], ArrowRight: [-step, 0], ArrowUp: [0, step], ArrowDown: [0, -step] }[event.key];
  if (steps) {
    x += steps[0];
    y += steps[1];
    draw();
  } else if (event.key === "+" || event.key === "=") zoomTo(scale * devicePixelRatio * 1.25);
  else if (event.key === "-") zoomTo((scale * devicePixelRatio) / 1.25);
  else if (event.key === "0") fit();
  else if (event.key === "1" || event.key === "4") zoomTo(Number(event.key));
  else return;
  event.preventDefault();
};

slider.oninput = divide;
document.querySelector("#zoom").onclick = ({ target }) => {
  if (target.dataset.zoom === "fit") fit();
  else if (target.dataset.zoom) zoomTo(Number(target.dataset.zoom));
};
new ResizeObserver(() => photo && (fitted ? fit() : draw())).observe(stage);
