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
  field.type = "number"; field.min = least; field.max = most; field.value = value; field.dataset.key = name; field.dataset.own = value;
  field.addEventListener("input", changed);
}

// A key of the architecture in words.
const keyText = (key) => key.replace(/^levels\.(\w+)\.capacity_bytes$/, "$1 bytes");

const machine = () => choices.architectures[$("arch").value];
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
  [...$("keys").querySelectorAll("label")].forEach((x) => x.remove());
  $("objective").value = machine().tiles === "rule" ? "rule" : "edp";  // the machine's own
  for (const [key, value] of Object.entries(machine().keys)) numberField($("keys"), key, value, 1, 2 ** 40);
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
}

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
}

const fields = (id) => [...$(id).querySelectorAll("[data-key]")];

// What the controls ask for, as the server reads it.
function ask() {
  const own = $("workload").value === "own", asked = {arch: $("arch").value, dataflow: $("dataflow").value, batch: Number($("batch").value), direction: $("direction").value, objective: $("objective").value, overrides: {}};
  for (const f of fields("keys")) if (f.value !== f.dataset.own) asked.overrides[f.dataset.key] = Number(f.value);
  if (own) { asked.own = {}; for (const f of fields("own")) asked.own[f.dataset.key] = Number(f.value); }
  else { asked.workload = $("workload").value; asked.layer = $("layer").value; }
  return asked;
}

// A question in words: what numbers on the page are the answer to.
function askedText(a) {
  const layer = a.own ? `own layer ${Object.entries(a.own).map(([k, v]) => `${k}${THIN}${v}`).join(" ")}` : `${a.workload} ${a.layer}`;
  const set = Object.entries(a.overrides).map(([k, v]) => `${k}=${v}`).join(" ");
  return `${layer} on ${a.arch}${set ? ` (${set})` : ""}, ${flowText(a.dataflow)}, batch ${a.batch}, ${a.direction}, ${a.objective === "rule" ? "fixed rule" : `best ${a.objective}`}`;
}
