// The page: takes pictures that are dropped, pasted, chosen, photographed or named, and hands them to the session.

import { ask, askJson, keys } from "./api.js";
import { Session } from "./session.js";

const byId = (id) => document.getElementById(id);
const fetches = "fetch" in document.body.dataset;
const session = new Session();

const addFiles = (files) => session.add([...files].map((file) => ({ name: file.name || "picture", file })));
const addAddress = (url) => session.add([{ name: url, url }]);

for (const id of ["files", "camera"]) {
  byId(id).addEventListener("change", () => {
    addFiles(byId(id).files);
    byId(id).value = ""; // the same file can be chosen again
  });
}

byId("address")?.addEventListener("submit", (event) => {
  event.preventDefault();
  addAddress(byId("url").value.trim());
  byId("url").value = "";
});

/** The first web address in dropped or pasted text, "" where there is none or the service does not fetch. */
function addressIn(text) {
  return (fetches && text.split(/\s+/).find((word) => /^https?:\/\//i.test(word))) || "";
}

function take(transfer) {
  const address = addressIn(transfer.getData("text/uri-list") || transfer.getData("text/plain"));
  if (transfer.files.length) addFiles(transfer.files);
  else if (address) addAddress(address);
  else return false;
  return true;
}

document.addEventListener("paste", (event) => {
  const writing = event.target instanceof Element && event.target.closest("input, textarea");
  if (!writing && event.clipboardData && take(event.clipboardData)) event.preventDefault();
});

// The whole page takes drops: a file beside the zone would make the browser leave the page.
let inside = 0;
const mark = () => byId("zone").classList.toggle("over", inside > 0);
document.addEventListener("dragenter", () => { inside += 1; mark(); });
document.addEventListener("dragleave", () => { inside = Math.max(0, inside - 1); mark(); });
document.addEventListener("dragover", (event) => event.preventDefault());
document.addEventListener("drop", (event) => {
  event.preventDefault();
  inside = 0;
  mark();
  take(event.dataTransfer);
});

keys.ask = (sentence) => new Promise((resolve) => {
  const form = byId("key-form");
  byId("key-says").textContent = sentence;
  form.hidden = false;
  byId("key").focus();
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    form.hidden = true;
    resolve(byId("key").value);
    byId("key").value = "";
  }, { once: true });
});

await ask("readyz").catch(() => {}); // a starting service does not know all of its models
const { models } = await askJson("v1/models").catch(() => ({ models: [] }));
byId("model").append(...models.map(({ name, default: chosen }) => new Option(name, name, chosen, chosen)));
byId("models").hidden = models.length < 2;
