"use strict";
// The threshold explorer. `data` holds, for each detector, condition and score, ascending steps and parts
// [source, half, side, [step, pictures, ...], decided]; side 1 is fake. A step's number k flags all pictures from step k on.
const data = JSON.parse(document.getElementById("data").textContent);
const $ = (id) => document.getElementById(id);
const SCORE_NAMES = {
  fake: "generated or tampered, against authentic",
  full_synthetic: "generated, against authentic",
  tampered: "tampered, against authentic",
};
const LABELS = { real: "real", full_synthetic: "full synthetic", tampered: "tampered" };
const state = { model: 0, condition: "", score: "", source: "", half: "0", step: 0 };

const percent = (share) => (Number.isFinite(share) ? `${(100 * share).toFixed(1)} %` : "–");
const count = (number) => Math.round(number).toLocaleString("en");
const table = () => data.models[state.model].conditions[state.condition][state.score];

function make(name, text, kind) {
  const element = document.createElement(name);
  if (text !== undefined) element.textContent = text;
  if (kind) element.className = kind;
  return element;
}

function shape(name, values) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(values)) element.setAttribute(key, value);
  return element;
}

// Pictures of a source ("" is all) and a half ("" is both): pictures at each step, and those decided, of both sides.
function select(source, half) {
  const { steps, parts } = table();
  const sides = [0, 1].map(() => ({ at: new Array(steps.length).fill(0), total: 0, decided: 0 }));
  for (const [origin, part, side, pairs, decided] of parts) {
    if ((source !== "" && origin !== Number(source)) || (half !== "" && part !== Number(half))) continue;
    for (let i = 0; i < pairs.length; i += 2) {
      sides[side].at[pairs[i]] += pairs[i + 1];
      sides[side].total += pairs[i + 1];
    }
    sides[side].decided += decided;
  }
  return sides;
}

// Pictures at step k and above; k one beyond the last step flags none.
const flaggedFrom = (side, k) => side.at.slice(k).reduce((sum, value) => sum + value, 0);

function wilson(hits, total) {
  if (!total) return "";
  const z = 1.959963984540054, share = hits / total, scale = 1 + (z * z) / total;
  const centre = (share + (z * z) / (2 * total)) / scale;
  const reach = (z / scale) * Math.sqrt((share * (1 - share)) / total + (z * z) / (4 * total * total));
  return `${percent(Math.max(0, centre - reach))} to ${percent(Math.min(1, centre + reach))}`;
}

function measured(alarms, authentic, found, fakes) {
  return {
    "Authentic pictures flagged": [alarms, authentic],
    "Fakes found": [found, fakes],
    "Flagged pictures that are fakes": [found, found + alarms],
    "Right, both sides alike": [null, (found / fakes + 1 - alarms / authentic) / 2],
  };
}

function showFigures() {
  const columns = ["0", "1"].map((half) => {
    const [authentic, fake] = select(state.source, half);
    return measured(flaggedFrom(authentic, state.step), authentic.total, flaggedFrom(fake, state.step), fake.total);
  });
  const [authentic, fake] = select(state.source, "");
  columns.push(measured(authentic.decided, authentic.total, fake.decided, fake.total));
  const rows = Object.keys(columns[0]).map((name) => {
    const row = make("tr");
    const head = make("th", name);
    head.scope = "row";
    row.append(head);
    for (const column of columns) {
      const [hits, total] = column[name];
      const cell = make("td", percent(hits === null ? total : hits / total), "right num");
      if (hits !== null) cell.append(make("small", `${count(hits)} of ${count(total)}`), make("small", wilson(hits, total)));
      row.append(cell);
    }
    return row;
  });
  $("figures").tBodies[0].replaceChildren(...rows);
}

function showExpected() {
  const prior = 1 / Number($("prior").value), pictures = 10000;
  const [authentic, fake] = select(state.source, state.half);
  const alarms = flaggedFrom(authentic, state.step) / authentic.total;
  const found = flaggedFrom(fake, state.step) / fake.total;
  if (!Number.isFinite(alarms) || !Number.isFinite(found)) {
    $("expected").textContent = "there are too few pictures here to say what would be flagged.";
    return;
  }
  const right = pictures * prior * found, wrong = pictures * (1 - prior) * alarms;
  const share = right + wrong ? ` (${percent(right / (right + wrong))} of the flagged are fakes)` : "";
  $("expected").textContent =
    `of ${count(pictures)} pictures ${count(right + wrong)} are flagged, ${count(wrong)} of them wrongly${share}, ` +
    `and ${count(pictures * prior - right)} fakes pass.`;
}

const LEFT = 36, RIGHT = 392, TOP = 10, BOTTOM = 196, MIDDLE = (TOP + BOTTOM) / 2, COLUMNS = 50;
const across = (share) => LEFT + share * (RIGHT - LEFT);

function axisTexts(svg, left, bottom) {
  for (const share of [0, 0.5, 1]) {
    const text = shape("text", { x: across(share), y: BOTTOM + 16, "text-anchor": share === 1 ? "end" : "middle" });
    text.textContent = bottom(share);
    svg.append(text);
  }
  for (const [share, y] of left) {
    const text = shape("text", { x: LEFT - 5, y: y + 4, "text-anchor": "end" });
    text.textContent = share;
    svg.append(text);
  }
}

function showScores() {
  const svg = $("scores"), { steps } = table(), value = threshold();
  const sides = select(state.source, state.half);
  svg.replaceChildren(shape("path", { class: "axis", d: `M${LEFT} ${MIDDLE}H${RIGHT}` }));
  sides.forEach((side, number) => {
    const columns = new Array(COLUMNS).fill(0);
    side.at.forEach((pictures, k) => (columns[Math.min(COLUMNS - 1, Math.floor(steps[k] * COLUMNS))] += pictures));
    const most = Math.max(1, ...columns);
    columns.forEach((pictures, column) => {
      const height = (pictures / most) * (MIDDLE - TOP - 2), width = (RIGHT - LEFT) / COLUMNS - 1;
      const below = (column + 0.5) / COLUMNS < value ? " below" : "";
      svg.append(shape("rect", {
        class: (number ? "fake" : "authentic") + below, x: across(column / COLUMNS), width, height,
        y: number ? MIDDLE - height : MIDDLE,
      }));
    });
  });
  const at = across(Math.min(value, 1));
  svg.append(shape("path", { class: "line", d: `M${at} ${TOP}V${BOTTOM}` }));
  axisTexts(svg, [], (share) => share);
  svg.setAttribute("aria-label", `Scores of ${count(sides[1].total)} fakes and ${count(sides[0].total)} authentic pictures; the threshold is at ${valueText()}.`);
}

function showCurve() {
  const svg = $("roc"), sides = select(state.source, state.half), { steps } = table();
  const down = (share) => BOTTOM - share * (BOTTOM - TOP);
  svg.replaceChildren(shape("path", { class: "axis", d: `M${LEFT} ${TOP}V${BOTTOM}H${RIGHT}M${LEFT} ${BOTTOM}L${RIGHT} ${TOP}` }));
  axisTexts(svg, [["0", BOTTOM], ["1", TOP]], (share) => share);
  const flagged = [0, 0], points = [[0, 0]];
  for (let k = steps.length - 1; k >= 0; k--) {
    sides.forEach((side, number) => (flagged[number] += side.at[k]));
    points.push(flagged.map((hits, number) => hits / sides[number].total));
  }
  if (!points.every((point) => point.every(Number.isFinite))) return;
  svg.append(shape("path", { class: "curve", d: "M" + points.map(([x, y]) => `${across(x).toFixed(1)} ${down(y).toFixed(1)}`).join("L") }));
  const [x, y] = points[steps.length - state.step];
  svg.append(shape("circle", { class: "ring", cx: across(x), cy: down(y), r: 6 }));
  svg.setAttribute("aria-label", `${percent(y)} of the fakes are found, ${percent(x)} of the authentic pictures are flagged.`);
}

function showSources() {
  const rows = data.sources.flatMap((name, number) => {
    const [authentic, fake] = select(String(number), state.half);
    if (!authentic.total && !fake.total) return [];
    const row = make("tr"), head = make("th", name);
    head.scope = "row";
    row.append(head);
    for (const side of [authentic, fake]) {
      const hits = flaggedFrom(side, state.step);
      row.append(make("td", side.total ? count(side.total) : "", "right num"));
      const cell = make("td", side.total ? percent(hits / side.total) : "", "right num");
      if (side.total) cell.append(make("small", count(hits)));
      row.append(cell);
    }
    return [row];
  });
  $("sources").tBodies[0].replaceChildren(...rows);
}

function open(picture, score) {
  $("one-path").textContent = picture.path;
  $("one-picture").hidden = !picture.uri;
  if (picture.uri) $("one-picture").src = picture.uri;
  const facts = [
    ["True label", LABELS[picture.label]],
    ["Score", `${score.toFixed(3)} (threshold ${valueText()})`],
    ["Probabilities", Object.entries(picture.says).map(([label, share]) => `${LABELS[label]} ${percent(share)}`).join(", ")],
    ["Source", picture.source],
    ["Made with", picture.made],
    ["Explanation", picture.text],
  ];
  $("one-facts").replaceChildren(...facts.filter(([, text]) => text).flatMap(([name, text]) => [make("dt", name), make("dd", text)]));
  $("one").showModal();
}

function showErrors(kind, side, isError) {
  const { steps } = table();
  const errors = side.at.reduce((sum, pictures, k) => sum + (isError(k) ? pictures : 0), 0);
  const shown = table()[kind].filter(([index, k]) => {
    const picture = data.pictures[index];
    const inSource = state.source === "" || picture.source === data.sources[Number(state.source)];
    return isError(k) && inSource && (state.half === "" || picture.half === Number(state.half));
  });
  $(kind).replaceChildren(...shown.map(([index, k]) => {
    const picture = data.pictures[index], tile = make("button", undefined, "error");
    tile.type = "button";
    if (picture.uri) {
      const image = make("img");
      image.src = picture.uri;
      image.alt = "";
      image.loading = "lazy";
      tile.append(image);
    } else tile.append(make("span", "no thumbnail kept", "gone"));
    tile.append(make("span", `${steps[k].toFixed(3)} ${picture.path.split("/").pop()}`));
    tile.addEventListener("click", () => open(picture, steps[k]));
    return tile;
  }));
  const more = errors - shown.length;
  $(`${kind}-note`).textContent = errors
    ? `${count(errors)} of ${count(side.total)}.${more > 0 ? ` The page keeps ${count(shown.length)} of them; predictions.jsonl has all.` : ""}`
    : `None of ${count(side.total)}.`;
}

const threshold = () => (state.step < table().steps.length ? table().steps[state.step] : Infinity);
const valueText = () => (Number.isFinite(threshold()) ? threshold().toFixed(3) : "above all");

function show() {
  $("step").value = state.step;
  $("value").textContent = valueText();
  $("step").setAttribute("aria-valuetext", valueText());
  showFigures();
  showExpected();
  showScores();
  showCurve();
  showSources();
  const [authentic, fake] = select(state.source, state.half);
  showErrors("alarms", authentic, (k) => k >= state.step);
  showErrors("misses", fake, (k) => k < state.step);
}

function fill(id, choices) {
  $(id).replaceChildren(...choices.map(([value, text]) => {
    const option = make("option", text);
    option.value = value;
    return option;
  }));
  if (!choices.some(([value]) => value === state[id])) state[id] = choices[0][0];
  $(id).value = state[id];
  $(id).parentElement.hidden = choices.length < 2;
}

// New choices; the threshold stays at the value where it was, or begins near 0.5.
function choose(value = 0.5) {
  const clean = document.body.dataset.clean;
  fill("model", data.models.map((model, number) => [String(number), `${model.name} ${model.version}`]));
  const conditions = Object.keys(data.models[state.model].conditions);
  fill("condition", conditions.map((name) => [name, name === clean ? "as evaluated" : `after ${name}`]));
  fill("score", Object.keys(data.models[state.model].conditions[state.condition]).map((name) => [name, SCORE_NAMES[name]]));
  const present = new Set(table().parts.map(([source]) => source));
  const sources = data.sources.map((name, number) => [String(number), name]).filter(([number]) => present.has(Number(number)));
  fill("source", [["", "all"], ...sources]);
  const { steps } = table(), at = steps.findIndex((step) => step >= value);
  $("step").max = steps.length;
  state.step = at < 0 ? steps.length : at;
  show();
}

for (const id of ["model", "condition", "score", "source"])
  $(id).addEventListener("change", (event) => {
    const value = threshold();
    state[id] = event.target.value;
    choose(value);
  });
$("step").addEventListener("input", (event) => {
  state.step = Number(event.target.value);
  show();
});
$("prior").addEventListener("change", showExpected);
for (const radio of document.getElementsByName("half"))
  radio.addEventListener("change", (event) => {
    state.half = event.target.value;
    show();
  });
function drag(event) {
  if (event.type === "pointermove" && !event.buttons) return;
  const box = $("scores").getBoundingClientRect();
  const share = (((event.clientX - box.left) / box.width) * 400 - LEFT) / (RIGHT - LEFT);
  const at = table().steps.findIndex((step) => step >= share);
  state.step = at < 0 ? table().steps.length : at;
  show();
}
$("scores").addEventListener("pointerdown", drag);
$("scores").addEventListener("pointermove", drag);
$("explorer").hidden = false;
choose();
