"use strict";
const $ = (id) => document.getElementById(id);
const OWN = {M: 32, C: 16, H: 28, W: 28, R: 3, S: 3, stride: 1, padding: 1, groups: 1};
const COLOURS = ["#009e73", "#0072b2", "#e69f00", "#56b4e9", "#cc79a7", "#d55e00", "#f0e442", "#999999"];
let choices = null, view = null, asked = 0, controller = null, network = null;
const kept = [];

const number = (v, digits = 4) => v === null || v === undefined ? "\u2013" : Number.isInteger(v) && Math.abs(v) < 1e12 ? String(v).replace(/\B(?=(\d{3})+(?!\d))/g, "\u2009") : Number(v.toPrecision(digits)).toString();
const make = (tag, text, parent, name) => { const e = document.createElement(tag); if (text !== undefined && text !== null) e.textContent = text; if (name) e.className = name; if (parent) parent.append(e); return e; };

// ---- controls ------------------------------------------------------------------------------------------------

function options(select, entries, chosen) {
  select.textContent = "";
  for (const [value, text] of entries) { const o = make("option", text, select); o.value = value; if (value === chosen) o.selected = true; }
}

function numberField(parent, name, value, least, most) {
  const label = make("label", name.replace(/^levels\.(\w+)\.capacity_bytes$/, "$1 bytes") + " ", parent), field = make("input", null, label);
  field.type = "number"; field.min = least; field.max = most; field.value = value; field.dataset.key = name; field.dataset.own = value;
  field.addEventListener("input", changed);
}

function archChanged() {
  const arch = choices.architectures[$("arch").value];
  $("arch-text").textContent = arch.description;
  [...$("keys").querySelectorAll("label")].forEach((x) => x.remove());
  $("objective").value = arch.tiles === "rule" ? "rule" : "edp";  // the machine's own
  pairs();
  for (const [key, value] of Object.entries(arch.keys)) numberField($("keys"), key, value, 1, 2 ** 40);
}

// What cannot run is marked with the reason; where the chosen pair cannot, the control that was not touched moves.
function pairs() {
  const refused = choices.architectures[$("arch").value].refused;
  for (const o of $("dataflow").options) { o.disabled = o.value in refused; o.title = refused[o.value] || ""; }
  if ($("dataflow").value in refused) $("dataflow").value = [...$("dataflow").options].find((o) => !o.disabled).value;
  for (const o of $("arch").options) o.title = choices.architectures[o.value].refused[$("dataflow").value] || "";
}

function workloadChanged() {
  const own = $("workload").value === "own";
  $("own").hidden = !own;
  $("layer").parentElement.hidden = own;
  options($("layer"), own ? [] : choices.layers[$("workload").value].map((n) => [n, n]));
  const params = Object.entries(choices.params[$("workload").value] || {});
  [...$("params").querySelectorAll("label")].forEach((x) => x.remove());
  $("params").hidden = !params.length;
  for (const [name, value] of params) numberField($("params"), name, value, 0, 2 ** 31 - 1);
}

function ask() {
  const own = $("workload").value === "own", found = {arch: $("arch").value, dataflow: $("dataflow").value, batch: Number($("batch").value), direction: $("direction").value, objective: $("objective").value, overrides: {}};
  for (const f of $("keys").querySelectorAll("input")) if (f.value !== f.dataset.own) found.overrides[f.dataset.key] = Number(f.value);
  if (own) { found.own = {}; for (const f of $("own").querySelectorAll("input")) found.own[f.dataset.key] = Number(f.value); }
  else { found.workload = $("workload").value; found.layer = $("layer").value; found.params = {}; for (const f of $("params").querySelectorAll("input")) if (f.value !== f.dataset.own) found.params[f.dataset.key] = Number(f.value); }
  return found;
}

let waiting = 0;
function changed() { clearTimeout(waiting); waiting = setTimeout(update, 15); }

async function post(path, body, signal) {
  const answer = await fetch(path, {method: "POST", headers: {"Content-Type": "application/json"}, body: JSON.stringify(body), signal});
  const kind = answer.headers.get("content-type") || "";
  const found = kind.startsWith("application/json") ? await answer.json() : {error: await answer.text()};
  if (!answer.ok && !found.error) found.error = "the server said " + answer.status;
  return found;
}

async function update() {
  const mine = ++asked, before = performance.now();
  if (controller) controller.abort();
  controller = new AbortController();
  $("views").setAttribute("aria-busy", "true");
  $("dataflow-text").textContent = choices.dataflows[$("dataflow").value];
  try {
    const sent = ask(), found = await post("/api/layer", sent, controller.signal);
    if (mine !== asked) return;
    show(found, sent);
    const took = Math.round(performance.now() - before);
    document.body.dataset.took = took;
    $("status").textContent = found.error ? "" : `${found.layer}: ${took} ms`;
  } catch (error) {
    if (error.name === "AbortError" || mine !== asked) return;
    show({error: "the explorer does not answer; is it still running?"});
  }
  $("views").setAttribute("aria-busy", "false");
  document.body.dataset.shown = mine;
}

// ---- views ---------------------------------------------------------------------------------------------------

function show(found, sent) {
  $("trouble").hidden = !found.error;
  $("trouble").textContent = found.error || "";
  view = found.error ? null : {...found, ask: sent};  // an answer keeps the question it answers
  $("explain").hidden = $("explain-command").hidden = true;
  for (const id of ["keep", "play", "copy-python", "copy-command", "csv"]) $(id).disabled = !view;
  for (const section of $("views").querySelectorAll("section:not(#kept-section):not(#player)")) section.hidden = !view && !section.querySelector("#network, #cloud");
  if (!view) return;
  $("copied").hidden = true;
  headline();
  bars($("energy"), view.energy, view.energy_unit === "pj" ? "pJ" : "MACs");
  bars($("latency"), view.latency, "cycles");
  $("nest").textContent = view.nest;
  table($("tiles"), ["level", "tensor", "words", "bytes", "of"], view.tiles.map((t) => [t.level, t.tensor, t.words, t.bytes, t.capacity_bytes === null ? "no limit" : number(t.capacity_bytes) + (t.shared ? " shared" : "")]), 2);
  table($("counts"), ["where", "tensor", "reads", "writes", "deliveries", "additions"], view.counts.map((c) => [c.where, c.tensor, c.reads, c.writes, c.deliveries, c.additions]), 2);
  pes();
  roofline();
}

function headline() {
  const h = view.headline, unit = view.energy_unit === "pj" ? "pJ" : "MACs";
  const entries = [["MACs", number(h.macs)], ["cycles", number(h.cycles)], ["time", number(h.time_s * 1e3) + " ms"], ["utilization", number(100 * h.utilization, 3) + " %"], ["PEs at once", number(h.active_pes)], ["energy", number(view.energy_total) + " " + unit], ["10\u2079 MACs a second", number(h.gmacs_per_s)], ["area", h.area_um2 ? number(h.area_um2 / 1e6) + " mm\u00b2" : "\u2013"]];
  $("headline").textContent = "";
  for (const [name, value] of entries) { const box = make("div", null, $("headline")); make("dt", name, box); make("dd", value, box); }
}

function bars(place, parts, unit) {
  place.textContent = "";
  const box = make("div", null, place, "bars"), total = Object.values(parts).reduce((a, b) => a + b, 0), most = Math.max(...Object.values(parts), 1e-30);
  Object.entries(parts).forEach(([name, value], k) => {
    make("span", name, box);
    const bar = make("i", null, make("span", null, box));
    bar.style.width = 100 * value / most + "%";
    bar.style.background = COLOURS[k % COLOURS.length];
    make("span", `${number(value)} ${unit}, ${number(total ? 100 * value / total : 0, 3)} %`, box);
  });
}

function table(place, head, rows, left = 1) {
  place.textContent = "";
  const used = head.map((_, k) => rows.some((r) => r[k] !== undefined && r[k] !== null)), t = make("table", null, place), top = make("tr", null, make("thead", null, t)), body = make("tbody", null, t);
  head.forEach((h, k) => { if (used[k]) make("th", h, top, k < left ? "left" : ""); });
  for (const row of rows) { const r = make("tr", null, body); row.forEach((v, k) => { if (used[k]) make("td", typeof v === "number" ? number(v) : v ?? "", r, k < left ? "left" : ""); }); }
}

// Viridis at its ends and middle: dark is idle, bright is busy; the numbers stand beside.
function shade(x) {
  const stops = [[68, 1, 84], [59, 82, 139], [33, 145, 140], [94, 201, 98], [253, 231, 37]], at = Math.min(3.999, Math.max(0, x) * 4), k = Math.floor(at), f = at - k;
  return `rgb(${stops[k].map((c, n) => Math.round(c + f * (stops[k + 1][n] - c))).join(",")})`;
}

function pes() {
  const canvas = $("pes"), pen = canvas.getContext("2d");
  canvas.hidden = !view.pes;
  if (!view.pes) { $("pes-text").textContent = "This layer has too many steps to map its PEs."; return; }
  const {rows, cols, macs} = view.pes, cell = Math.max(1, Math.floor(320 / Math.max(rows, cols))), steps = view.headline.cycles;
  canvas.width = cols * cell;
  canvas.height = rows * cell;
  macs.forEach((m, k) => { pen.fillStyle = shade(m / steps); pen.fillRect((k % cols) * cell, Math.floor(k / cols) * cell, Math.max(1, cell - (cell > 3 ? 1 : 0)), Math.max(1, cell - (cell > 3 ? 1 : 0))); });
  const busy = macs.filter((m) => m > 0).length, most = Math.max(...macs), text = `${busy} of ${rows} x ${cols} PEs work; the busiest in ${number(100 * most / steps, 3)} % of the cycles, the mean PE in ${number(100 * view.headline.utilization, 3)} %. Dark is idle, bright is busy.`;
  $("pes-text").textContent = text;
  canvas.setAttribute("aria-label", text);
}

function roofline() {
  const place = $("roofline"), points = [...kept.map((k) => k.view.roofline), view.roofline], now = view.roofline, W = 360, H = 220, L = 56, B = 42;
  const xs = points.map((p) => p.macs_per_byte), ys = points.flatMap((p) => [p.gmacs_per_s, p.peak_gmacs_per_s]);
  const lx = Math.log10(Math.min(...xs) / 4), hx = Math.log10(Math.max(...xs) * 4), ly = Math.log10(Math.min(...ys) / 3), hy = Math.log10(Math.max(...ys) * 3);
  const x = (v) => L + (W - L - 8) * (Math.log10(v) - lx) / (hx - lx), y = (v) => H - B - (H - B - 8) * (Math.log10(v) - ly) / (hy - ly);
  const svg = (tag, attributes, parent, text) => { const e = document.createElementNS("http://www.w3.org/2000/svg", tag); for (const [k, v] of Object.entries(attributes)) e.setAttribute(k, v); if (text) e.textContent = text; parent.append(e); return e; };
  place.textContent = "";
  const root = svg("svg", {viewBox: `0 0 ${W} ${H}`, role: "img", "aria-label": "Roofline"}, place), low = 10 ** lx, high = 10 ** hx;
  svg("path", {class: "roof", d: `M${L},8V${H - B}H${W - 8}`}, root);
  const ridge = now.bandwidth_gb_per_s ? now.peak_gmacs_per_s / now.bandwidth_gb_per_s : low, from = Math.max(low, 10 ** ly / (now.bandwidth_gb_per_s || 1));
  const start = now.bandwidth_gb_per_s && ridge > low ? `M${x(from)},${y(Math.max(10 ** ly, now.bandwidth_gb_per_s * from))}L${x(Math.min(ridge, high))},${y(now.bandwidth_gb_per_s * Math.min(ridge, high))}` : `M${x(low)},${y(now.peak_gmacs_per_s)}`;
  svg("path", {class: "roof", d: start + (ridge < high ? `H${x(high)}` : "")}, root);
  points.forEach((p, k) => svg("circle", {class: k === points.length - 1 ? "dot" : "old", cx: x(p.macs_per_byte), cy: y(p.gmacs_per_s), r: 5}, root));
  svg("text", {x: L + 4, y: H - 6}, root, "MACs per byte of the outermost level");
  svg("text", {x: L + 4, y: 14}, root, "10\u2079 MACs a second");
  for (let e = Math.ceil(lx); e <= hx; e++) { svg("path", {class: "roof", d: `M${x(10 ** e)},${H - B}v4`}, root); svg("text", {x: x(10 ** e), y: H - B + 16, "text-anchor": "middle"}, root, number(10 ** e)); }
  for (let e = Math.ceil(ly); e <= hy; e++) { svg("path", {class: "roof", d: `M${L},${y(10 ** e)}h-4`}, root); svg("text", {x: L - 7, y: y(10 ** e) + 4, "text-anchor": "end"}, root, number(10 ** e)); }
  svg("text", {x: W - 10, y: y(now.peak_gmacs_per_s) - 5, "text-anchor": "end"}, root, "peak " + number(now.peak_gmacs_per_s, 3));
  $("roofline-text").textContent = `${number(now.macs_per_byte, 3)} MACs a byte; ${number(now.gmacs_per_s, 3)} of ${number(now.attainable_gmacs_per_s, 3)} \u00b7 10\u2079 MACs a second that are attainable; under the roof of ${now.bound === "memory" ? "memory" : "the array"}${waited()}.`;
}

function waited() {
  const cycles = Object.entries(view.latency).filter(([name]) => name.startsWith("waiting")).reduce((all, [, n]) => all + n, 0);
  return cycles ? `; ${number(100 * cycles / view.headline.cycles, 3)} % of the cycles wait` : "";
}

function keep() {
  kept.push({ask: view.ask, view});
  comparison();
  roofline();
}

function comparison() {
  $("kept-section").hidden = !kept.length;
  const first = kept[0]?.view;
  const against = (v, base) => base ? `${number(v)} (${number(v / base, 3)}x)` : number(v);
  table($("kept"), ["point", "layer", "architecture", "dataflow", "tiles", "changed", "cycles", "utilization", "energy", "area mm\u00b2"], kept.map(({ask: a, view: v}, k) => [String(k + 1), v.layer, a.arch, a.dataflow, a.objective, Object.entries(a.overrides).map(([x, y]) => `${x}=${y}`).join(" ") || "\u2013",
    against(v.headline.cycles, k && first.headline.cycles), number(100 * v.headline.utilization, 3) + " %", against(v.energy_total, k && first.energy_unit === v.energy_unit && first.energy_total) + (v.energy_unit === "pj" ? " pJ" : " MACs"), v.headline.area_um2 ? number(v.headline.area_um2 / 1e6) : "\u2013"]), 6);
}

function download(text, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], {type: "text/csv"}));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

function mergedCsv(texts) {
  const rows = texts.map((t) => t.trimEnd().split("\n")), same = rows.every((r) => r[0] === rows[0][0]);
  return same ? [rows[0][0], ...rows.map((r) => r[1])].join("\n") + "\n" : texts.join("\n");
}

async function copy(text) {
  $("copied").textContent = text;
  $("copied").hidden = false;
  try { await navigator.clipboard.writeText(text); $("status").textContent = "copied"; } catch { $("status").textContent = "select the text below the buttons to copy it"; }
}

async function play() {
  $("status").textContent = "running the cycle engine";
  const found = await post("/api/play", ask());
  $("status").textContent = found.error || found.title;
  if (found.error) return;
  $("player").hidden = false;
  $("frame").src = found.address;
  $("player").scrollIntoView();
}

async function runNetwork() {
  $("status").textContent = "running all layers";
  network = await post("/api/network", ask());
  $("status").textContent = network.error || "";
  $("network-csv").hidden = Boolean(network.error);
  if (network.error) return;
  const key = "energy_" + network.energy_unit;
  table($("network"), ["layer", "MACs", "cycles", "utilization", "energy " + (network.energy_unit === "pj" ? "pJ" : "MACs"), "error"], network.rows.map((r) => [r.layer, r.macs, r.cycles, r.utilization === null ? null : number(100 * r.utilization, 3) + " %", r[key], r.error]));
}

async function explain() {
  $("status").textContent = "asking what would help";
  const told = await post("/api/explain", view.ask);
  $("status").textContent = told.error || "";
  $("explain").hidden = $("explain-command").hidden = Boolean(told.error);
  if (told.error) return;
  $("explain").textContent = told.text;
  $("explain-command").onclick = () => copy(told.command);
}

let cloud = null;
async function runCloud() {
  $("status").textContent = "sampling mappings";
  cloud = await post("/api/cloud", ask());
  $("status").textContent = cloud.error || "";
  for (const id of ["cloud-python", "cloud-command", "cloud-csv"]) $(id).hidden = Boolean(cloud.error);
  $("cloud").textContent = "";
  $("cloud-text").textContent = "";
  if (cloud.error) return;
  const every = [...cloud.points, ...cloud.front, ...(cloud.rule ? [cloud.rule] : [])], W = 620, H = 320, L = 60, B = 36, range = (k) => { const v = every.map((p) => Math.log10(p[k])), a = Math.min(...v), b = Math.max(...v), m = Math.max(0.05, 0.05 * (b - a)); return [a - m, b + m]; };
  const [lx, hx] = range(0), [ly, hy] = range(1), x = (v) => L + (W - L - 8) * (Math.log10(v) - lx) / (hx - lx), y = (v) => H - B - (H - B - 10) * (Math.log10(v) - ly) / (hy - ly);
  const svg = (tag, attributes, parent, text) => { const e = document.createElementNS("http://www.w3.org/2000/svg", tag); for (const [k, v] of Object.entries(attributes)) e.setAttribute(k, v); if (text) e.textContent = text; parent.append(e); return e; };
  const root = svg("svg", {viewBox: `0 0 ${W} ${H}`, role: "img", "aria-label": "Mappings by cycles and energy"}, $("cloud"));
  svg("path", {class: "roof", d: `M${L},8V${H - B}H${W - 8}`}, root);
  for (const [v, side] of [[10 ** lx, "start"], [10 ** hx, "end"]]) svg("text", {x: x(v), y: H - B + 16, "text-anchor": side}, root, number(v, 3));
  for (const v of [10 ** ly, 10 ** hy]) svg("text", {x: L - 5, y: y(v) + (v === 10 ** hy ? 10 : 0), "text-anchor": "end"}, root, number(v, 2));
  svg("text", {x: (L + W) / 2, y: H - 6, "text-anchor": "middle"}, root, "cycles");
  svg("text", {x: L + 6, y: 16}, root, cloud.unit === "pj" ? "pJ" : "energy (MACs)");
  for (const p of cloud.points) svg("circle", {class: "some", cx: x(p[0]).toFixed(1), cy: y(p[1]).toFixed(1), r: 1.6}, root);
  if (cloud.front.length) { svg("polyline", {class: "front", points: cloud.front.map((p) => `${x(p[0])},${y(p[1])}`).join(" ")}, root); for (const p of cloud.front) svg("circle", {class: "dot", cx: x(p[0]), cy: y(p[1]), r: 4}, root); }
  if (cloud.rule) svg("rect", {class: "rule", x: x(cloud.rule[0]) - 5, y: y(cloud.rule[1]) - 5, width: 10, height: 10}, root);
  $("cloud-text").textContent = `${cloud.points.length} random legal mappings (grey${cloud.exact ? "" : ", cycles at least"}), ${cloud.front.length} that no other is better than (blue)` + (cloud.rule ? `; the fixed rule (square): ${number(cloud.rule[0])} cycles, ${number(cloud.rule[1])} ${cloud.unit === "pj" ? "pJ" : "MACs"}.` : ".");
}

async function start() {
  choices = await (await fetch("/api/choices")).json();
  options($("workload"), [...Object.keys(choices.workloads).map((n) => [n, n]), ["own", "a layer of my own"]], "alexnet");
  options($("arch"), Object.keys(choices.architectures).map((n) => [n, n]), "eyeriss");
  options($("dataflow"), Object.entries(choices.dataflows).map(([n, text]) => [n, n.replaceAll("_", " ")]), "row_stationary");
  for (const [name, value] of Object.entries(OWN)) numberField($("own"), name, value, name === "padding" ? 0 : 1, name === "H" || name === "W" ? 1024 : 4096);
  archChanged();
  workloadChanged();
  $("arch").addEventListener("input", () => { archChanged(); changed(); });
  $("workload").addEventListener("input", () => { workloadChanged(); changed(); });
  for (const id of ["layer", "batch", "direction", "objective"]) $(id).addEventListener("input", changed);
  $("dataflow").addEventListener("input", () => { pairs(); changed(); });
  $("controls").addEventListener("submit", (e) => e.preventDefault());
  $("keep").onclick = keep;
  $("play").onclick = play;
  $("copy-python").onclick = () => copy(view.python);
  $("copy-command").onclick = () => copy(view.command);
  $("csv").onclick = () => download(view.csv, `${view.layer}.csv`);
  $("kept-csv").onclick = () => download(mergedCsv(kept.map((k) => k.view.csv)), "points.csv");
  $("forget").onclick = () => { kept.length = 0; comparison(); roofline(); };
  $("cloud-run").onclick = runCloud;
  $("explain-run").onclick = explain;
  $("cloud-python").onclick = () => copy(cloud.python);
  $("cloud-command").onclick = () => copy(cloud.command);
  $("cloud-csv").onclick = () => download("cycles,energy_" + cloud.unit + "\n" + cloud.points.map((p) => p.join(",")).join("\n") + "\n", "cloud.csv");
  $("network-run").onclick = runNetwork;
  $("network-csv").onclick = () => download(network.csv, "network.csv");
  await update();
  document.body.dataset.ready = "1";
}

start();
