// The pictures of this session: a list of entries that are judged a few at a time, and the card of the chosen one.
// Everything is in memory and gone with the page.

import { addActions } from "./actions.js";
import { Problem, askJson } from "./api.js";
import { addViewer } from "./viewer.js";

const AT_ONCE = 3; // pictures on their way to the service
const MOST_ENTRIES = Number(document.body.dataset.most); // each holds its card, about 0.5 MB
const FILE_TYPE = "application/octet-stream", JSON_TYPE = "application/json";

const byId = (id) => document.getElementById(id);
const fresh = (id) => byId(id).content.firstElementChild.cloneNode(true);

export class Session {
  constructor() {
    this.entries = [];
    this.running = 0;
    this.number = 0;
    this.chosen = null;
    this.awaited = false; // whether the next card that is ready is shown by itself
    byId("forget").addEventListener("click", () => this.forget());
  }

  /** Add pictures, each {name, file} or {name, url}. */
  add(pictures) {
    const taken = pictures.slice(0, MOST_ENTRIES - this.entries.length);
    byId("full").hidden = taken.length === pictures.length;
    if (!taken.length) return;
    this.awaited = true;
    for (const picture of taken) {
      const entry = { ...picture, number: ++this.number, state: "waiting", stop: new AbortController(), urls: [] };
      entry.item = fresh("entry");
      entry.item.querySelector(".name").textContent = picture.name;
      entry.item.querySelector("progress").setAttribute("aria-label", `Progress of ${picture.name}`);
      entry.item.querySelector("button").addEventListener("click", () => this.choose(entry, true));
      this.entries.push(entry);
      byId("entries").append(entry.item);
    }
    byId("session").hidden = false;
    announce(taken.length === 1 ? `${taken[0].name} added.` : `${taken.length} pictures added.`);
    this.next();
  }

  next() {
    while (this.running < AT_ONCE) {
      const entry = this.entries.find((each) => each.state === "waiting");
      if (!entry) return;
      this.running += 1;
      this.judge(entry).finally(() => {
        this.running -= 1;
        this.next();
      });
    }
  }

  async judge(entry) {
    entry.state = "running";
    let card;
    try {
      card = await this.judged(entry);
    } catch (error) {
      card = this.failed(entry, error);
    }
    if (entry.stop.signal.aborted) return;
    entry.state = "done";
    entry.card = card;
    finish(entry);
    if (this.awaited) {
      this.awaited = false;
      this.choose(entry, entry.focused);
    }
  }

  /** The card of a judged picture. Throws Problem. */
  async judged(entry) {
    const largest = Number(document.body.dataset.largest);
    if (entry.file && entry.file.size > largest) {
      throw new Problem(`The picture has more than ${largest / 1e6} MB; scale it down.`, "body_too_large");
    }
    const { signal } = entry.stop;
    const waiting = (seconds) => say(entry, `The service is busy; again in ${seconds} s`);
    say(entry, entry.file ? "Sending" : "Fetching");
    const sent = (share) => {
      say(entry, share < 1 ? `Sending, ${Math.round(100 * share)}%` : "Judging", share < 1 ? share : null);
    };
    const query = new URLSearchParams({ number: entry.number });
    if (entry.file) query.set("name", entry.name);
    if (byId("model").value) query.set("model", byId("model").value);
    const { id, record, card: html } = await askJson(`v1/check:card?${query}`, {
      method: "POST", ...bodyOf(entry), progress: entry.file ? sent : undefined, waiting, signal,
    });
    Object.assign(entry, { verdict: id, text: record });
    const card = cardIn(html);
    addViewer(card, entry);
    addActions(card, entry);
    return card;
  }

  /** The card of a picture that could not be judged: the service's, or one with its sentence alone. */
  failed(entry, problem) {
    const refused = problem instanceof Problem;
    if (!refused) console.error(problem);
    if (refused && problem.card) return cardIn(problem.card);
    const card = fresh("problem");
    card.querySelector(".name b").textContent = entry.name;
    card.querySelector(".meaning").textContent = problem.message;
    card.querySelector(".code").textContent = refused ? problem.code : "page_error";
    const again = fresh("again");
    again.querySelector("button").addEventListener("click", () => this.again(entry));
    card.querySelector(".say").append(again);
    return card;
  }

  again(entry) {
    entry.card.remove();
    entry.item.querySelector("button").disabled = true;
    entry.item.querySelector("progress").hidden = false;
    Object.assign(entry, { state: "waiting", card: null, focused: true });
    this.chosen = null;
    this.awaited = true;
    say(entry, "Waiting");
    this.next();
  }

  /** Show the card of an entry; `moving` puts the focus on it. */
  choose(entry, moving) {
    if (!entry.card) return;
    this.chosen?.item.querySelector("button").removeAttribute("aria-current");
    this.chosen = entry;
    entry.item.querySelector("button").setAttribute("aria-current", "true");
    byId("shown").replaceChildren(entry.card);
    if (!moving) return;
    const title = entry.card.querySelector("h3");
    title.tabIndex = -1;
    title.focus({ preventScroll: true });
    entry.card.scrollIntoView();
  }

  /** Stop what is on its way and forget every picture. */
  forget() {
    this.entries.forEach((entry) => this.drop(entry));
    this.entries = [];
    byId("full").hidden = true;
    byId("session").hidden = true;
    announce("All pictures are forgotten.");
    byId("files").focus();
  }

  drop(entry) {
    entry.stop.abort();
    entry.urls.forEach((url) => URL.revokeObjectURL(url));
    entry.item.remove();
    if (entry !== this.chosen) return;
    entry.card.remove();
    this.chosen = null;
  }
}

function bodyOf({ file, url }) {
  return file ? { body: file, type: FILE_TYPE } : { body: JSON.stringify({ url }), type: JSON_TYPE };
}

/** The report's own card, as an element. The service has escaped everything in it. */
function cardIn(html) {
  const parsed = new DOMParser().parseFromString(html, "text/html");
  return document.adoptNode(parsed.querySelector("article"));
}

/** Say how far an entry is; `share` is 0 to 1, null where nobody knows. */
function say(entry, text, share = 0) {
  entry.item.querySelector(".state").textContent = text;
  const progress = entry.item.querySelector("progress");
  if (share === null) progress.removeAttribute("value");
  else progress.value = share;
}

function finish(entry) {
  const headline = entry.card.querySelector("h3");
  const state = entry.item.querySelector(".state");
  state.className = `state ${entry.card.classList[1]}`;
  state.replaceChildren(...[...headline.childNodes].map((node) => node.cloneNode(true)));
  entry.item.querySelector("progress").hidden = true;
  entry.item.querySelector("button").disabled = false;
  const picture = entry.card.querySelector(".stage:not(.printed) .base");
  if (picture) {
    const face = document.createElement("img");
    Object.assign(face, { src: picture.src, alt: "" });
    entry.item.querySelector(".face").replaceChildren(face);
  }
  announce(`${entry.name}: ${headline.textContent.trim()}.`);
}

/** A line for those who listen to the page. */
function announce(text) {
  const line = document.createElement("span");
  line.textContent = `${text} `;
  byId("news").append(line);
  while (byId("news").childElementCount > 5) byId("news").firstElementChild.remove();
}
