"use strict";
// The controls: what they offer, what they ask for, and the same as an address that can be sent.

const $ = (id) => document.getElementById(id);
const OWN = {M: 32, C: 16, H: 28, W: 28, R: 3, S: 3, stride: 1, padding: 1, groups: 1};
let choices = null;

function options(select, entries, chosen) {
  select.textContent = "";
  for (const [value, text] of entries) { const o = make("option", text, select); o.value = value; if (value === chosen) o.selected = true; }
}

function numberField(parent, name, value, least, most) {
  const label = make("label", `${keyText(name)} `, parent), field = make("input", null, label);
  label.title = name;
  field.type = "number"; field.min = least; field.max = most; field.value = value ?? ""; field.placeholder = "none"; field.dataset.key = name; field.dataset.own = value ?? "";
  field.addEventListener("input", changed);
}

// A key of the architecture in words, its unit last.
const WORDS = [[/^levels\.(\w+)\.capacity_bytes$/, "$1 bytes"], [/^levels\.(\w+)\.partitions\.(\w+)$/, "$1 $2 bytes"], [/^levels\.(\w+)\.port_bits$/, "$1 port bits"], [/^levels\.(\w+)\.port_clock_mhz$/, "$1 port MHz"], [/^levels\.(\w+)\.latency_cycles$/, "$1 latency cycles"], [/^networks\.(\w+)\.width_bits\.(\w+)$/, "$1 $2 bits"], [/^networks\.(\w+)\.width_bits$/, "$1 bits"], [/^bits\.(\w+)$/, "$1 bits"], [/^clock_mhz$/, "clock MHz"]];
const keyText = (key) => { const known = WORDS.find(([pattern]) => pattern.test(key)); return known ? key.replace(...known) : key; };

const machine = () => choices.architectures[$("arch").value];
const everyKey = (m) => ({...m.keys, ...m.memory, ...m.words});  // every number of a machine
const flowText = (name) => name.replaceAll("_", " ");

function archChanged() {
  if ($("dataflow").value in machine().refused) moved("dataflow", Object.keys(choices.dataflows).find((n) => !(n in machine().refused)));
  else moved();
  machineShown();
}

function dataflowChanged() {
  const flow = $("dataflow").value;
  if (!(flow in machine().refused)) { moved(); return; }
  moved("arch", Object.keys(choices.architectures).find((n) => !(flow in choices.architectures[n].refused)));
  machineShown();
}

// The fields of the machine's numbers, as its file has them.
function machineShown() {
  $("arch-text").textContent = machine().description;
  $("objective").value = machine().tiles === "rule" ? "rule" : "edp";  // the machine's own
  for (const group of ["keys", "memory", "words"]) {
    [...$(group).querySelectorAll("label")].forEach((x) => x.remove());
    for (const [key, value] of Object.entries(machine()[group])) numberField($(group), key, value, key.endsWith("latency_cycles") ? 0 : 1, 2 ** 40);
  }
  for (const level of machine().timed) {
    const label = make("label", `${level} costs `, $("memory")), select = make("select", null, label);
    options(select, [["", "time"], ["unlimited", "no time"]], "");
    select.dataset.key = `levels.${level}`; select.dataset.own = "";
    select.addEventListener("input", changed);
  }
  sweepKeys();
}

// Of a pair that cannot run the control that was not touched moves, and says why.
function moved(control, value) {
  const [arch, flow] = [$("arch").value, $("dataflow").value];
  if (control) {
    $(control).value = value;
    $("moved-text").textContent = `${flowText(flow)} does not run on ${arch} (${choices.architectures[arch].refused[flow]}): ${control === "arch" ? "architecture" : "dataflow"} is now ${flowText(value)}.`;
  }
  $("moved-text").hidden = !control;
  pairs();
}

// What runs together stands first; what does not can be chosen all the same, and moves the other control.
function pairs() {
  const flow = $("dataflow").value, refused = machine().refused, runs = (arch) => !(flow in choices.architectures[arch].refused);
  groupedOptions($("dataflow"), Object.keys(choices.dataflows), (n) => n in refused ? refused[n] : "", `runs on ${$("arch").value}`, "another architecture comes with it");
  groupedOptions($("arch"), Object.keys(choices.architectures), (n) => runs(n) ? "" : choices.architectures[n].refused[flow], `runs ${flowText(flow)}`, "another dataflow comes with it");
  $("dataflow-text").textContent = choices.dataflows[flow];
  const ticked = besides();
  $("beside").textContent = "";
  for (const name of Object.keys(choices.dataflows).filter((n) => !(n in refused) && n !== flow)) {
    const label = make("label", null, $("beside")), box = make("input", null, label);
    box.type = "checkbox"; box.value = name; box.checked = ticked.includes(name);
    box.addEventListener("input", changed);
    label.append(flowText(name));
  }
}

// Dataflows that are ticked to stand beside the chosen one.
const besides = () => [...$("beside").querySelectorAll("input:checked")].map((box) => box.value);

function groupedOptions(select, names, why, first, second) {
  const chosen = select.value, groups = [first, second].map((label) => { const g = document.createElement("optgroup"); g.label = label; return g; });
  for (const name of names) { const reason = why(name), o = make("option", flowText(name), groups[reason ? 1 : 0]); o.value = name; o.title = reason; if (reason) o.dataset.refused = reason; }
  select.replaceChildren(...groups.filter((g) => g.children.length));
  select.value = chosen;
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

const fields = (id) => [...$(id).querySelectorAll("[data-key]")];

// What the controls ask for, as the server reads it.
function ask() {
  const own = $("workload").value === "own", asked = {arch: $("arch").value, dataflow: $("dataflow").value, batch: Number($("batch").value), direction: $("direction").value, objective: $("objective").value, overrides: {}};
  for (const f of fields("machine")) if (f.value !== f.dataset.own) asked.overrides[f.dataset.key] = f.value === "unlimited" ? f.value : Number(f.value);
  if (own) { asked.own = {}; for (const f of fields("own")) asked.own[f.dataset.key] = Number(f.value); }
  else {
    asked.workload = $("workload").value; asked.layer = $("layer").value; asked.params = {};
    for (const f of fields("params")) if (f.value !== f.dataset.own) asked.params[f.dataset.key] = Number(f.value);
  }
  return asked;
}

// A question in words: what numbers on the page are the answer to.
function askedText(a) {
  const layer = a.own ? `own layer ${Object.entries(a.own).map(([k, v]) => `${k}${THIN}${v}`).join(" ")}` : [a.workload, ...Object.entries(a.params).map(([k, v]) => `${k}=${v}`), a.layer].join(" ");
  const set = Object.entries(a.overrides).map(([k, v]) => `${k}=${v}`).join(" ");
  return `${layer} on ${a.arch}${set ? ` (${set})` : ""}, ${flowText(a.dataflow)}, batch ${a.batch}, ${a.direction}, ${a.objective === "rule" ? "fixed rule" : `best ${a.objective}`}`;
}

// ---- the address -----------------------------------------------------------------------------------------------------

// All controls behind the # of the address, changed numbers by their keys: a link that can be sent, and no question
// to the server.
function toAddress() {
  const a = ask(), said = new URLSearchParams();
  for (const [name, value] of [...(a.own ? Object.entries(a.own).map(([k, v]) => [`own.${k}`, v]) : [["workload", a.workload], ["layer", a.layer], ...Object.entries(a.params).map(([k, v]) => [`param.${k}`, v])]), ["arch", a.arch], ["dataflow", a.dataflow], ["batch", a.batch], ["direction", a.direction], ["tiles", a.objective], ...Object.entries(a.overrides)]) said.set(name, value);
  if (besides().length) said.set("beside", besides().join(","));
  if (exact) said.set("exact", "1");
  return `#${said}`;
}

// Controls as an address says; what it names and nobody knows is told, and left.
function fromAddress(text) {
  const said = new URLSearchParams(text.replace(/^#/, "")), unknown = [];
  const choose = (id, value) => { if (value === null) return; if ([...$(id).options].some((o) => o.value === value)) $(id).value = value; else unknown.push(value); };
  const own = [...said.keys()].some((name) => name.startsWith("own."));
  choose("workload", own ? "own" : said.get("workload"));
  workloadChanged();
  if (!own) choose("layer", said.get("layer"));
  choose("dataflow", said.get("dataflow"));
  choose("arch", said.get("arch"));
  archChanged();
  choose("direction", said.get("direction"));
  choose("objective", said.get("tiles"));
  for (const [name, value] of said) {
    if (["workload", "layer", "arch", "dataflow", "direction", "tiles"].includes(name)) continue;
    if (name === "beside") for (const box of $("beside").querySelectorAll("input")) box.checked = value.split(",").includes(box.value);
    else if (name === "exact") exact = $("exact").checked = value === "1";
    else {
      const home = name.startsWith("own.") ? "own" : name.startsWith("param.") ? "params" : "machine";
      const field = name === "batch" ? $("batch") : fields(home).find((f) => f.dataset.key === name.replace(/^(own|param)\./, ""));
      if (field && (Number.isFinite(Number(value)) && value !== "" || value === "unlimited")) { field.value = value; field.closest("details")?.setAttribute("open", ""); }
      else unknown.push(name);
    }
  }
  return unknown;
}
