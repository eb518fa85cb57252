// The part of the photo that is to be sharpened: a rectangle, drawn by the pointer or moved by the arrow keys.
import { drawWith, onStage } from "./stage.js";

const box = document.querySelector("#region");
const LEAST = 8; // pixels a side

let size = null, corner = null, rectangle = null;

/** Begin: a rectangle in the middle of a photo of this [height, width]. */
export function startRegion([height, width]) {
  size = [height, width];
  rectangle = [Math.round(width / 3), Math.round(height / 3), Math.ceil(width / 3), Math.ceil(height / 3)];
  box.hidden = false;
  drawWith({ down: (at) => (corner = at), move: draw, up: () => (corner = null) }, place);
  box.focus({ preventScroll: true });
}

/** End it; the rectangle [x, y, width, height], whole pixels inside the photo. */
export function endRegion() {
  box.hidden = true;
  size = null;
  drawWith(null);
  return rectangle;
}

function draw(at) {
  const [height, width] = size;
  const span = (from, to, most) => {
    const start = Math.max(0, Math.min(Math.floor(Math.min(from, to)), most - LEAST));
    return [start, Math.max(LEAST, Math.min(Math.ceil(Math.max(from, to)), most) - start)];
  };
  const [left, w] = span(corner[0], at[0], width), [top, h] = span(corner[1], at[1], height);
  rectangle = [left, top, Math.min(w, width), Math.min(h, height)];
  place();
}

function place() {
  if (!size) return;
  const [left, top, width, height] = onStage(rectangle);
  Object.assign(box.style, { left: `${left}px`, top: `${top}px`, width: `${width}px`, height: `${height}px` });
}

box.onkeydown = (event) => {
  const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
  if (!way) return;
  event.preventDefault();
  const [height, width] = size, step = Math.max(1, Math.round(Math.max(height, width) / 50)), [left, top, w, h] = rectangle;
  const between = (value, least, most) => Math.max(Math.min(least, most), Math.min(most, value));
  rectangle = event.shiftKey
    ? [left, top, between(w + way[0] * step, LEAST, width - left), between(h + way[1] * step, LEAST, height - top)]
    : [between(left + way[0] * step, 0, width - w), between(top + way[1] * step, 0, height - h), w, h];
  place();
};
