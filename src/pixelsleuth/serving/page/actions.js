// What a reader does with a verdict: save report and record, look at the record, say that it is wrong.

import { ask } from "./api.js";

/** Add the buttons to the card of an entry. */
export function addActions(card, entry) {
  const actions = document.getElementById("actions").content.firstElementChild.cloneNode(true);
  const status = actions.querySelector("[role=status]");
  const attempt = (button, work) => async (event) => {
    event.preventDefault();
    button.disabled = true;
    status.textContent = "";
    try {
      status.textContent = await work();
    } catch (problem) {
      status.textContent = problem.message;
    }
    button.disabled = false;
  };

  const report = actions.querySelector(".report");
  report.hidden = !entry.verdict; // the service keeps none, or this one is too large
  report.addEventListener("click", attempt(report, async () => {
    save(await ask(`v1/verdicts/${entry.verdict}/report.html`), entry.name, "html");
    return "The report is saved: one file that shows everything without this service.";
  }));

  actions.querySelector(".record").addEventListener("click", () => {
    save(new Blob([entry.text], { type: "application/json" }), entry.name, "json");
  });
  const shown = actions.querySelector(".json");
  shown.addEventListener("toggle", () => {
    const text = shown.querySelector("pre");
    text.textContent ||= JSON.stringify(JSON.parse(entry.text), null, 1);
  });

  const wrong = actions.querySelector(".wrong");
  if (wrong) wrong.hidden = !entry.verdict;
  const form = wrong?.querySelector("form");
  form?.addEventListener("submit", attempt(form.querySelector("button"), async () => {
    const note = form.querySelector("textarea");
    const body = JSON.stringify({ note: note.value });
    await ask(`v1/verdicts/${entry.verdict}/feedback`, { method: "POST", body, type: "application/json" });
    note.value = "";
    wrong.open = false;
    wrong.querySelector("summary").focus();
    return "The note is saved.";
  }));
  card.querySelector(".say").append(actions);
}

/** Let the browser save a file that is named after a picture. */
export function save(blob, name, ending) {
  const url = URL.createObjectURL(blob);
  const link = document.createElement("a");
  const base = name.split(/[\\/]/).pop().replace(/\.[a-z0-9]{1,5}$/i, "") || "picture";
  Object.assign(link, { href: url, download: `pixelsleuth-${base}.${ending}` });
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000); // a browser may still read it
}
