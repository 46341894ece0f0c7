"use strict";
// Replays films that accelsim.view.player.pack wrote. Values, words, activity and counts are read, never worked out.
const MAC = 1, FILL = 2, OUT = 4, PADDING = -1, NOTHING = -2, LEAD = 3, HISTORY = 10;
const AXES = {weight: "gmcrs", ifmap: "ngchw", ofmap: "ngmef"};
const $ = (id) => document.getElementById(id);
const still = matchMedia("(prefers-reduced-motion: reduce)");
const dark = matchMedia("(prefers-color-scheme: dark)");

// ---- reading -------------------------------------------------------------------------------------------------

async function inflate(text) {
  const coded = atob(text.trim()), bytes = new Uint8Array(coded.length);
  for (let k = 0; k < coded.length; k++) bytes[k] = coded.charCodeAt(k);
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

// One array: differences from the value before in the same place, or in the place a word moved from.
function unpack(head, block) {
  const shape = head.shape, n = shape.reduce((a, b) => a * b, 1), out = head.wide ? new Float64Array(n) : new Int32Array(n);
  const size = shape.slice(1).reduce((a, b) => a * b, 1), cols = shape.length === 3 ? shape[2] : size;
  const right = head.way === "right", down = head.way === "down";
  let place = 0;
  for (let k = 0; k < n; k++) {
    let u = 0;
    for (let b = head.bytes - 1; b >= 0; b--) u = u * 256 + block[head.at + b * n + k];
    let from = k - size;
    if (from >= 0) {
      if (right && place % cols) from -= 1;
      else if (down && place >= cols) from -= cols;
    }
    out[k] = (u % 2 ? -(u + 1) / 2 : u / 2) + (from >= 0 ? out[from] : 0);
    if (++place === size) place = 0;
  }
  return out;
}

class Film {
  constructor(head, block) {
    Object.assign(this, head);
    const read = (part) => unpack(part, block);
    this.size = this.rows * this.cols;
    this.planes = head.planes.map((p) => ({...p, values: read(p.values), words: read(p.words)}));
    for (const key of ["state", "fold", "step", "outside", "inside", "row", "col"]) this[key] = read(head[key]);
    this.held = head.held.map((h) => ({...h, words: read(h.words)}));
    this.counts = Object.fromEntries(Object.entries(head.counts).map(([name, part]) => [name, read(part)]));
  }
  at(t, i, j) { return t * this.size + i * this.cols + j; }
  // Position of every loop at the iteration a PE works on, or null.
  iteration(t, i, j) {
    const k = this.at(t, i, j), n = this.loops.length;
    if (this.fold[k] < 0) return null;
    return this.loops.map((_, x) => this.outside[this.fold[k] * n + x] + this.inside[this.step[k] * n + x] + this.row[i * n + x] + this.col[j * n + x]);
  }
  word(tensor, address) {
    if (address === PADDING) return "zero padding";
    const shape = this.shapes[tensor], origin = this.origins[tensor], parts = [];
    for (let d = shape.length - 1; d >= 0; d--) { parts.unshift(AXES[tensor][d] + "=" + (address % shape[d] + (origin ? origin[d] : 0))); address = Math.floor(address / shape[d]); }
    return tensor + "[" + parts.join(" ") + "]";
  }
  states(t, i, j) {
    const s = this.state[this.at(t, i, j)], found = [];
    if (s & MAC) found.push(this.zero(t, i, j) ? "multiplies zero padding" : "multiplies");
    else found.push("idle");
    if (s & FILL) found.push("fill");
    if (s & OUT) found.push("result leaves");
    return found;
  }
  zero(t, i, j) { const k = this.at(t, i, j); return this.planes.some((p) => p.label !== "psum" && p.words[k] === PADDING); }
  working(t) { let n = 0; for (let k = t * this.size; k < (t + 1) * this.size; k++) n += this.state[k] & MAC; return n; }
}

// ---- drawing -------------------------------------------------------------------------------------------------

const LIGHT = {idle: "#ececea", mac: "#bfe6d8", zero: "#ffffff", fill: "#e69f00", out: "#cc79a7", ink: "#1a1a1a", dim: "#5a5a5a", rule: "#c9c9c5", pick: "#0072b2",
  weight: "#a34700", ifmap: "#0a5f94", ofmap: "#3b3500", paper: "#ffffff", hatch: "#7fb8a6"};
const DARK = {idle: "#26292c", mac: "#0d4a39", zero: "#17191b", fill: "#e69f00", out: "#cc79a7", ink: "#ececec", dim: "#a8a8a8", rule: "#43484c", pick: "#56b4e9",
  weight: "#ffb380", ifmap: "#a5daf9", ofmap: "#f0e442", paper: "#17191b", hatch: "#3d8a74"};
const number = (v) => String(v).replace(/\B(?=(\d{3})+(?!\d))/g, "\u2009");

class View {
  constructor(film, section) {
    this.film = film;
    this.pe = [0, 0];
    this.hover = null;
    section.className = "film";
    section.innerHTML = '<h2></h2><div class="stage"><canvas tabindex="0" role="application"></canvas><p class="said" role="status"></p></div>' +
      '<div class="side"><section class="panel"><h3>Loop nest</h3><div class="nest"></div></section>' +
      '<section class="panel inspector"><h3></h3><p class="what"></p><table class="registers"><tbody></tbody></table><h3>History</h3><table class="history"><thead></thead><tbody></tbody></table></section>' +
      '<section class="panel"><h3>Buffers</h3><table class="buffers"><tbody></tbody></table></section>' +
      '<section class="panel"><h3>Counts</h3><table class="counts"><thead><tr><th>words</th><th>so far</th><th>whole run</th><th>this cycle</th></tr></thead><tbody></tbody></table></section></div>';
    const find = (q) => section.querySelector(q);
    find("h2").textContent = film.title;
    this.canvas = find("canvas");
    this.stage = find(".stage");
    this.said = find(".said");
    this.pen = this.canvas.getContext("2d");
    this.nest = film.nest.map((line) => {
      const span = document.createElement("span"), where = document.createElement("b");
      span.append(line.text, where);
      find(".nest").append(span);
      return {...line, span, where};
    });
    this.title = find(".inspector h3");
    this.what = find(".what");
    const kinds = film.planes.map((p) => `<th class="${p.tensor}-ink">${p.label}</th>`).join("");
    find(".history thead").innerHTML = `<tr><th>cycle</th><th>PE</th>${kinds}</tr>`;
    this.registers = film.planes.map((p) => {
      const row = find(".registers tbody").insertRow();
      row.innerHTML = `<th class="${p.tensor}-ink">${p.label}</th><td></td><td></td>`;
      return row.cells;
    });
    this.history = Array.from({length: HISTORY}, () => {
      const row = find(".history tbody").insertRow();
      row.innerHTML = "<th></th><td></td>" + film.planes.map(() => "<td></td>").join("");
      return row;
    });
    this.buffers = film.held.map((h) => {
      const row = find(".buffers tbody").insertRow();
      row.innerHTML = `<th>${h.level} ${h.tensor}</th><td><span class="bar ${h.tensor}"><i></i></span></td><td></td><td></td>`;
      row.cells[3].textContent = h.capacity_bytes ? `${number(h.tile_bytes)} of ${number(h.capacity_bytes)} bytes` : `${number(h.tile_bytes)} bytes`;
      return {...h, fill: row.querySelector("i"), text: row.cells[2]};
    });
    const body = find(".counts tbody");
    this.counts = [["cycle"], ["PEs that multiply"], ...Object.entries(film.counts)].map(([name, values]) => {
      const row = body.insertRow();
      row.innerHTML = "<th></th><td></td><td></td><td></td>";
      row.cells[0].textContent = name;
      if (values) row.cells[2].textContent = number(film.totals[name]);
      return {name, values, row};
    });
    this.counts[0].row.cells[2].textContent = number(film.cycles);
    this.canvas.addEventListener("mousemove", (e) => { this.hover = this.find(e); player.draw(); });
    this.canvas.addEventListener("mouseleave", () => { this.hover = null; player.draw(); });
    this.canvas.addEventListener("click", (e) => { const pe = this.find(e); if (pe) { this.pe = pe; player.draw(); this.say(); } });
    this.canvas.addEventListener("focus", () => { this.canvas.dataset.focus = "1"; this.say(); player.draw(); });
    this.canvas.addEventListener("blur", () => { delete this.canvas.dataset.focus; player.draw(); });
    this.canvas.addEventListener("keydown", (e) => {
      const step = {ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0]}[e.key];
      if (!step || e.ctrlKey || e.altKey || e.metaKey) return;
      this.pe = [Math.min(film.rows - 1, Math.max(0, this.pe[0] + step[0])), Math.min(film.cols - 1, Math.max(0, this.pe[1] + step[1]))];
      this.hover = null;
      e.preventDefault();
      e.stopPropagation();
      player.draw();
      this.say();
    });
    this.measure();
  }

  measure() {
    const film = this.film, side = (s) => film.planes.some((p) => p.enters === s || p.leaves === s) ? 1 : 0;
    const width = this.stage.clientWidth || 600, lead = LEAD - 0.5;
    this.lead = {left: side("left") * lead, top: side("top") * lead, bottom: side("bottom") * 1.6, right: side("right") * 1.6};
    const across = film.cols + this.lead.left + this.lead.right, fit = Math.floor((width - 22) / across);
    this.cell = $("size").value === "large" ? 64 : Math.max(2, Math.min(64, fit));
    if (this.cell < 12) this.lead = {left: 0, top: 0, bottom: 0, right: 0};
    const s = this.cell;
    this.x = 20 + this.lead.left * s;
    this.y = 16 + this.lead.top * s;
    const w = this.x + film.cols * s + this.lead.right * s + 2, h = this.y + film.rows * s + this.lead.bottom * s + 2, ratio = window.devicePixelRatio || 1;
    this.canvas.width = Math.round(w * ratio);
    this.canvas.height = Math.round(h * ratio);
    this.canvas.style.width = w + "px";
    this.canvas.style.height = h + "px";
    this.pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    this.wide = w;
    this.high = h;
  }

  find(e) {
    const box = this.canvas.getBoundingClientRect(), j = Math.floor((e.clientX - box.left - this.x) / this.cell), i = Math.floor((e.clientY - box.top - this.y) / this.cell);
    return i >= 0 && j >= 0 && i < this.film.rows && j < this.film.cols ? [i, j] : null;
  }

  draw(frame, part) {
    const t = Math.min(frame, this.film.frames - 1);
    this.grid(t, frame < this.film.frames - 1 ? part : 0);
    this.text(t);
  }

  // The PE grid, with what is about to enter and what has just left.
  grid(t, part) {
    const film = this.film, pen = this.pen, s = this.cell, ink = dark.matches ? DARK : LIGHT;
    const apart = s >= 56, shown = film.planes.filter((p) => apart || !p.label.startsWith("next"));
    pen.fillStyle = ink.paper;
    pen.fillRect(0, 0, this.wide, this.high);
    pen.textBaseline = "middle";
    for (let i = 0; i < film.rows; i++) {
      for (let j = 0; j < film.cols; j++) this.pe_at(t, i, j, s, ink);
    }
    if (s >= 30) {
      const line = (s - 4) / (shown.length + 0.6);
      pen.textAlign = "right";
      film.planes.forEach((plane) => {
        // Small PEs show a word that waits for its turn in the place of the one that is held, until there is one.
        const own = shown.indexOf(plane), n = own >= 0 ? own : 0, held = own >= 0 ? null : shown[0];
        pen.fillStyle = ink[plane.tensor];
        const dx = plane.way === "right" ? part * s : 0, dy = plane.way === "down" ? part * s : 0;
        for (let i = 0; i < film.rows; i++) {
          for (let j = 0; j < film.cols; j++) {
            const k = film.at(t, i, j);
            if (plane.words[k] !== NOTHING && (!held || held.words[k] === NOTHING)) this.value(plane.values[k], this.x + j * s + s - 3 + dx, this.y + i * s + line * (n + 1) + dy, line);
          }
        }
        this.sides(plane, t, line, n, dx, dy, ink);
      });
    }
    pen.fillStyle = ink.dim;
    pen.font = "10px sans-serif";
    pen.textAlign = "right";
    if (s >= 12) for (let i = 0; i < film.rows; i++) pen.fillText(i, this.x - this.lead.left * s - 4, this.y + i * s + s / 2);
    pen.textAlign = "center";
    if (s >= 16) for (let j = 0; j < film.cols; j++) pen.fillText(j, this.x + j * s + s / 2, 7);
    const [i, j] = this.hover || this.pe;
    pen.strokeStyle = ink.pick;
    pen.lineWidth = this.canvas.dataset.focus ? 4 : 2;
    pen.strokeRect(this.x + j * s, this.y + i * s, s, s);
  }

  pe_at(t, i, j, s, ink) {
    const film = this.film, pen = this.pen, state = film.state[film.at(t, i, j)], x = this.x + j * s, y = this.y + i * s, gap = s >= 8 ? 1 : 0;
    const zero = state & MAC && film.zero(t, i, j);
    pen.fillStyle = state & MAC ? (zero ? ink.zero : ink.mac) : ink.idle;
    pen.fillRect(x + gap, y + gap, s - 2 * gap, s - 2 * gap);
    if (s < 8) { if (state & (FILL | OUT)) { pen.fillStyle = state & OUT ? ink.out : ink.fill; pen.fillRect(x, y, s, Math.max(1, s / 3)); } return; }
    if (zero) { pen.strokeStyle = ink.hatch; pen.lineWidth = 1; pen.strokeRect(x + 1.5, y + 1.5, s - 3, s - 3); }
    if (state & FILL) { pen.fillStyle = ink.fill; pen.fillRect(x + 1, y + 1, s - 2, Math.max(2, s * 0.07)); }
    if (state & OUT) { pen.fillStyle = ink.out; pen.fillRect(x + 1, y + s - 1 - Math.max(2, s * 0.07), s - 2, Math.max(2, s * 0.07)); }
    if (s >= 20) {
      pen.font = `600 ${Math.min(10, s * 0.2)}px sans-serif`;
      pen.textAlign = "left";
      pen.fillStyle = ink.dim;
      pen.fillText((state & MAC ? (zero ? "Z" : "M") : "\u00b7") + (state & FILL ? "F" : "") + (state & OUT ? "R" : ""), x + 3, y + s * 0.2 + 1);
    }
  }

  value(v, x, y, line) {
    const text = String(v), px = Math.min(line * 0.85, 13, (this.cell - 5) / (0.58 * text.length));
    this.pen.font = `${px.toFixed(1)}px ui-monospace, "DejaVu Sans Mono", monospace`;
    this.pen.fillText(text, x, y);
  }

  // Frames to come at the side a plane is fed from, frames past at the side its words leave by.
  sides(plane, t, line, n, dx, dy, ink) {
    const film = this.film, pen = this.pen, s = this.cell;
    const edge = (side) => side === "left" || side === "right";
    const draw = (side, when, away) => {
      if (when < 0 || when >= film.frames) return;
      for (let k = 0; k < (edge(side) ? film.rows : film.cols); k++) {
        const i = edge(side) ? k : side === "top" ? 0 : film.rows - 1, j = edge(side) ? (side === "left" ? 0 : film.cols - 1) : k, at = film.at(when, i, j);
        if (plane.words[at] === NOTHING || (plane.way === "stays" && when && plane.words[at] === plane.words[at - film.size])) continue;
        const out = side === "left" || side === "top" ? -away : away;
        const x = this.x + (j + (edge(side) ? out : 0)) * s + s - 3 + dx, y = this.y + (i + (edge(side) ? 0 : out)) * s + line * (n + 1) + dy;
        pen.globalAlpha = Math.max(0.45, 1 - 0.22 * away);
        this.value(plane.values[at], x, y, line);
      }
      pen.globalAlpha = 1;
    };
    if (plane.enters) for (let away = 1; away < LEAD; away++) draw(plane.enters, t + away, away);
    if (plane.leaves) draw(plane.leaves, t - 1, 1);
  }

  // Everything beside the grid.
  text(t) {
    const film = this.film, [i, j] = this.hover || this.pe, k = film.at(t, i, j), iteration = film.iteration(t, i, j);
    for (const line of this.nest) {
      const on = line.loop !== null && iteration !== null;
      line.span.classList.toggle("lit", on);
      const where = on ? `  ${film.loops[line.loop]} ${iteration[line.loop] + 1} of ${film.trips[line.loop]}` : "";
      if (line.where.textContent !== where) line.where.textContent = where;
      if (on) line.span.setAttribute("aria-current", "step"); else line.span.removeAttribute("aria-current");
    }
    this.title.textContent = `PE (${i}, ${j}) after cycle ${number(film.first + t)}`;
    this.what.textContent = film.states(t, i, j).join(", ");
    film.planes.forEach((plane, n) => {
      const none = plane.words[k] === NOTHING;
      this.registers[n][1].textContent = none ? "\u2013" : plane.values[k];
      this.registers[n][2].textContent = none ? "" : film.word(plane.tensor, plane.words[k]);
    });
    this.history.forEach((row, back) => {
      const when = t - back;
      row.hidden = when < 0;
      if (when < 0) return;
      const at = film.at(when, i, j);
      row.cells[0].textContent = number(film.first + when);
      row.cells[1].textContent = film.states(when, i, j).join(", ");
      film.planes.forEach((p, n) => { row.cells[n + 2].textContent = p.words[at] === NOTHING ? "\u2013" : p.values[at]; });
    });
    for (const h of this.buffers) {
      h.fill.style.width = Math.min(100, 100 * h.words[t] / Math.max(1, h.tile_words)) + "%";
      h.text.textContent = `${number(h.words[t])} of ${number(h.tile_words)} words`;
    }
    this.counts[0].row.cells[1].textContent = number(film.first + t);
    this.counts[1].row.cells[1].textContent = number(film.working(t));
    for (const {values, row} of this.counts) {
      if (!values) continue;
      const more = values[t] - (t ? values[t - 1] : film.first === 1 ? 0 : values[t]);
      row.cells[1].textContent = number(values[t]);
      row.cells[3].textContent = more ? "+" + number(more) : "";
      row.classList.toggle("now", more > 0);
    }
  }

  say() {
    const t = Math.min(player.t, this.film.frames - 1), [i, j] = this.pe, k = this.film.at(t, i, j);
    const words = this.film.planes.map((p) => p.words[k] === NOTHING ? "" : `${p.label} ${p.values[k]}`).filter(Boolean);
    this.said.textContent = `PE row ${i}, column ${j}, cycle ${this.film.first + t}: ${this.film.states(t, i, j).join(", ")}. ${words.join(", ")}`;
    this.canvas.setAttribute("aria-label", `PE array of ${this.film.rows} rows and ${this.film.cols} columns. ${this.said.textContent}`);
  }
}

// ---- playing -------------------------------------------------------------------------------------------------

const player = {
  t: 0, part: 0, playing: false, frames: 0, films: [], views: [], last: 0,
  get speed() { return Number($("speed").value); },
  show(t) {
    this.t = Math.min(this.last, Math.max(0, Math.round(t)));
    this.part = 0;
    this.draw();
    if (!this.playing) this.views.forEach((v) => v.say());
  },
  draw() {
    const slow = this.playing && this.speed <= 5 && !still.matches;
    this.views.forEach((v) => v.draw(this.t, slow ? this.part : 0));
    this.frames++;
    $("scrub").value = this.t;
    const film = this.films.reduce((a, b) => a.frames >= b.frames ? a : b), text = `cycle ${number(film.first + this.t)} of ${number(film.cycles)}`;
    if ($("now").textContent !== text) { $("now").textContent = text; $("scrub").setAttribute("aria-valuetext", text); }
  },
  play(on) {
    if (on === this.playing) return;
    if (on && this.t >= this.last) this.t = 0;
    this.playing = on;
    this.part = 0;
    $("play").textContent = on ? "Pause" : "Play";
    if (on) { let before = performance.now(); const tick = (now) => { if (!this.playing) return; this.on(now - before); before = now; requestAnimationFrame(tick); }; requestAnimationFrame(tick); }
    else this.show(this.t);
  },
  on(milliseconds) {
    this.part += Math.min(milliseconds, 250) * this.speed / 1000;
    const whole = Math.floor(this.part);
    this.part -= whole;
    this.t = Math.min(this.last, this.t + whole);
    if (this.t >= this.last) this.play(false);
    else this.draw();
  },
  step(n) { this.play(false); this.show(this.t + n); },
  faster(n) { const s = $("speed"); s.selectedIndex = Math.min(s.options.length - 1, Math.max(0, s.selectedIndex + n)); },
};

function keys(e) {
  if (e.ctrlKey || e.altKey || e.metaKey || ["SELECT", "TEXTAREA"].includes(e.target.tagName)) return;
  const slider = e.target.id === "scrub";
  const does = {
    " ": () => player.play(!player.playing), ",": () => player.step(-1), ".": () => player.step(1),
    PageUp: () => player.step(-50), PageDown: () => player.step(50), Home: () => player.step(-Infinity), End: () => player.step(Infinity),
    "+": () => player.faster(1), "=": () => player.faster(1), "-": () => player.faster(-1),
    ...(slider ? {} : {ArrowLeft: () => player.step(-1), ArrowRight: () => player.step(1)}),
  }[e.key];
  if (!does || (e.key === " " && ["BUTTON", "SUMMARY"].includes(e.target.tagName))) return;
  e.preventDefault();
  does();
}

function legend() {
  const ink = dark.matches ? DARK : LIGHT;
  const entries = [["M", ink.mac, "multiplies"], ["Z", ink.zero, "multiplies zero padding"], ["\u00b7", ink.idle, "idle"], ["F", ink.fill, "fill: latches a word to hold, or begins a sum"], ["R", ink.out, "a result leaves"]];
  $("legend").innerHTML = "";
  for (const [letter, colour, words] of entries) {
    const item = document.createElement("li"), box = document.createElement("i");
    box.textContent = letter;
    box.style.background = colour;
    box.style.color = letter === "F" || letter === "R" ? "#000" : ink.ink;
    item.append(box, words);
    $("legend").append(item);
  }
  for (const [label, tensor] of new Map(player.films.flatMap((f) => f.planes.map((p) => [p.label, p.tensor])))) {
    const item = document.createElement("li");
    item.textContent = label;
    item.className = tensor + "-ink";
    $("legend").append(item);
  }
}

async function start() {
  if (typeof DecompressionStream === "undefined") throw new Error("this browser cannot decompress the data (DecompressionStream is missing); one of 2023 or later can");
  const head = JSON.parse($("head").textContent), block = await inflate($("block").textContent);
  player.films = head.films.map((film) => new Film(film, block));
  player.last = Math.max(...player.films.map((f) => f.frames)) - 1;
  for (const id of ["controls", "legend", "keys"]) $(id).hidden = false;
  $("summary").open = false;
  $("scrub").max = player.last;
  $("films").className = player.films.length > 1 ? "many" : "";
  player.views = player.films.map((film) => { const section = document.createElement("section"); section.setAttribute("aria-label", film.title); $("films").append(section); return new View(film, section); });
  $("play").onclick = () => player.play(!player.playing);
  $("back").onclick = () => player.step(-1);
  $("on").onclick = () => player.step(1);
  $("first").onclick = () => player.step(-Infinity);
  $("last").onclick = () => player.step(Infinity);
  $("scrub").oninput = () => { player.play(false); player.show(Number($("scrub").value)); };
  const again = () => { player.views.forEach((v) => v.measure()); player.draw(); };
  $("size").onchange = again;
  addEventListener("resize", again);
  dark.addEventListener("change", () => { legend(); player.draw(); });
  document.addEventListener("keydown", keys);
  legend();
  again();
  player.show(0);
  window.accelsim = player;
  document.body.dataset.ready = "1";
}

start().catch((error) => { $("trouble").hidden = false; $("trouble").textContent = "The player could not start: " + error.message; throw error; });
