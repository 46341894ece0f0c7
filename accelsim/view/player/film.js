"use strict";
// What accelsim.view.player.pack wrote, read back: values, words, activity and counts are read,
// never worked out.
const MAC = 1, FILL = 2, OUT = 4, PADDING = -1, NOTHING = -2;
const TENSORS = ["weight", "ifmap", "ofmap"];
const AXES = {weight: "gmcrs", ifmap: "ngchw", ofmap: "ngmef"};
const LETTER = {weight: "w", ifmap: "i", ofmap: "o"};
const MAIN = ["weight", "ifmap", "ofmap", "psum"]; // registers a PE multiplies and adds with

async function inflate(text) {
  const coded = atob(text.trim()), bytes = new Uint8Array(coded.length);
  for (let k = 0; k < coded.length; k++) bytes[k] = coded.charCodeAt(k);
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

// One array: differences from the value before in the same place, or in the place it moved from.
function unpack(head, block) {
  const shape = head.shape, n = shape.reduce((a, b) => a * b, 1);
  const out = head.wide ? new Float64Array(n) : new Int32Array(n);
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

// Which words are somewhere: those that a frame names come if they were away, and are gone if they
// were there.  It walks from the frame it was last asked for.
class Presence {
  constructor(starts, words) { Object.assign(this, {starts, words, there: new Set(), frame: -1}); }

  at(t) {
    while (this.frame < t) this.turn(++this.frame);
    while (this.frame > t) this.turn(this.frame--);
    return this.there;
  }

  turn(t) {
    for (let n = this.starts[t]; n < this.starts[t + 1]; n++) {
      if (!this.there.delete(this.words[n])) this.there.add(this.words[n]);
    }
  }
}

class Film {
  constructor(head, block) {
    Object.assign(this, head);
    const read = (part) => unpack(part, block);
    const readAll = (parts) => Object.fromEntries(Object.entries(parts).map(([k, p]) => [k, read(p)]));
    this.size = this.rows * this.cols;
    this.planes = head.planes.map((p) => ({...p, values: read(p.values), words: read(p.words)}));
    this.main = this.planes.filter((p) => MAIN.includes(p.label));
    this.planes.forEach((p) => { p.isPadding = this.markPadding(p); });
    this.sums = this.main[this.main.length - 1];
    this.operands = this.main.slice(0, -1);
    for (const key of ["state", "fold", "step", "outside", "inside", "row", "col"]) this[key] = read(head[key]);
    const presence = (p) => p && new Presence(read(p.starts), read(p.words));
    this.held = head.held.map((h) => ({...h, words: read(h.words), low: read(h.low), high: read(h.high), there: presence(h.there)}));
    this.kept = head.kept.map((k) => ({...k, there: presence(k.there)}));
    this.counts = readAll(head.counts);
    this.buses = readAll(head.buses);
    this.names = {weight: new Map(), ifmap: new Map(), ofmap: new Map()};
    this.shown = Object.fromEntries(TENSORS.map((t) => [t, this.shownAxes(t)]));
    this.countWork();
  }

  // PEs that multiply in each frame, and those of them that multiply no padding.
  countWork() {
    this.busy = new Int32Array(this.frames);
    this.real = new Int32Array(this.frames);
    for (let t = 0, k = 0; t < this.frames; t++) {
      for (let pe = 0; pe < this.size; pe++, k++) {
        if (!(this.state[k] & MAC)) continue;
        this.busy[t]++;
        if (!this.padded(k)) this.real[t]++;
      }
    }
  }

  at(t, i, j) { return t * this.size + i * this.cols + j; }

  // Position of every loop at the iteration a PE works on, or null.
  iteration(t, i, j) {
    const k = this.at(t, i, j), n = this.loops.length;
    if (this.fold[k] < 0) return null;
    return this.loops.map((_, x) => this.outside[this.fold[k] * n + x] + this.inside[this.step[k] * n + x] +
      this.row[i * n + x] + this.col[j * n + x]);
  }

  // Indices of a word, with what stored padding shifts them by.
  index(tensor, address) {
    const shape = this.shapes[tensor], origin = this.origins[tensor], at = [];
    for (let d = shape.length - 1; d >= 0; d--) {
      at[d] = address % shape[d] + (origin ? origin[d] : 0);
      address = Math.floor(address / shape[d]);
    }
    return at;
  }

  // Whether an address is padding: none at all, or a word of it that is stored.
  isPadding(tensor, address) {
    if (address === PADDING) return true;
    const extent = this.extents[tensor];
    return extent !== undefined && address >= 0 && this.index(tensor, address).some((x, d) => x < 0 || x >= extent[d]);
  }

  // The same for every place of a register, looked up once a word.
  markPadding(plane) {
    if (!this.extents[plane.tensor]) return (word) => word === PADDING;
    const known = new Map([[PADDING, true], [NOTHING, false]]);
    return (word) => {
      let is = known.get(word);
      if (is === undefined) known.set(word, (is = this.isPadding(plane.tensor, word)));
      return is;
    };
  }

  // Axes worth naming: those longer than 1, all of a tensor of one word.
  shownAxes(tensor) {
    const axes = [...this.shapes[tensor].keys()], long = axes.filter((d) => this.shapes[tensor][d] > 1);
    return long.length ? long : axes;
  }

  // "3,0,1", the index alone.
  short(tensor, address) {
    const names = this.names[tensor];
    let name = names.get(address);
    if (name === undefined) {
      const at = address >= 0 && this.index(tensor, address);
      name = this.isPadding(tensor, address) ? "pad" : this.shown[tensor].map((d) => at[d]).join(",");
      names.set(address, name);
    }
    return name;
  }
  word(tensor, address) {
    if (address === PADDING) return "padding, 0";
    if (this.isPadding(tensor, address)) return `padding, ${LETTER[tensor]}[${this.shown[tensor].map((d) => this.index(tensor, address)[d]).join(",")}]`;
    return `${LETTER[tensor]}[${this.short(tensor, address)}]`;
  }
  pattern(tensor) { return `${LETTER[tensor]}[${this.shown[tensor].map((d) => AXES[tensor][d]).join(",")}]`; }

  states(t, i, j) {
    const s = this.state[this.at(t, i, j)], said = [];
    if (this.kind !== "layer") return [s & MAC ? this.chapters.filter((c) => c.frame <= t).pop().name : "idle"];
    said.push(s & MAC ? (this.padded(this.at(t, i, j)) ? "multiplies padding" : "multiplies") : "idle");
    if (s & FILL) said.push("fill");
    if (s & OUT) said.push("result leaves");
    return said;
  }
  padded(k) { return this.operands.some((p) => p.isPadding(p.words[k])); }

  // The frame by which so many MACs are done.
  frameOfMacs(macs) {
    let low = 0, high = this.frames - 1;
    const series = this.counts.macs;
    if (!series) return Math.min(high, macs);
    while (low < high) { const mid = (low + high) >> 1; if (series[mid] < macs) low = mid + 1; else high = mid; }
    return low;
  }

  // Words of a tensor in the registers that are shown.
  inRegisters(tensor, t) {
    const words = new Set();
    for (const plane of this.planes) {
      if (plane.tensor !== tensor) continue;
      for (let pe = 0, k = t * this.size; pe < this.size; pe++, k++) if (plane.words[k] >= 0) words.add(plane.words[k]);
    }
    return words;
  }

  // Words of a tensor that only wait in the PEs' own memories.
  waiting(tensor, t) {
    const kept = this.kept.find((k) => k.tensor === tensor), used = kept && this.inRegisters(tensor, t);
    return kept ? [...kept.there.at(t)].filter((word) => !used.has(word)) : [];
  }

  // Who shares a word of a plane at a frame: {words, pes, how}.
  reuse(plane, t) {
    const groups = new Map();
    for (let pe = 0, k = t * this.size; pe < this.size; pe++, k++) {
      const word = plane.words[k];
      if (word < 0 || plane.isPadding(word)) continue;
      const group = groups.get(word);
      if (group) group.push(pe); else groups.set(word, [pe]);
    }
    const kinds = new Map();
    let pes = 0;
    for (const group of groups.values()) {
      const kind = this.lies(group);
      kinds.set(kind, (kinds.get(kind) || 0) + group.length);
      pes += group.length;
    }
    const how = [...kinds].sort((a, b) => b[1] - a[1]).map(([kind]) => kind)[0] || "";
    return {words: groups.size, pes, how};
  }

  // How the PEs that hold a word lie.
  lies(pes) {
    if (pes.length === 1) return "alone";
    const rows = pes.map((pe) => Math.floor(pe / this.cols)), cols = pes.map((pe) => pe % this.cols);
    const same = (list) => list.every((x) => x === list[0]);
    if (same(rows)) return "row";
    if (same(cols)) return "column";
    if (same(pes.map((_, n) => rows[n] + cols[n])) || same(pes.map((_, n) => rows[n] - cols[n]))) return "diagonal";
    return "block";
  }

  // What a PE's sum is made of: {word, before, from, factors, after}, or null where none was added.
  equation(t, i, j) {
    const k = this.at(t, i, j), then = t - this.lag, sums = this.sums;
    if (this.kind !== "layer" || then < 0 || sums.words[k] < 0) return null;
    const k0 = this.at(then, i, j);
    if (!(this.state[k0] & MAC)) return null;
    const factors = this.operands.map((p) => ({tensor: p.tensor, word: p.words[k0], value: p.values[k0]}));
    const product = factors.reduce((a, f) => a * f.value, 1), after = sums.values[k], before = after - product;
    return {word: sums.words[k], before, from: this.source(t, i, j, before), factors, after, then};
  }

  // Where the sum before this one was: the PE it came from, this PE's own, or outside.
  source(t, i, j, before) {
    const sums = this.sums, word = sums.words[this.at(t, i, j)];
    if (sums.way !== "stays") {
      const [i0, j0] = sums.way === "down" ? [i - 1, j] : [i, j - 1];
      const came = t && i0 >= 0 && j0 >= 0 && sums.words[this.at(t - 1, i0, j0)] === word;
      if (came) return `the PE ${sums.way === "down" ? "above" : "at the left"}`;
      return before ? "outside" : "0, a new sum";
    }
    for (let u = t - 1, k = this.at(t, i, j) - this.size; u >= 0; u--, k -= this.size) {
      if (sums.words[k] === word && sums.values[k] === before) return `this PE, cycle ${this.first + u}`;
    }
    return before ? "outside" : "0, a new sum";
  }
}
