"use strict";
// The page: asks the server what the controls say, shows the answer, and keeps points.

let view = null, asked = 0, controller = null, network = null, cloud = null;
const kept = [];

// ---- questions and answers -----------------------------------------------------------------------------------------

let waiting = 0;
function changed() { awaited(true); clearTimeout(waiting); waiting = setTimeout(update, 15); }

async function post(path, body, signal) {
  const answer = await fetch(path, {method: "POST", headers: {"Content-Type": "application/json"}, body: JSON.stringify(body), signal});
  const kind = answer.headers.get("content-type") || "";
  const told = kind.startsWith("application/json") ? await answer.json() : {error: await answer.text()};
  if (!answer.ok && !told.error) told.error = "the server said " + answer.status;
  return told;
}

// Until the answer is there the old one stays, pale, under the name of its own question; seconds are counted aloud.
const answers = new Map();  // to questions asked before, the newest last
async function answered(question, signal) {
  const key = JSON.stringify(question), known = answers.get(key);
  if (known) return known;
  const told = await post("/api/layer", question, signal);
  if (!told.error) answers.set(key, told);
  if (answers.size > 400) answers.delete(answers.keys().next().value);
  return told;
}

let since = 0, clock = 0;
function awaited(yes) {
  $("views").setAttribute("aria-busy", String(yes));
  clearInterval(clock);
  if (!yes) { since = 0; return; }
  since ||= performance.now();
  clock = setInterval(() => {
    const s = Math.round((performance.now() - since) / 1000);
    $("status").textContent = `awaiting the answer${s ? `, ${s} s` : ""}${s > 4 && !view ? " (a first run compiles its inner loops, once)" : ""}`;
  }, 200);
}

async function update() {
  const mine = ++asked, before = performance.now();
  if (controller) controller.abort();
  controller = new AbortController();
  awaited(true);
  let told, sent = ask();
  try {
    told = await answered(sent, controller.signal);
  } catch (error) {
    if (error.name === "AbortError") return;
    told = {error: "the explorer does not answer; is it still running?"};
  }
  if (mine !== asked) return;
  history.replaceState(null, "", toAddress());
  awaited(false);
  show(told, sent);
  const took = Math.round(performance.now() - before);
  document.body.dataset.took = took;
  $("status").textContent = told.error ? "" : `answered in ${took} ms`;
  document.body.dataset.shown = mine;
  await sideBySide(mine, sent);
}

// ---- views ---------------------------------------------------------------------------------------------------------

const joules = (v) => energy(v, view.energy_unit);

function show(told, sent) {
  $("trouble").hidden = !told.error;
  $("trouble").textContent = told.error || "";
  view = told.error ? null : {...told, ask: sent};  // an answer keeps the question it answers
  $("explain").hidden = $("explain-command").hidden = true;
  for (const id of ["keep", "play", "copy-python", "copy-command", "csv"]) $(id).disabled = !view;
  for (const section of $("views").querySelectorAll("section:not(#kept-section):not(#player):not(#beside-section)")) section.hidden = !view && !section.querySelector("#network, #cloud, #sweep");
  $("beside-section").hidden = true;
  if (!view) return;
  $("copied").hidden = true;
  draw();
}

function draw() {
  $("asked").textContent = askedText(view.ask);
  headline();
  bars($("energy"), view.energy, joules);
  bars($("latency"), view.latency, (v) => number(v));
  $("binds").textContent = view.binds[0];
  $("energy-text").textContent = view.binds.slice(1).join(" ");
  $("nest").textContent = view.nest;
  table($("tiles"), ["level", "tensor", "words", "bytes", "of"], view.tiles.map((t) => [t.level, t.tensor, t.words, t.bytes, t.capacity_bytes === null ? "no limit" : number(t.capacity_bytes, "B") + (t.shared ? " shared" : "")]), 2);
  table($("counts"), ["where", "tensor", "reads", "writes", "deliveries", "additions"], view.counts.map((c) => [c.where, c.tensor, c.reads, c.writes, c.deliveries, c.additions]), 2);
  pes();
  roofline();
}

function headline() {
  const h = view.headline;
  const entries = [["cycles", number(h.cycles), h.cycles], ["time", number(h.time_s, "s"), h.time_s], ["energy", joules(view.energy_total), view.energy_total], ["utilization", percent(h.utilization), h.utilization], ["MACs", number(h.macs), h.macs], ["PEs at once", number(h.active_pes), h.active_pes], ["speed", number(h.gmacs_per_s * 1e9, "MAC/s"), h.gmacs_per_s], ["area", h.area_um2 ? `${Number((h.area_um2 / 1e6).toPrecision(4))}${THIN}mm\u00b2` : NONE, h.area_um2]];
  $("headline").textContent = "";
  for (const [name, text, value] of entries) { const box = make("div", null, $("headline")); make("dt", name, box); const dd = make("dd", text, box); dd.dataset.exact = value ?? ""; dd.title = digits(value); }
}

function pes() {
  const canvas = $("pes");
  canvas.hidden = $("pes-scale").hidden = !view.pes;
  if (!view.pes) { $("pes-text").textContent = "This layer has too many steps to map its PEs."; return; }
  const {rows, cols, macs} = view.pes, steps = view.headline.cycles;
  peMap(canvas, view.pes, steps);
  $("pes-scale").textContent = "";
  colourScale($("pes-scale"), [0, 0.25, 0.5, 0.75, 1].map(percent));
  const busy = macs.filter((m) => m > 0).length, most = Math.max(...macs), text = `${busy} of ${rows} x ${cols} PEs work; the busiest in ${percent(most / steps)} of the cycles, the mean PE in ${percent(view.headline.utilization)}.`;
  $("pes-text").textContent = text;
  canvas.setAttribute("aria-label", text);
}

function roofline() {
  const now = view.roofline;
  rooflineChart($("roofline"), kept.map((k) => k.view.roofline), now, view.roofs);
  const gmacs = (v) => number(v * 1e9, "MAC/s");
  $("roofline-text").textContent = `${number(now.macs_per_byte)} MACs a byte; ${gmacs(now.gmacs_per_s)} of ${gmacs(now.attainable_gmacs_per_s)} that are attainable under the roof of ${now.bound === "memory" ? "memory" : "the array"}${waited()}.${lowest()} ${view.binds[0]}`;
}

// The lowest roof of all ports and networks, and how near it is.
function lowest() {
  const [roof] = view.roofs;
  return roof ? ` Lowest of all: ${roofName(roof)}, ${number(roof.gmacs_per_s * 1e9, "MAC/s")}, of which ${percent(view.roofline.gmacs_per_s / roof.gmacs_per_s)} are reached.` : " No port and no network has a width: nothing is ever waited for.";
}

function waited() {
  const cycles = Object.entries(view.latency).filter(([name]) => name.startsWith("waiting")).reduce((all, [, n]) => all + n, 0);
  return cycles ? `; ${percent(cycles / view.headline.cycles)} of the cycles wait` : "";
}

function download(text, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], {type: "text/csv"}));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

async function copy(text) {
  $("copied").textContent = text;
  $("copied").hidden = false;
  try { await navigator.clipboard.writeText(text); $("status").textContent = "copied"; } catch { $("status").textContent = "select the text below the buttons to copy it"; }
}

// ---- what takes longer, and is asked for by a button -----------------------------------------------------------------

async function play() {
  $("status").textContent = "running the cycle engine";
  const played = await post("/api/play", view.ask);
  $("status").textContent = played.error || played.title;
  if (played.error) return;
  $("player").hidden = false;
  $("frame").src = played.address;
  $("player").scrollIntoView();
}

async function runNetwork() {
  $("status").textContent = "running all layers";
  network = await post("/api/network", ask());
  $("status").textContent = network.error || "";
  $("network-csv").hidden = Boolean(network.error);
  if (network.error) return;
  const key = "energy_" + network.energy_unit;
  table($("network"), ["layer", "MACs", "cycles", "utilization", "energy", "error"], network.rows.map((r) => [r.layer, r.macs, r.cycles, r.utilization === null ? null : percent(r.utilization), energy(r[key], network.energy_unit), r.error]));
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

async function runCloud() {
  $("status").textContent = "sampling mappings";
  cloud = await post("/api/cloud", ask());
  $("status").textContent = cloud.error || "";
  for (const id of ["cloud-python", "cloud-command", "cloud-csv"]) $(id).hidden = Boolean(cloud.error);
  $("cloud").textContent = $("cloud-text").textContent = "";
  if (cloud.error) return;
  cloudChart($("cloud"), cloud);
  $("cloud-text").textContent = `${cloud.points.length} random legal mappings (grey${cloud.exact ? "" : ", cycles at least"}), ${cloud.front.length ? `${cloud.front.length} that no other is better than (blue)` : "those that no other is better than were not found in the time"}` + (cloud.rule ? `; the fixed rule (square): ${number(cloud.rule[0])} cycles, ${energy(cloud.rule[1], cloud.unit)}.` : ".");
}

// ---- start ---------------------------------------------------------------------------------------------------------

async function start() {
  choices = await (await fetch("/api/choices")).json();
  options($("workload"), [...Object.keys(choices.workloads).map((n) => [n, n]), ["own", "a layer of my own"]], "alexnet");
  options($("arch"), Object.keys(choices.architectures).map((n) => [n, n]), "eyeriss");
  options($("dataflow"), Object.keys(choices.dataflows).map((n) => [n, flowText(n)]), "row_stationary");
  for (const [name, value] of Object.entries(OWN)) numberField($("own"), name, value, name === "padding" ? 0 : 1, name === "H" || name === "W" ? 1024 : 4096);
  const unknown = fromAddress(location.hash);
  $("arch").addEventListener("input", () => { archChanged(); changed(); });
  $("workload").addEventListener("input", () => { workloadChanged(); changed(); });
  for (const id of ["layer", "batch", "direction", "objective"]) $(id).addEventListener("input", changed);
  $("dataflow").addEventListener("input", () => { dataflowChanged(); changed(); });
  $("exact").addEventListener("input", () => { exact = $("exact").checked; history.replaceState(null, "", toAddress()); if (view) draw(); comparison(); drawBeside(); });
  addEventListener("hashchange", () => { fromAddress(location.hash); changed(); });
  $("link").onclick = () => copy(location.href);
  $("controls").addEventListener("submit", (e) => e.preventDefault());
  $("keep").onclick = keep;
  $("play").onclick = play;
  $("copy-python").onclick = () => copy(view.python);
  $("copy-command").onclick = () => copy(view.command);
  $("csv").onclick = () => download(view.csv, `${view.layer}.csv`);
  $("kept-csv").onclick = () => download(oneTable(kept), "points.csv");
  $("forget").onclick = () => { kept.length = 0; comparison(); if (view) roofline(); };
  $("cloud-run").onclick = runCloud;
  $("explain-run").onclick = explain;
  $("cloud-python").onclick = () => copy(cloud.python);
  $("cloud-command").onclick = () => copy(cloud.command);
  $("cloud-csv").onclick = () => download("cycles,energy_" + cloud.unit + "\n" + cloud.points.map((p) => p.join(",")).join("\n") + "\n", "cloud.csv");
  $("network-run").onclick = runNetwork;
  $("network-csv").onclick = () => download(network.csv, "network.csv");
  startSweep();
  await update();
  if (unknown.length) $("status").textContent = `the address names what is not here: ${unknown.join(", ")}`;
  document.body.dataset.ready = "1";
}

start();
