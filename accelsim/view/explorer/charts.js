"use strict";
// Pictures of plain data: nothing here asks the server or reads a control.  Every chart has ticks with numbers at both
// axes, margins as wide as these need, and a text beside it that says the same.

// Okabe and Ito's colours, which the colour-blind tell apart; a name keeps its colour in every chart.
const COLOURS = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#f0e442", "#999999"];
const CAUSES = {ideal: "#009e73", "vector unit computes": "#009e73", "PEs without work": "#56b4e9", "short tails": "#0072b2", "fill and drain": "#cc79a7"};
const WAITS = ["#d55e00", "#e69f00", "#a37b45", "#f0e442", "#999999"];

const make = (tag, text, parent, name) => { const e = document.createElement(tag); if (text !== undefined && text !== null) e.textContent = text; if (name) e.className = name; if (parent) parent.append(e); return e; };
const drawn = (tag, attributes, parent, text) => { const e = document.createElementNS("http://www.w3.org/2000/svg", tag); for (const [k, v] of Object.entries(attributes)) if (k === "style") e.style.cssText = v; else e.setAttribute(k, v); if (text !== undefined) e.textContent = text; if (parent) parent.append(e); return e; };

// ---- axes ----------------------------------------------------------------------------------------------------------

// Round numbers from low to high: powers of ten, with 2 and 5 between where there are few, or equal steps.
function ticks(low, high, log) {
  if (log) {
    for (const parts of [[1], [1, 2, 5], [1, 1.5, 2, 3, 4, 5, 6, 7, 8, 9]]) {
      const at = [];
      for (let e = Math.floor(Math.log10(low)); e <= Math.ceil(Math.log10(high)); e++) for (const p of parts) if (p * 10 ** e >= low && p * 10 ** e <= high) at.push(Number((p * 10 ** e).toPrecision(3)));
      if (at.length >= 3) return at.filter((_, k) => k % Math.ceil(at.length / 7) === 0);
    }
  }
  const rough = (high - low) / 5, power = 10 ** Math.floor(Math.log10(rough)), step = [1, 2, 5, 10].find((s) => s * power >= rough) * power, at = [];
  for (let v = Math.ceil(low / step) * step; v <= high * (1 + 1e-12); v += step) at.push(Number(v.toPrecision(6)));
  return at;
}

// From the least to the most of the values, with some room around.
function range(values, log, zero = false) {
  const known = values.filter((v) => Number.isFinite(v) && (!log || v > 0)), low = Math.min(...known), high = Math.max(...known);
  if (!known.length) return [1, 10];
  if (log) { const m = Math.max(1.12, (high / low) ** 0.07); return [low / m, high * m]; }
  const m = 0.06 * (high - low || Math.abs(high) || 1);
  return [zero ? 0 : low - m, high + m];
}

// An empty chart: a root to draw into, and functions from values to places.  An axis: {label, range, log, unit, at}.
function axes(place, label, xs, ys, W = 440, H = 270) {
  place.textContent = "";
  const at = {x: xs.at ?? ticks(...xs.range, xs.log), y: ys.at ?? ticks(...ys.range, ys.log)};
  const said = {x: at.x.map((v) => si(v, xs.unit)), y: at.y.map((v) => si(v, ys.unit))};
  const L = 16 + 6.6 * Math.max(...said.y.map((t) => t.length), 3), R = 10 + 3.3 * (said.x.at(-1)?.length ?? 0), T = 24, B = 44;
  const scale = (v, {range: [a, b], log}) => log ? Math.log(v / a) / Math.log(b / a) : (v - a) / (b - a);
  const x = (v) => L + (W - L - R) * scale(v, xs), y = (v) => H - B - (H - B - T) * scale(v, ys);
  const root = drawn("svg", {viewBox: `0 0 ${W} ${H}`, role: "img", "aria-label": label}, place);
  at.x.forEach((v, k) => { drawn("path", {class: "grid", d: `M${x(v)},${T}V${H - B}`}, root); drawn("text", {class: "tick", x: x(v), y: H - B + 16, "text-anchor": "middle"}, root, said.x[k]); });
  at.y.forEach((v, k) => { drawn("path", {class: "grid", d: `M${L},${y(v)}H${W - R}`}, root); drawn("text", {class: "tick", x: L - 6, y: y(v) + 4, "text-anchor": "end"}, root, said.y[k]); });
  drawn("path", {class: "axis", d: `M${L},${T}V${H - B}H${W - R}`}, root);
  drawn("text", {x: (L + W - R) / 2, y: H - 8, "text-anchor": "middle"}, root, xs.label);
  drawn("text", {x: 4, y: 13}, root, ys.label);
  return {root, x, y, left: L, right: W - R, top: T, bottom: H - B};
}

// ---- bars ----------------------------------------------------------------------------------------------------------

const colour = (name, k) => CAUSES[name] ?? (name.startsWith("waiting") ? WAITS[k % WAITS.length] : COLOURS[k % COLOURS.length]);

// One quantity in its parts, a bar each that is not zero; ``write`` puts a value in words.
function bars(place, parts, write) {
  place.textContent = "";
  const box = make("div", null, place, "bars"), total = Object.values(parts).reduce((a, b) => a + b, 0), most = Math.max(...Object.values(parts), 1e-30);
  Object.entries(parts).forEach(([name, value], k) => {
    if (!value) return;
    make("span", name, box);
    const bar = make("i", null, make("span", null, box));
    bar.style.width = 100 * value / most + "%";
    bar.style.background = colour(name, k);
    make("span", `${write(value)}, ${percent(total ? value / total : 0)}`, box);
  });
}

// Several things with the same parts, a stacked bar each on one scale, and a legend.
function stacked(place, title, things, write) {
  place.textContent = "";
  make("h3", title, place);
  const names = [...new Set(things.flatMap(({parts}) => Object.keys(parts)))], totals = things.map(({parts}) => Object.values(parts).reduce((a, b) => a + b, 0)), most = Math.max(...totals, 1e-30);
  const box = make("div", null, place, "bars");
  things.forEach(({label, parts}, n) => {
    make("span", label, box);
    const bar = make("span", null, box, "stack");
    names.forEach((name, k) => { const piece = make("i", null, bar); piece.style.width = 100 * (parts[name] ?? 0) / most + "%"; piece.style.background = colour(name, k); piece.title = `${name}: ${write(parts[name] ?? 0)}`; });
    make("span", write(totals[n]), box);
  });
  const legend = make("p", null, place, "legend");
  names.forEach((name, k) => { if (!things.some(({parts}) => parts[name])) return; const entry = make("span", null, legend); make("i", null, entry).style.background = colour(name, k); entry.append(name); });
}

// ---- points --------------------------------------------------------------------------------------------------------

// Cycles across, energy up, a numbered point each.
function scatter(place, points, unit) {
  const log = (k) => { const v = points.map((p) => p[k]); return Math.max(...v) / Math.min(...v) > 8; };
  const scale = unit === "pj" ? 1e-12 : 1, axis = (k, label, u, by) => ({label, unit: u, log: log(k), range: range(points.map((p) => p[k] * by), log(k))});
  const c = axes(place, "Kept points by cycles and energy", axis("cycles", "cycles", "", 1), axis("energy", "energy", unit === "pj" ? "J" : "MAC", scale));
  points.forEach((p, k) => {
    drawn("circle", {class: "dot", cx: c.x(p.cycles), cy: c.y(p.energy * scale), r: 4, style: `fill:${COLOURS[k % COLOURS.length]}`}, c.root);
    drawn("text", {class: "name", x: c.x(p.cycles) + 7, y: c.y(p.energy * scale) + 4}, c.root, p.name);
  });
}

// The mapper's cloud: random mappings, those no other is better than, and the fixed rule's.
function cloudChart(place, cloud) {
  const scale = cloud.unit === "pj" ? 1e-12 : 1, every = [...cloud.points, ...cloud.front, ...(cloud.rule ? [cloud.rule] : [])];
  const xs = {label: "cycles", log: true, range: range(every.map((p) => p[0]), true)}, ys = {label: "energy", unit: cloud.unit === "pj" ? "J" : "MAC", log: true, range: range(every.map((p) => p[1] * scale), true)};
  const c = axes(place, "Mappings by cycles and energy", xs, ys, 640, 340), at = (p) => [c.x(p[0]), c.y(p[1] * scale)];
  for (const p of cloud.points) { const [cx, cy] = at(p); drawn("circle", {class: "some", cx: cx.toFixed(1), cy: cy.toFixed(1), r: 1.6}, c.root); }
  if (cloud.front.length) drawn("polyline", {class: "front", points: cloud.front.map((p) => at(p).join(",")).join(" ")}, c.root);
  for (const p of cloud.front) { const [cx, cy] = at(p); drawn("circle", {class: "dot", cx, cy, r: 4}, c.root); }
  if (cloud.rule) { const [x, y] = at(cloud.rule); drawn("rect", {class: "rule", x: x - 5, y: y - 5, width: 10, height: 10}, c.root); }
}

const DASH = 12;  // pixels of a roof before another of the same width is seen

const roofName = ({name, part}) => part === "port" || part === "all" ? name : `${name} ${part}`;

// What the layer reaches under the array's roof and one of each port and network that has a width, each over the MACs
// per byte of its own; and what kept points reach, over those of the outermost level.
function rooflineChart(place, old, now, roofs) {
  const reached = (p) => p.gmacs_per_s * 1e9, peak = now.peak_gmacs_per_s * 1e9, mine = reached(now);
  const ridges = roofs.map((roof) => peak / (roof.gb_per_s * 1e9));  // where each meets the array's, so that all of them are seen
  const across = [...[...old, now, ...roofs].map((p) => p.macs_per_byte), ...ridges].filter((v) => v > 0 && Number.isFinite(v));
  const xs = {label: "MACs per byte of each level or network", log: true, range: range(across, true)};
  xs.range = [xs.range[0] / 2, xs.range[1] * 2];
  const ys = {label: "MACs a second", log: true, range: range([...old.map(reached), peak * 1.5, mine / 3], true)};
  const c = axes(place, "Roofline", xs, ys), [low, high] = xs.range;
  drawn("path", {class: "roof", d: `M${c.left},${c.y(peak)}H${c.right}`}, c.root);
  drawn("text", {class: "name", x: c.right - 4, y: c.y(peak) - 5, "text-anchor": "end"}, c.root, `array ${si(peak, "MAC/s")}`);
  const legend = make("p", null, place, "legend");
  roofs.forEach((roof, k) => {
    const twins = roofs.filter((r) => r.gb_per_s === roof.gb_per_s), turn = twins.indexOf(roof);  // roofs that lie on each other take turns
    const dashes = twins.length > 1 ? `stroke-dasharray:${DASH} ${DASH * (twins.length - 1)};stroke-dashoffset:${-DASH * turn}` : "";
    const slope = roof.gb_per_s * 1e9, from = Math.max(low, ys.range[0] / slope), to = Math.min(high, peak / slope), tint = COLOURS[k % COLOURS.length];
    if (from < to) drawn("path", {class: "roof", style: `stroke:${tint};${dashes}`, d: `M${c.x(from)},${c.y(slope * from)}L${c.x(to)},${c.y(slope * to)}`}, c.root);
    drawn("circle", {cx: c.x(roof.macs_per_byte), cy: c.y(mine), r: 4, style: `fill:${tint}`}, c.root);
    const entry = make("span", null, legend);
    make("i", null, entry).style.background = tint;
    entry.append(`${roofName(roof)} ${si(slope, "B/s")}`);
  });
  if (now.macs_per_byte && !roofs.length) drawn("circle", {class: "dot", cx: c.x(now.macs_per_byte), cy: c.y(mine), r: 5}, c.root);
  for (const p of old) drawn("circle", {class: "old", cx: c.x(p.macs_per_byte), cy: c.y(reached(p)), r: 5}, c.root);
}

// A line a series over one axis, with its points.
function lines(place, across, up, unit, series) {
  const every = series.flatMap((s) => s.points), log = (k) => { const v = every.map((p) => p[k]); return Math.min(...v) > 0 && Math.max(...v) / Math.min(...v) > 8; };
  const c = axes(place, `${up} by ${across}`, {label: across, log: log(0), range: range(every.map((p) => p[0]), log(0))}, {label: up, unit, log: log(1), range: range(every.map((p) => p[1]), log(1), true)}, 640, 320);
  const legend = make("p", null, place, "legend");
  series.forEach(({label, points}, k) => {
    const tint = COLOURS[k % COLOURS.length], entry = make("span", null, legend);
    drawn("polyline", {class: "front", style: `stroke:${tint}`, points: points.map(([u, v]) => `${c.x(u)},${c.y(v)}`).join(" ")}, c.root);
    for (const [u, v] of points) drawn("circle", {cx: c.x(u), cy: c.y(v), r: 4, style: `fill:${tint}`}, c.root);
    make("i", null, entry).style.background = tint;
    entry.append(label);
  });
}

// A cell a pair of values, coloured by its share of the range and with its number; grey and with a dash where there is
// no result.
function heatMap(place, {x, y}, cells, share, write) {
  const wide = 74, tall = 30, L = 22 + 6.6 * Math.max(...y.values.map((v) => si(v).length), y.label.length * 0.9), T = 22, W = L + wide * x.values.length + 8, H = T + tall * y.values.length + 42;
  const root = drawn("svg", {viewBox: `0 0 ${W} ${H}`, role: "img", "aria-label": `by ${x.label} and ${y.label}`, style: `max-width:${W}px`}, place);
  const row = (v) => T + tall * (y.values.length - 1 - y.values.indexOf(v)), column = (u) => L + wide * x.values.indexOf(u);
  for (const {u, v, value, why} of cells) {
    const known = value !== null, s = known ? share(value) : 0;
    const cell = drawn("rect", {x: column(u) + 1, y: row(v) + 1, width: wide - 2, height: tall - 2, style: `fill:${known ? shade(s) : "#9998"}`}, root);
    drawn("title", {}, cell, known ? `${x.label} ${u}, ${y.label} ${v}: ${write(value)}` : why);
    drawn("text", {x: column(u) + wide / 2, y: row(v) + tall / 2 + 4, "text-anchor": "middle", style: `fill:${known && s < 0.6 ? "#fff" : "#000"}`}, root, known ? write(value) : NONE);
  }
  for (const u of x.values) drawn("text", {class: "tick", x: column(u) + wide / 2, y: H - 24, "text-anchor": "middle"}, root, si(u));
  for (const v of y.values) drawn("text", {class: "tick", x: L - 6, y: row(v) + tall / 2 + 4, "text-anchor": "end"}, root, si(v));
  drawn("text", {x: L + wide * x.values.length / 2, y: H - 6, "text-anchor": "middle"}, root, x.label);
  drawn("text", {x: 2, y: 13}, root, y.label);
}

// ---- colours -------------------------------------------------------------------------------------------------------

// Viridis at its ends and middle: dark is little, bright is much.
function shade(x) {
  const stops = [[68, 1, 84], [59, 82, 139], [33, 145, 140], [94, 201, 98], [253, 231, 37]], at = Math.min(3.999, Math.max(0, x) * 4), k = Math.floor(at), f = at - k;
  return `rgb(${stops[k].map((c, n) => Math.round(c + f * (stops[k + 1][n] - c))).join(",")})`;
}

// The scale of a map of colours: a bar from dark to bright with its numbers.
function colourScale(place, marks) {
  const box = make("div", null, place, "scale"), bar = make("i", null, box);
  bar.style.background = `linear-gradient(to right, ${[0, 0.25, 0.5, 0.75, 1].map(shade).join(",")})`;
  const line = make("span", null, box);
  for (const mark of marks) make("span", mark, line);
}

// Each PE by the share of the cycles in which it works.
function peMap(canvas, {rows, cols, macs}, steps) {
  const pen = canvas.getContext("2d"), cell = Math.max(1, Math.floor(320 / Math.max(rows, cols))), side = Math.max(1, cell - (cell > 3 ? 1 : 0));
  canvas.width = cols * cell;
  canvas.height = rows * cell;
  macs.forEach((m, k) => { pen.fillStyle = shade(m / steps); pen.fillRect((k % cols) * cell, Math.floor(k / cols) * cell, side, side); });
}

// Rows of cells under a head; numbers are written by ``write``, or as they are everywhere, and said whole on hovering.
function table(place, head, rows, left = 1) {
  place.textContent = "";
  const used = head.map((_, k) => rows.some((r) => r[k] !== undefined && r[k] !== null)), t = make("table", null, place), top = make("tr", null, make("thead", null, t)), body = make("tbody", null, t);
  head.forEach((h, k) => { if (used[k]) make("th", h, top, k < left ? "left" : ""); });
  for (const row of rows) {
    const r = make("tr", null, body);
    row.forEach((v, k) => { if (!used[k]) return; const cell = make("td", typeof v === "number" ? number(v) : v ?? "", r, k < left ? "left" : ""); if (typeof v === "number") cell.title = digits(v); });
  }
}
