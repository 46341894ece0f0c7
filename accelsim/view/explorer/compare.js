"use strict";
// Several answers at a time: dataflows side by side, kept points, sweeps over any key.  Every point is an answer of the
// server to one question, which it keeps; so each number here is one that the page shows alone as well.

const against = (text, v, base) => base ? `${text} (${si(v / base, "", 3)}x)` : text;

// ---- dataflows side by side ------------------------------------------------------------------------------------------

let beside = [];

async function sideBySide(mine, sent) {
  const flows = besides();
  beside = [];
  if (!flows.length || !view) return;
  beside = [{ask: sent, view}];
  for (const dataflow of flows) {
    const question = {...sent, dataflow};
    let told;
    try { told = await answered(question, controller.signal); } catch { return; }
    if (mine !== asked) return;
    beside.push({ask: question, view: told});
    drawBeside();
  }
  document.body.dataset.beside = mine;
}

function drawBeside() {
  $("beside-section").hidden = beside.length < 2;
  if (beside.length < 2) return;
  const first = beside[0].view, ran = beside.filter(({view: v}) => !v.error), unit = first.energy_unit;
  table($("beside-table"), ["dataflow", "cycles", "utilization", "energy", "binds", "error"], beside.map(({ask: a, view: v}, k) => v.error ? [flowText(a.dataflow), null, null, null, null, v.error] : [flowText(a.dataflow), against(number(v.headline.cycles), v.headline.cycles, k && first.headline.cycles), percent(v.headline.utilization), against(energy(v.energy_total, unit), v.energy_total, k && first.energy_total), v.binds[0], null]));
  stacked($("beside-latency"), "Cycles", ran.map(({ask: a, view: v}) => ({label: flowText(a.dataflow), parts: v.latency})), (v) => number(v));
  stacked($("beside-energy"), "Energy", ran.map(({ask: a, view: v}) => ({label: flowText(a.dataflow), parts: v.energy})), (v) => energy(v, unit));
}

// ---- kept points -----------------------------------------------------------------------------------------------------

function keep() {
  kept.push({ask: view.ask, view});
  comparison();
  roofline();
}

const setText = (a) => Object.entries(a.overrides).map(([x, y]) => `${x}=${y}`).join(" ") || NONE;
const layerText = ({ask: a, view: v}) => a.own ? `own ${Object.entries(a.own).map(([k, x]) => k + x).join(" ")}` : `${a.workload} ${v.layer}`;

function comparison() {
  $("kept-section").hidden = !kept.length;
  if (!kept.length) return;
  const first = kept[0].view;
  table($("kept"), ["point", "layer", "architecture", "dataflow", "batch", "direction", "tiles", "changed", "cycles", "utilization", "energy", "area mm\u00b2"], kept.map((point, k) => {
    const {ask: a, view: v} = point, cycles = v.headline.cycles, same = v.energy_unit === first.energy_unit;
    return [String(k + 1), layerText(point), a.arch, a.dataflow, String(a.batch), a.direction, a.objective, setText(a), against(number(cycles), cycles, k && first.headline.cycles), percent(v.headline.utilization), against(energy(v.energy_total, v.energy_unit), v.energy_total, k && same && first.energy_total), v.headline.area_um2 ? number(v.headline.area_um2 / 1e6) : NONE];
  }), 8);
  const named = kept.map((point, k) => ({...point, name: String(k + 1)})), alike = named.filter(({view: v}) => v.energy_unit === first.energy_unit);
  scatter($("kept-scatter"), alike.map(({name, view: v}) => ({name, cycles: v.headline.cycles, energy: v.energy_total})), first.energy_unit);
  stacked($("kept-latency"), "Cycles", named.map(({name, view: v}) => ({label: name, parts: v.latency})), (v) => number(v));
  stacked($("kept-energy"), alike.length < kept.length ? "Energy, of points in the first one's unit" : "Energy", alike.map(({name, view: v}) => ({label: name, parts: v.energy})), (v) => energy(v, first.energy_unit));
}

// Points as one table: every control is a column, numbers of the machine as they were whether changed or not, then all
// that the model says of the point; what a point has not is empty.
function oneTable(points) {
  const machineKeys = [...new Set(points.flatMap(({ask: a}) => [...Object.keys(everyKey(choices.architectures[a.arch])), ...Object.keys(a.overrides)]))];
  const sizes = points.some(({ask: a}) => a.own) ? Object.keys(OWN) : [];
  const rows = points.map(({ask: a, view: v}, k) => {
    const row = {point: k + 1, workload: a.own ? "own" : a.workload, layer: a.own ? "own" : a.layer, arch: a.arch, dataflow: a.dataflow, batch: a.batch, direction: a.direction, tiles_asked: a.objective};
    for (const key of machineKeys) row[key] = a.overrides[key] ?? everyKey(choices.architectures[a.arch])[key] ?? "";
    for (const name of sizes) row[`own.${name}`] = a.own?.[name] ?? "";
    return {...(v.record ?? {error: v.error}), ...row};
  });
  const first = ["point", "workload", "layer", "arch", "dataflow", "batch", "direction", "tiles_asked", ...machineKeys, ...sizes.map((n) => `own.${n}`)];
  const head = [...new Set([...first, ...rows.flatMap(Object.keys)])];
  const cell = (v) => /[",\n\r]/.test(v) ? `"${String(v).replaceAll('"', '""')}"` : String(v);
  return [head, ...rows.map((r) => head.map((name) => r[name] ?? ""))].map((line) => line.map(cell).join(",")).join("\n") + "\n";
}

// ---- sweeps ----------------------------------------------------------------------------------------------------------

const MOST_POINTS = 400;
const MEASURES = {
  cycles: {of: (v) => v.headline.cycles, write: (x) => number(x), unit: () => ""},
  energy: {of: (v) => v.energy_total * (v.energy_unit === "pj" ? 1e-12 : 1), write: (x, u) => number(x, u), unit: (v) => v.energy_unit === "pj" ? "J" : "MAC"},
  "energy x cycles": {of: (v) => v.energy_total * (v.energy_unit === "pj" ? 1e-12 : 1) * v.headline.cycles, write: (x) => number(x), unit: () => ""},
  utilization: {of: (v) => v.headline.utilization, write: (x) => percent(x), unit: () => ""},
  "time": {of: (v) => v.headline.time_s, write: (x, u) => number(x, u), unit: () => "s"},
  "area mm\u00b2": {of: (v) => v.headline.area_um2 === null ? null : v.headline.area_um2 / 1e6, write: (x) => number(x), unit: () => ""},
};
let swept = null, sweeping = null;

// Keys of the machine that is chosen, and the values that stand ready for one: a quarter of its own to four times.
function sweepKeys() {
  if (!$("sweep-x")) return;
  const keys = ["batch", ...Object.keys(everyKey(machine()))], [x, y] = [$("sweep-x").value, $("sweep-y").value];
  options($("sweep-x"), keys.map((k) => [k, keyText(k)]), keys.includes(x) ? x : "array.rows");
  options($("sweep-y"), [["", "nothing"], ...keys.map((k) => [k, keyText(k)])], keys.includes(y) ? y : "");
  for (const axis of ["x", "y"]) sweepValues(axis);
}

function sweepValues(axis) {
  const key = $(`sweep-${axis}`).value, own = key === "batch" ? 1 : everyKey(machine())[key];
  $(`sweep-${axis}-values`).disabled = !key;
  if (!key) { $(`sweep-${axis}-values`).value = ""; return; }
  const from = key === "batch" ? [1, 2, 4, 8, 16] : key.startsWith("bits.") ? [4, 8, 12, 16] : own ? [0.25, 0.5, 1, 2, 4].map((f) => f * own) : own === 0 ? [0, 10, 100] : [16, 32, 64, 128];
  $(`sweep-${axis}-values`).value = [...new Set(from.map((v) => Math.max(own === 0 ? 0 : 1, Math.round(v))))].join(", ");
}

function startSweep() {
  options($("sweep-value"), Object.keys(MEASURES).map((n) => [n, n]), "cycles");
  for (const axis of ["x", "y"]) $(`sweep-${axis}`).addEventListener("input", () => sweepValues(axis));
  $("sweep-value").addEventListener("input", () => { if (swept) drawSweep(); });
  $("sweep-run").onclick = runSweep;
  $("sweep-stop").onclick = () => sweeping?.abort();
  $("sweep-csv").onclick = () => download(oneTable(swept.points.filter((p) => p)), "sweep.csv");
  $("sweep-python").onclick = () => copy(swept.python);
  $("sweep-command").onclick = () => copy(swept.command);
}

const numbersOf = (axis) => $(`sweep-${axis}-values`).value.split(/[,\s]+/).filter(Boolean).map(Number);

async function runSweep() {
  const x = {key: $("sweep-x").value, values: numbersOf("x")}, y = $("sweep-y").value ? {key: $("sweep-y").value, values: numbersOf("y")} : null;
  const base = ask(), flows = [base.dataflow, ...besides()], many = x.values.length * (y ? y.values.length : 1) * flows.length;
  const wrong = y && x.key === y.key ? "the two axes are the same key" : [...x.values, ...(y?.values ?? [])].some((v) => !Number.isFinite(v)) || !many ? "values are numbers, with commas between" : many > MOST_POINTS ? `${many} points; at most ${MOST_POINTS} here, more in the shell` : "";
  $("sweep-text").textContent = wrong;
  if (wrong) return;
  sweeping?.abort();
  const mine = sweeping = new AbortController();
  swept = {x, y, flows, points: [], python: null, command: null};
  $("sweep-stop").hidden = false;
  const put = (a, key, value) => key === "batch" ? {...a, batch: value} : {...a, overrides: {...a.overrides, [key]: value}};
  for (const dataflow of flows) for (const v of y ? y.values : [null]) for (const u of x.values) {
    let question = put({...base, dataflow}, x.key, u), told;
    if (y) question = put(question, y.key, v);
    try { told = await answered(question, mine.signal); } catch { break; }
    if (sweeping !== mine) return;
    swept.points.push({ask: question, view: told, u, v, dataflow});
    $("sweep-text").textContent = `${swept.points.length} of ${many} points`;
    drawSweep();
  }
  $("sweep-stop").hidden = true;
  $("sweep-csv").hidden = !swept.points.length;
  const code = [x, y].some((axis) => axis?.key === "batch") ? {error: "batch"} : await post("/api/sweep", {...base, axes: [x, y].filter(Boolean), flows});
  for (const id of ["sweep-python", "sweep-command"]) $(id).hidden = Boolean(code.error);
  Object.assign(swept, code);
  document.body.dataset.swept = swept.points.length;
}

function drawSweep() {
  const name = $("sweep-value").value, measure = MEASURES[name], ran = swept.points.filter(({view: v}) => !v.error && measure.of(v) !== null), failed = swept.points.filter(({view: v}) => v.error);
  $("sweep").textContent = "";
  if (!ran.length) { if (failed.length) $("sweep-text").textContent = failed[0].view.error; return; }
  const unit = measure.unit(ran[0].view), value = (p) => p.view.error ? null : measure.of(p.view);
  if (swept.y) {
    const values = ran.map(value), low = Math.min(...values), high = Math.max(...values), log = low > 0 && high / low > 8;
    const share = (v) => high === low ? 0.5 : log ? Math.log(v / low) / Math.log(high / low) : (v - low) / (high - low);
    for (const flow of swept.flows) {
      const box = make("div", null, $("sweep"), "map");
      make("h3", `${name}, ${flowText(flow)}`, box);
      heatMap(make("div", null, box), {x: {label: keyText(swept.x.key), values: swept.x.values}, y: {label: keyText(swept.y.key), values: swept.y.values}}, swept.points.filter((p) => p.dataflow === flow).map((p) => ({u: p.u, v: p.v, value: value(p), why: p.view.error})), share, (v) => measure.write(v, unit));
    }
    colourScale($("sweep"), [0, 0.25, 0.5, 0.75, 1].map((f) => measure.write(log ? low * (high / low) ** f : low + f * (high - low), unit)));
  } else lines($("sweep"), keyText(swept.x.key), name, unit, swept.flows.map((flow) => ({label: flowText(flow), points: swept.points.filter((p) => p.dataflow === flow && value(p) !== null).map((p) => [p.u, value(p)])})));
  if (failed.length) $("sweep-text").textContent = `${swept.points.length} points, ${failed.length} of them cannot run: ${failed[0].view.error}`;
}
