"use strict";
// Everything from the data is put into the page as text: no name can become markup.
const DATA = JSON.parse(document.getElementById("data").textContent);
const INKS = {
  light: ["#0067a8", "#b04a00", "#007a58", "#a3307e", "#8a5a00", "#5b4bb7", "#9b1c31", "#00707f"],
  dark: ["#62b5ff", "#ff9a5c", "#45cfa0", "#f08fd0", "#e0c050", "#b3a6ff", "#ff8c9c", "#4fd0e0"],
};
const POINTS = ["circle", "rect", "triangle", "rectRounded", "star", "crossRot"];
const dark = matchMedia("(prefers-color-scheme: dark)");
const view = { chart: null, off: new Set(), sort: { key: "value", up: false } };

function el(tag, given = {}, ...children) {
  const made = document.createElement(tag);
  for (const [key, value] of Object.entries(given)) {
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (value === true) made.setAttribute(key, "");
    else if (value !== false && value != null) made.setAttribute(key, value);
  }
  made.append(...children.flat().filter((child) => child != null && child !== false && child !== ""));
  return made;
}
const unique = (values) => [...new Set(values)];
const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const many = (n, what) => `${n} ${what}${n === 1 ? "" : "s"}`;
const placeOf = (s) => `${s.source}/${s.title}`;
const titleOf = (label) => DATA.models[label]?.title ?? label;
const labels = Object.keys(DATA.models);
const names = unique(labels.map((label) => DATA.models[label].name));
function place(label, table) { // a model keeps its ink in all tables, unless one table has it twice
  const own = table.labels.map((one) => DATA.models[one].name);
  return unique(own).length === own.length ? names.indexOf(DATA.models[label].name) : table.labels.indexOf(label);
}
const ink = (label, table) => { const inks = INKS[dark.matches ? "dark" : "light"]; return inks[place(label, table) % inks.length]; };
const scheme = (pattern) => pattern.replace(/^split/, "either one (split)").replace(/^only:(\w+)/, "all but $1 (only:$1)").replace(/^independent:keep=(\w+)/, "each by itself, never $1").replace(/^independent/, "each by itself");
const share = (ratio, pattern) =>
  ratio === 0 ? "complete data" : `${+(100 * ratio).toFixed(1)} % incomplete${pattern && pattern !== "split" ? `, ${pattern}` : ""}`;
const fixed = (value, digits) => (value == null ? "-" : value.toFixed(digits).replace(/^-(0\.?0*)$/, "$1"));
const shown = (mean, half, digits) => fixed(mean, digits) + (half == null ? "" : ` ± ${fixed(half, digits)}`);

// ---- state: all of it is in the address, so that a link shows the same view ----
const read = () => Object.fromEntries(new URLSearchParams(location.hash.slice(1)));
const link = (changes) => "#" + new URLSearchParams({ ...changes });
function go(changes) {
  const focus = document.activeElement?.id;
  history.pushState(null, "", link({ ...read(), ...changes }));
  render();
  if (focus) document.getElementById(focus)?.focus();
}

function chosen() {
  const asked = read(), sets = DATA.sets;
  const own = sets.filter((s) => placeOf(s) === (asked.data ?? placeOf(sets[0])));
  const set = own.find((s) => s.tier === asked.tier) ?? own[0] ?? sets[0];
  const table = set.tables.find((t) => t.title === asked.score) ?? set.tables[0];
  const texts = unique(table.columns.map((c) => c.text));
  const text = texts.includes(asked.what) ? asked.what : texts[0];
  const some = table.columns.filter((c) => c.text === text);
  const patterns = unique(some.filter((c) => c.ratio > 0).map((c) => c.pattern));
  const pattern = patterns.includes(asked.missing) ? asked.missing : patterns[0] ?? "none";
  const line = some.filter((c) => c.ratio === 0 || c.pattern === pattern).sort((a, b) => a.ratio - b.ratio);
  const column = line.find((c) => String(c.ratio) === asked.ratio) ?? line.find((c) => c.ratio === 0.5) ?? line[0];
  return { set, table, texts, text, patterns, pattern, line, column };
}

// ---- controls ----
function chips(name, title, options, now, pick) {
  if (options.length < 2) return null;
  return el("fieldset", {}, el("legend", {}, title), el("div", { class: "chips" }, options.map(([value, text], i) =>
    el("label", { class: "chip" }, el("input", { type: "radio", name, id: `${name}-${i}`, value, checked: value === now, onchange: () => pick(value) }), el("span", {}, text)))));
}

function picker(id, title, groups, now, pick) {
  const made = el("select", { id, onchange: (event) => pick(event.target.value) },
    groups.filter(([, items]) => items.length).map(([name, items]) => el("optgroup", { label: name },
      items.map(([value, text]) => el("option", { value, selected: value === now }, text)))));
  return el("fieldset", {}, el("label", { class: "head", for: id }, title), made);
}

function controls(c) {
  const data = unique(DATA.sets.map(placeOf));
  const named = (place) => { const s = DATA.sets.find((one) => placeOf(one) === place); return [place, s.source === "papers" ? s.title : `${s.title}, suite ${s.source}`]; };
  const alone = (place) => DATA.sets.find((one) => placeOf(one) === place).models.length === 0;
  const tiers = DATA.sets.filter((s) => placeOf(s) === placeOf(c.set)).map((s) => [s.tier, s.tier]);
  const scores = (main) => c.table && c.set.tables.filter((t) => t.main === main).map((t) => [t.title, t.title]);
  const clear = { score: c.table.title, what: c.text, missing: c.pattern, ratio: String(c.column.ratio) };
  return el("div", { class: "controls" },
    picker("set", "Data set", [["With runs", data.filter((p) => !alone(p)).map(named)], ["Values of papers alone", data.filter(alone).map(named)]], placeOf(c.set), (data) => go({ view: "compare", data })),
    picker("score", "Score", [["Main scores", scores(true)], ["Further scores", scores(false)]], c.table.title, (score) => go({ ...clear, score })),
    chips("what", "What is scored (given → generated)", c.texts.map((t) => [t, t]), c.text, (what) => go({ what })),
    chips("missing", "What is missing in an incomplete row", c.patterns.map((p) => [p, scheme(p)]), c.pattern, (missing) => go({ missing })),
    chips("ratio", "Training rows that lack something", c.line.map((one) => [String(one.ratio), one.ratio ? `${+(100 * one.ratio).toFixed(1)} %` : "none"]), String(c.column.ratio), (ratio) => go({ ratio })),
    chips("tier", "Settings of the models", tiers, c.set.tier, (tier) => go({ tier })));
}

function answer(c) {
  const [first, ...rest] = c.column.verdict.split(/(?<=[.!]) (?=[A-Z])/);
  const direction = DATA.directions[String(c.table.better)];
  return el("section", { class: "answer", "aria-live": "polite", id: "answer" },
    el("p", { class: "question" }, `${c.table.title}, ${c.text}, ${c.set.title}, ${share(c.column.ratio, c.column.pattern)}${c.set.tier ? `, tier ${c.set.tier}` : ""}; ${direction}`),
    el("p", { class: "first" }, first), rest.length > 0 && el("p", {}, rest.join(" ")));
}

// ---- chart ----
const bars = { // the intervals
  id: "bars",
  afterDatasetDraw(chart, { index, meta }) {
    const { ctx, scales: { y } } = chart, own = chart.data.datasets[index];
    ctx.save();
    ctx.beginPath();
    ctx.rect(chart.chartArea.left, chart.chartArea.top, chart.chartArea.width, chart.chartArea.height);
    ctx.clip();
    ctx.strokeStyle = own.borderColor;
    ctx.lineWidth = 1.6;
    own.data.forEach((point, i) => {
      if (point.half == null || meta.hidden) return;
      const { x } = meta.data[i], [low, high] = [y.getPixelForValue(point.y - point.half), y.getPixelForValue(point.y + point.half)];
      ctx.beginPath();
      ctx.moveTo(x, low); ctx.lineTo(x, high);
      for (const end of [low, high]) { ctx.moveTo(x - 4, end); ctx.lineTo(x + 4, end); }
      ctx.stroke();
    });
    ctx.restore();
  },
};

function say(point) {
  if (point.paper) return `${point.name}: ${point.text} at ${point.where} (published: ${point.paper})`;
  const interval = point.half == null ? "no interval" : `95 % interval ${fixed(point.y - point.half, point.digits)} to ${fixed(point.y + point.half, point.digits)}`;
  return `${point.name}: ${shown(point.y, point.half, point.digits)} at ${point.where}; ${interval}, ${many(point.n, "seed")}${point.state ? `; ${point.state}` : ""}`;
}

function series(c) {
  const one = unique([...c.line.map((col) => col.ratio)]).length === 1, on = c.table.labels.filter((label) => !view.off.has(label));
  const scored = on.filter((label) => c.line.some((col) => col.cells.some((own) => own[0] === c.table.labels.indexOf(label) && own[1] != null)));
  const found = scored.map((label, i) => {
    const at = c.table.labels.indexOf(label), data = [];
    for (const col of c.line) {
      const cell = col.cells.find((own) => own[0] === at);
      if (!cell || cell[1] == null) continue;
      const x = one ? i : col.ratio + (i - (scored.length - 1) / 2) * 0.006;
      data.push({ x, y: cell[1], half: cell[2], n: cell[3], state: DATA.states[cell[4]] ?? "", control: cell[4] === "control", digits: col.digits, name: titleOf(label), where: share(col.ratio, col.pattern) });
    }
    const colour = ink(label, c.table);
    return { label, data, borderColor: colour, backgroundColor: colour, pointStyle: POINTS[place(label, c.table) % POINTS.length], borderDash: data[0].control ? [4, 4] : [], radius: 5, hoverRadius: 8, borderWidth: 2, showLine: !one };
  });
  const papers = c.line.flatMap((col) => col.values.map((n) => [col, c.set.values[n]])).map(([col, v]) => ({
    x: one ? found.length : col.ratio, y: v.value, half: null, paper: v.source, name: v.model, where: share(col.ratio, col.pattern),
    text: v.value + (v.sd == null ? "" : ` ± ${v.sd} (sd)`) }));
  if (papers.length && !view.off.has("papers")) {
    found.push({ label: "papers", data: papers, borderColor: css("--paper"), backgroundColor: "transparent", pointStyle: "rectRot", radius: 6, hoverRadius: 9, borderWidth: 2, showLine: false });
  }
  return { one, found };
}

function axes(c, one, found) {
  const ink = css("--ink"), grid = css("--line"), ratios = unique(c.line.map((col) => col.ratio));
  const ends = found.flatMap((own) => own.data.flatMap((p) => [p.y - (p.half ?? 0), p.y + (p.half ?? 0)]));
  const [low, high] = [Math.min(...ends), Math.max(...ends)], pad = 0.06 * (high - low || Math.abs(high) || 1), [least, most] = c.table.bounds;
  const x = { type: "linear", grid: { color: grid }, border: { color: ink }, title: { display: true, color: ink, text: one ? share(ratios[0], c.pattern) : "share of incomplete training rows" } };
  const places = one ? found.map((_, i) => i) : ratios;
  x.min = one ? -0.5 : Math.min(...ratios) - 0.05;
  x.max = one ? found.length - 0.5 : Math.max(...ratios) + 0.05;
  x.afterBuildTicks = (axis) => { axis.ticks = places.map((value) => ({ value })); };
  x.ticks = { color: ink, autoSkip: false, maxRotation: one ? 60 : 0, callback: (value) => one ? (found[value].label === "papers" ? "papers" : titleOf(found[value].label)) : value ? `${+(100 * value).toFixed(1)} %` : "none" };
  const y = { grid: { color: grid }, border: { color: ink }, ticks: { color: ink }, title: { display: true, color: ink, text: c.table.title } };
  y.suggestedMin = least == null ? low - pad : Math.max(least, low - pad);
  y.suggestedMax = most == null ? high + pad : Math.min(most, high + pad);
  return { x, y };
}

function point(canvas, found, readout) { // arrow keys go from value to value
  const at = { set: 0, index: 0 };
  const tell = () => {
    const active = [{ datasetIndex: at.set, index: at.index }], element = view.chart.getDatasetMeta(at.set).data[at.index];
    view.chart.setActiveElements(active);
    view.chart.tooltip.setActiveElements(active, { x: element.x, y: element.y });
    view.chart.update("none");
    readout.textContent = say(found[at.set].data[at.index]);
  };
  canvas.addEventListener("focus", tell);
  canvas.addEventListener("blur", () => { view.chart.setActiveElements([]); view.chart.tooltip.setActiveElements([], { x: 0, y: 0 }); view.chart.update("none"); });
  canvas.addEventListener("keydown", (event) => {
    const step = { ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowDown: [1, 0], ArrowUp: [-1, 0] }[event.key];
    if (!step) return;
    event.preventDefault();
    at.set = (at.set + step[0] + found.length) % found.length;
    const size = found[at.set].data.length;
    at.index = step[0] ? Math.min(at.index, size - 1) : (at.index + step[1] + size) % size;
    tell();
  });
}

function draw(c) {
  view.chart?.destroy();
  view.chart = null;
  const { one, found } = series(c);
  if (!found.length) return el("p", { class: "soft" }, "No value is shown: all models are switched off, or none has this score.");
  const canvas = el("canvas", { id: "chart", tabindex: 0, role: "application", "aria-label": `${c.table.title} against the share of incomplete rows; the arrow keys go from value to value, and the table below has the same values`, "aria-describedby": "readout" });
  const readout = el("p", { class: "readout note", id: "readout", "aria-live": "polite" }, "Point at a value, touch it, or press Tab and the arrow keys.");
  queueMicrotask(() => {
    view.chart = new Chart(canvas, {
      type: "scatter", data: { datasets: found }, plugins: [bars],
      options: {
        maintainAspectRatio: false, animation: false, scales: axes(c, one, found), interaction: { mode: "nearest", intersect: false },
        onHover: (_, active) => { if (active.length) readout.textContent = say(found[active[0].datasetIndex].data[active[0].index]); },
        plugins: { legend: { display: false }, tooltip: { displayColors: false, callbacks: { title: (items) => items[0].raw.name, label: (item) => {
          const p = item.raw;
          return p.paper ? [`${p.text}, ${p.where}`, p.paper] : [`${shown(p.y, p.half, p.digits)}, ${p.where}`, `${many(p.n, "seed")}${p.state ? `; ${p.state}` : ""}`];
        } } } },
      },
    });
    point(canvas, found, readout);
  });
  return [el("div", { class: "frame" }, canvas), readout];
}

function toggles(c) {
  const flip = (label) => { if (!view.off.delete(label)) view.off.add(label); go({}); };
  const box = (label, text, swatch) => el("label", { class: "chip" }, el("input", { type: "checkbox", id: `on-${label}`, value: label, checked: !view.off.has(label), onchange: () => flip(label) }), swatch, el("span", {}, text));
  const swatch = (label) => { const made = el("span", { class: "swatch" }); made.style.background = ink(label, c.table); return made; };
  const papers = c.line.some((col) => col.values.length);
  return el("fieldset", { class: "toggles" }, el("legend", {}, "Models shown (switching one off changes no judgement: all are compared)"),
    el("div", { class: "chips" }, c.table.labels.map((label) => box(label, titleOf(label), swatch(label))), papers && box("papers", "published by papers", el("span", { class: "swatch paper" }))));
}

// ---- tables ----
function results(c) {
  const rows = c.column.cells.filter((cell) => !view.off.has(c.table.labels[cell[0]])).map(([n, mean, half, seeds, state, dead, note]) => ({ label: c.table.labels[n], name: titleOf(c.table.labels[n]), value: mean, half, seeds, state, dead, note }));
  const order = Object.keys(DATA.states), { key, up } = view.sort, sign = up ? 1 : -1;
  const compare = { name: (a, b) => a.name.localeCompare(b.name), value: (a, b) => (c.table.better || 1) * (a.value - b.value), seeds: (a, b) => a.seeds - b.seeds, state: (a, b) => order.indexOf(b.state) - order.indexOf(a.state) };
  rows.sort((a, b) => (a.value == null) - (b.value == null) || (key === "value" && (a.state === "control") - (b.state === "control")) || sign * compare[key](a, b));
  const head = (id, text) => el("th", { scope: "col", "aria-sort": key === id ? (up ? "ascending" : "descending") : "none" },
    el("button", { type: "button", id: `sort-${id}`, onclick: () => { view.sort = { key: id, up: key === id ? !up : id === "name" }; go({}); } }, text, el("span", { "aria-hidden": "true", class: key === id ? null : "idle" }, key === id ? (up ? " ↑" : " ↓") : " ↕")));
  const line = (r) => el("tr", { class: r.state === "best" ? "best" : ["control", "bound"].includes(r.state) || r.value == null ? "aside" : null },
    el("th", { scope: "row" }, el("a", { href: link({ view: "model", model: r.label }) }, r.name)),
    el("td", { class: "number" }, r.value == null ? "not defined" : shown(r.value, r.half, c.column.digits)),
    el("td", {}, r.value == null ? "" : String(r.seeds) + (r.dead ? ` (${r.dead} dead)` : "")),
    el("td", { class: "state" }, r.value == null ? r.note : DATA.states[r.state] ?? ""));
  const limit = (name, text) => text && el("tr", { class: "aside" }, el("th", { scope: "row" }, name), el("td", { class: "number" }, text), el("td"), el("td"));
  if (!c.column.cells.length) return null;
  return el("div", { class: "wide", tabindex: 0, role: "region", "aria-label": "Scores" }, el("table", { id: "results" },
    el("caption", {}, `${c.table.title}, ${c.text}, ${share(c.column.ratio, c.column.pattern)}: mean over seeds${c.column.over.startsWith("nothing") || !c.column.over ? "" : ` ± half width of the 95 % interval over ${c.column.over}`}`),
    el("thead", {}, el("tr", {}, head("name", "model"), head("value", "score"), head("seeds", "seeds"), head("state", "beside the best"))),
    el("tbody", {}, rows.map(line)), el("tbody", {}, limit("chance", c.column.chance), limit("ceiling", c.column.ceiling))));
}

function values(list, title) {
  if (!list.length) return null;
  const spread = (v) => `${v.value}${v.sd == null ? "" : ` ± ${v.sd}`}${v.n ? ` (n = ${v.n})` : ""}`;
  const line = (v) => el("tr", { class: "paper" }, el("th", { scope: "row" }, v.model, v.options && el("div", { class: "note" }, v.options)), el("td", {}, `${v.score}${v.where ? `, ${v.where}` : ""}; ${share(v.ratio, v.pattern)}`), el("td", { class: "number" }, spread(v)), el("td", {}, v.source, el("div", { class: "note" }, `${v.confidence}: ${v.read}`)), el("td", {}, v.why, v.note && el("div", { class: "note" }, v.note)));
  return [el("h3", {}, title), el("p", { class: "note" }, "As printed, ± standard deviation over seeds. Never ranked with our scores. A: read in the paper's own text or table; B: a second party's table or rerun; C: read off a plot."),
    el("div", { class: "wide", tabindex: 0, role: "region", "aria-label": title }, el("table", { class: "values" }, el("thead", {}, el("tr", {}, ["model", "score", "published", "source", "why it cannot be compared with ours"].map((text) => el("th", { scope: "col" }, text)))), el("tbody", {}, list.map(line))))];
}

// ---- views ----
function compareView() {
  const c = chosen();
  return [controls(c), answer(c), remarks(c.set), draw(c), toggles(c), results(c),
    el("p", { class: "note" }, c.table.definition, c.table.note && ` ${c.table.note}`, c.column.over.startsWith("nothing") ? ` The interval covers ${c.column.over}.` : ""),
    values(c.column.values.map((n) => c.set.values[n]), "Published values of this score"),
    el("p", {}, el("a", { href: link({ view: "data", data: placeOf(c.set) }) }, `More on ${c.set.title}`)), reading()];
}

function remarks({ warnings }) { // a few stand open, many are folded
  const lines = warnings.map((text) => el("p", {}, text));
  if (!lines.length) return null;
  return el("div", { class: "warn" }, lines.length < 3 ? lines : el("details", {}, el("summary", {}, `${lines.length} remarks on these runs`), lines));
}

function reading() {
  return el("details", {}, el("summary", {}, "How to read this page"),
    el("p", {}, "An interval covers seeds and test rows: all seeds are scored on the same rows, so seeds alone would claim too much."),
    el("p", {}, "“Not distinguished”: the 95 % interval of the paired difference from the best contains 0; equality is not shown. “After correction”: the difference stays significant after Holm's correction for all pairs of models in the column."),
    el("p", {}, DATA.dead),
    Object.entries(DATA.tiers).map(([tier, text]) => el("p", {}, `Tier ${tier}: ${text}.`)),
    el("p", {}, "Published values have an ink of their own. They were made with other nets, data, budgets and judges, so they are shown with their source and never ranked with ours."));
}

const facts = (pairs) => el("dl", {}, pairs.filter(([, text]) => text).flatMap(([name, text]) => [el("dt", {}, name), el("dd", {}, text)]));
const cards = (items) => el("ul", { class: "cards" }, items.map(([href, title, text]) => el("li", {}, el("a", { href }, title, el("span", {}, text)))));

function modelView() {
  const label = read().model, model = DATA.models[label];
  if (!model) return [el("h2", {}, "Models"), cards(labels.map((l) => [link({ view: "model", model: l }), DATA.models[l].title, DATA.models[l].cited || DATA.models[l].family]))];
  const paper = model.cited && [model.cited, model.arxiv && ", ", model.arxiv && el("a", { href: `https://arxiv.org/abs/${model.arxiv}` }, `arXiv:${model.arxiv}`)];
  const known = (text) => (text === "-" ? "" : text);
  return [el("p", {}, el("a", { href: link({ view: "model" }) }, "All models")), el("h2", {}, model.title),
    el("dl", {}, [["Paper", paper], ["Name here", el("code", {}, label)], ["Posterior", known(model.family)], ["Latents", known(model.latents)], ["Rows that train it", known(model.rows)]].filter(([, t]) => t).flatMap(([name, text]) => [el("dt", {}, name), el("dd", {}, text)])),
    DATA.sets.map((s) => {
      const own = s.models.find((m) => m.label === label);
      return own && el("section", {}, el("h3", {}, el("a", { href: link({ view: "compare", data: placeOf(s), tier: s.tier }) }, `${s.title}, suite ${s.source}, tier ${s.tier}`)),
        facts([["Options", own.options], ["Networks", own.nets], ["Latent size", String(own.latent)], ["Training", own.budget], ["Parameters", own.parameters], ["Seconds of training", own.seconds === "-" ? "not published for this suite" : `${own.seconds} (mean over runs)`], ["Runs", own.runs]]), standing(s, label));
    })];
}

function standing(s, label) { // the model's main scores
  const lines = s.tables.filter((t) => t.main && t.labels.includes(label)).flatMap((t) => t.columns.map((col) => [t, col, col.cells.find((cell) => cell[0] === t.labels.indexOf(label))])).filter(([, , cell]) => cell && cell[1] != null);
  if (!lines.length) return null;
  return el("details", {}, el("summary", {}, "Its main scores"), el("div", { class: "wide", tabindex: 0, role: "region", "aria-label": "Main scores" }, el("table", {}, el("thead", {}, el("tr", {}, ["score", "training rows", "value", "beside the best"].map((text) => el("th", { scope: "col" }, text)))),
    el("tbody", {}, lines.map(([t, col, cell]) => el("tr", { class: cell[4] === "best" ? "best" : null }, el("th", { scope: "row" }, el("a", { href: link({ view: "compare", data: placeOf(s), tier: s.tier, score: t.title, what: col.text, missing: col.pattern, ratio: col.ratio }) }, `${t.title}, ${col.text}`)), el("td", {}, share(col.ratio, col.pattern)), el("td", { class: "number" }, shown(cell[1], cell[2], col.digits)), el("td", { class: "state" }, DATA.states[cell[4]] ?? "")))))));
}

function dataView() {
  const own = DATA.sets.filter((s) => placeOf(s) === read().data);
  const count = (s) => (s.models.length ? many(s.models.length, "model") : "values of papers alone") + (s.values.length ? `, ${many(s.values.length, "published value")}` : "");
  if (!own.length) return [el("h2", {}, "Data sets"), cards(unique(DATA.sets.map(placeOf)).map((place) => { const s = DATA.sets.find((one) => placeOf(one) === place); return [link({ view: "data", data: place }), s.title + (s.source === "papers" ? "" : `, suite ${s.source}`), count(s)]; }))];
  const [first] = own;
  return [el("p", {}, el("a", { href: link({ view: "data" }) }, "All data sets")), el("h2", {}, first.title), el("p", {}, first.summary),
    el("p", {}, el("a", { href: link({ view: "compare", data: placeOf(first) }) }, "Compare the models on it")),
    remarks(first),
    own.filter((s) => s.models.length).map((s) => el("section", {}, el("h3", {}, `Suite ${s.source}, tier ${s.tier}`), facts([["Models", s.models.map((m) => titleOf(m.label)).join(", ")], ...Object.entries(s.facts)]))),
    values(first.values, `${many(first.values.length, "published value")} on these data`)];
}

const VIEWS = { compare: ["Compare", compareView], model: ["Models", modelView], data: ["Data sets", dataView] };

function render() {
  const now = VIEWS[read().view] ? read().view : "compare";
  view.chart?.destroy();
  view.chart = null;
  document.getElementById("views").replaceChildren(...Object.entries(VIEWS).map(([name, [text]]) => el("a", { href: link({ view: name }), "aria-current": name === now && "page" }, text)));
  document.getElementById("main").replaceChildren(...VIEWS[now][1]().flat(3).filter((part) => part != null && part !== false && part !== ""));
  document.getElementById("foot").textContent = `mmvae-bench ${DATA.version}, ${many(DATA.runs, "run")}, ${DATA.date}. Charts by Chart.js ${Chart.version} (MIT licence).`;
}

addEventListener("popstate", () => { render(); scrollTo(0, 0); });
dark.addEventListener("change", render);
render();
