// Requests to the service that serves this page. A busy or starting service is asked again, a missing key asked for.

const PATIENCE_MS = 60_000; // how long a busy service is asked again, a request
const PAUSE_S = 1; // between two tries where the answer names no time
const LONGEST_PAUSE_S = 10;
const BUSY = [429, 503];

let key = ""; // in memory only

/** Where to ask for a key: an async function that is given the service's sentence, "" the first time. */
export const keys = { ask: null, asking: null };

/** What the service refuses: `message` is its sentence, `code` its code, `card` the HTML of its card or null. */
export class Problem extends Error {
  constructor(message, code, status = 0, card = null) {
    super(message);
    Object.assign(this, { code, status, card });
  }
}

/**
 * The answer to a request, as a blob. Throws Problem.
 * `progress` is given the share sent, 0 to 1, `waiting` the seconds to the next try of a busy service.
 */
export async function ask(path, { method = "GET", body = null, type = null, progress, waiting, signal } = {}) {
  const until = performance.now() + PATIENCE_MS;
  for (;;) {
    const answer = await once(path, { method, body, type, progress, signal });
    if (answer.status >= 200 && answer.status < 300) {
      return answer.response;
    }
    const problem = await problemOf(answer);
    if (problem.status === 401 && keys.ask) {
      await renewKey(problem.message);
    } else if (BUSY.includes(problem.status) && performance.now() < until) {
      const asked = Number(answer.getResponseHeader("Retry-After")) || PAUSE_S;
      const pause = Math.min(asked, LONGEST_PAUSE_S);
      waiting?.(pause);
      await sleep(pause * 1000, signal);
    } else {
      throw problem;
    }
  }
}

/** `ask` for a JSON document. */
export async function askJson(path, options) {
  const blob = await ask(path, options);
  return JSON.parse(await blob.text());
}

function once(path, { method, body, type, progress, signal }) {
  return new Promise((resolve, reject) => {
    const stopped = () => reject(new Problem("Stopped.", "stopped"));
    if (signal?.aborted) {
      stopped();
      return;
    }
    const exchange = new XMLHttpRequest();
    exchange.open(method, new URL(path, document.baseURI));
    exchange.responseType = "blob";
    if (type) exchange.setRequestHeader("Content-Type", type);
    if (key) exchange.setRequestHeader("Authorization", `Bearer ${key}`);
    if (progress) exchange.upload.onprogress = (event) => progress(event.total ? event.loaded / event.total : 0);
    exchange.onload = () => resolve(exchange);
    exchange.onerror = () => reject(new Problem("The service does not answer, or the file cannot be read.", "no_answer"));
    exchange.onabort = stopped;
    signal?.addEventListener("abort", () => exchange.abort(), { once: true });
    exchange.send(body);
  });
}

async function problemOf(answer) {
  let described = {};
  try {
    described = JSON.parse(await answer.response.text());
  } catch {
    // A proxy's own page: its status says what there is to say.
  }
  const detail = described.detail || `The service answers with status ${answer.status}.`;
  return new Problem(detail, described.code || "no_answer", answer.status, described.card);
}

/** Several requests may lack the key at once: it is asked for once. */
async function renewKey(sentence) {
  keys.asking ??= keys.ask(key ? sentence : "").finally(() => { keys.asking = null; });
  key = await keys.asking;
}

function sleep(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, milliseconds);
    signal?.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(new Problem("Stopped.", "stopped"));
    }, { once: true });
  });
}
