// The picture of a card: how strongly the heat map covers it, and a magnifier over picture, map and boxes together.

import { ask } from "./api.js";

const SHARPEST = 4096; // longer side in pixels of the picture under the magnifier
const POWERS = [2, 3, 4, 6, 8, 12]; // magnification of what is shown
const STEP = 0.02, LEAP = 0.1; // of the shown width or height, a key with and without Shift
const FINGER = 90; // pixels between a finger and the magnifier above it
const MOVES = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

/** Add slider and magnifier to the card of an entry. */
export function addViewer(card, entry) {
  const figure = card.querySelector(".look");
  const stage = figure.querySelector(".stage:not(.printed)");
  if (!stage) return;
  const tools = document.getElementById("tools").content.firstElementChild.cloneNode(true);
  const slider = tools.querySelector("input");
  if (stage.querySelector(".heat")) {
    slider.addEventListener("input", () => figure.style.setProperty("--map", slider.value / 100));
  } else {
    tools.querySelector(".opacity").remove();
  }
  figure.append(tools);
  new Magnifier(figure, stage, tools, entry);
}

class Magnifier {
  constructor(figure, stage, tools, entry) {
    Object.assign(this, { figure, stage, tools, entry });
    this.button = tools.querySelector(".glass");
    this.place = [0.5, 0.5]; // shares of the picture's width and height
    this.power = 1; // index into POWERS
    this.lens = null;
    this.button.addEventListener("click", (event) => this.turn(!this.lens, event.detail === 0));
    stage.addEventListener("pointermove", (event) => this.follow(event));
    stage.addEventListener("pointerdown", (event) => this.follow(event));
    stage.addEventListener("keydown", (event) => this.pressed(event));
    stage.addEventListener("wheel", (event) => this.turned(event), { passive: false });
    stage.addEventListener("focus", () => this.show(0));
    new ResizeObserver(() => this.show(0)).observe(stage);
  }

  turn(on, byKey) {
    this.button.setAttribute("aria-pressed", on);
    this.tools.querySelector(".spot").hidden = !on;
    this.stage.classList.toggle("magnified", on);
    if (on) {
      this.lens = this.glass();
      this.figure.append(this.lens);
      this.stage.tabIndex = 0;
      this.stage.setAttribute("role", "application");
      const keys = "arrow keys move it, plus and minus change its power, Escape ends it";
      this.stage.setAttribute("aria-label", `Magnifier over ${this.entry.name}: ${keys}`);
      this.show(0);
      if (byKey) this.stage.focus();
      this.sharpen();
    } else {
      this.lens.remove();
      this.lens = null;
      for (const name of ["tabindex", "role", "aria-label"]) this.stage.removeAttribute(name);
    }
  }

  /** The lens: copies of the picture, its map and its boxes, to be enlarged. */
  glass() {
    const lens = document.createElement("div"), sheet = document.createElement("div");
    lens.className = "lens";
    lens.setAttribute("aria-hidden", "true");
    for (const layer of this.stage.children) sheet.append(layer.cloneNode(true));
    lens.append(sheet);
    if (this.sharp) sheet.querySelector(".base").src = this.sharp;
    return lens;
  }

  /** Take the picture itself in place of the card's small copy. */
  async sharpen() {
    if (this.sharp || !this.entry.verdict) return;
    try {
      const blob = await ask(`v1/verdicts/${this.entry.verdict}/picture.jpg?side=${SHARPEST}`);
      this.sharp = URL.createObjectURL(blob);
      this.entry.urls.push(this.sharp);
      if (this.lens) this.lens.querySelector(".base").src = this.sharp;
    } catch {
      // The small copy is still there.
    }
  }

  follow(event) {
    if (!this.lens) return;
    const box = this.stage.getBoundingClientRect();
    this.place = [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
    this.show(event.pointerType === "touch" ? FINGER : 0);
  }

  pressed(event) {
    if (!this.lens || event.altKey || event.ctrlKey || event.metaKey) return;
    const move = MOVES[event.key];
    const step = event.shiftKey ? LEAP : STEP;
    if (move) this.place = this.place.map((share, axis) => share + step * move[axis]);
    else if (event.key === "+" || event.key === "=") this.power += 1;
    else if (event.key === "-") this.power -= 1;
    else if (event.key === "Escape") {
      this.turn(false);
      this.button.focus();
    } else return;
    event.preventDefault();
    this.show(0);
  }

  turned(event) {
    if (!this.lens || !event.ctrlKey) return;
    event.preventDefault();
    this.power += event.deltaY < 0 ? 1 : -1;
    this.show(0);
  }

  /** Draw the lens at its place, `above` pixels higher, and say which pixel is in its middle. */
  show(above) {
    if (!this.lens) return;
    this.place = this.place.map((share) => Math.min(1, Math.max(0, share)));
    this.power = Math.min(POWERS.length - 1, Math.max(0, this.power));
    const [x, y] = this.place, power = POWERS[this.power];
    const stage = this.stage.getBoundingClientRect(), figure = this.figure.getBoundingClientRect();
    const radius = this.lens.offsetWidth / 2;
    const within = (value, least, most) => Math.max(least, Math.min(most, value));
    const left = within(stage.left - figure.left + x * stage.width, radius, Math.max(radius, figure.width - radius));
    const top = Math.max(radius - above, stage.top - figure.top + y * stage.height - above);
    this.lens.style.translate = `${left - radius}px ${top - radius}px`;
    const inner = this.lens.clientWidth / 2;
    const sheet = this.lens.firstElementChild.style;
    sheet.width = `${power * stage.width}px`;
    sheet.height = `${power * stage.height}px`;
    sheet.translate = `${inner - x * power * stage.width}px ${inner - y * power * stage.height}px`;
    this.tools.querySelector("output").textContent = this.pixel(x, y, power);
  }

  pixel(x, y, power) {
    const [width, height] = this.size();
    const at = (share, size) => Math.min(size - 1, Math.floor(share * size));
    return `x ${at(x, width)}, y ${at(y, height)}; ${power}×`;
  }

  size() {
    this.measured ??= (({ width, height }) => [width, height])(JSON.parse(this.entry.text));
    return this.measured;
  }
}
