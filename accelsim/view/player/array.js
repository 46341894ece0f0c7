// The PEs: in each a band for every register, in the colour of the word it holds; what comes in and
// what goes out beside them.
const AHEAD = 1.15; // cells at a side where words come in or go out
const LETTERED = 48; // pixels of a PE whose labels have room for the tensor's letter

class ArrayPicture {
  constructor(film, canvas) {
    this.film = film;
    this.canvas = canvas;
    this.pen = canvas.getContext("2d");
    this.groups = {t: -1, lines: []};
  }

  // Fit the array into a width and a height; large PEs scroll.
  measure(width, height, large) {
    const film = this.film, side = (s) => (film.planes.some((p) => p.enters === s || p.leaves === s) ? AHEAD : 0);
    this.lead = {left: side("left"), top: side("top"), bottom: side("bottom"), right: side("right")};
    const across = film.cols + this.lead.left + this.lead.right, up = film.rows + this.lead.top + this.lead.bottom;
    this.cell = large ? 64 : Math.max(2, Math.min(76, Math.floor((width - 20) / across), Math.floor((height - 16) / up)));
    if (this.cell < 10) this.lead = {left: 0, top: 0, bottom: 0, right: 0};
    const s = this.cell, ratio = window.devicePixelRatio || 1;
    this.x = 18 + this.lead.left * s;
    this.y = 14 + this.lead.top * s;
    this.wide = this.x + film.cols * s + this.lead.right * s + 2;
    this.high = this.y + film.rows * s + this.lead.bottom * s + 2;
    this.canvas.width = Math.round(this.wide * ratio);
    this.canvas.height = Math.round(this.high * ratio);
    this.canvas.style.width = this.wide + "px";
    this.canvas.style.height = this.high + "px";
    this.pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    this.padding = hatching();
    this.lay();
  }

  // Where each register's band lies in a PE: all in large PEs, else those it computes with; the
  // others are strips.
  lay() {
    const film = this.film, s = this.cell, all = s >= 56 || film.planes.length === film.main.length;
    this.inset = s >= 30 ? 3 : s >= 14 ? 2 : s >= 6 ? 1 : 0;
    const bands = all ? film.planes : film.main, inside = s - 2 * this.inset;
    this.bands = film.planes.map((plane) => {
      const n = bands.indexOf(plane);
      if (n >= 0) return {plane, top: this.inset + (n * inside) / bands.length, high: inside / bands.length, strip: false};
      const next = plane.label.startsWith("next");
      const high = inside * (next ? 1 / bands.length : 0.12);
      return {plane, top: next ? this.inset : s - this.inset - high, high, strip: true, next};
    });
  }

  find(e) {
    const box = this.canvas.getBoundingClientRect(), s = this.cell;
    const j = Math.floor((e.clientX - box.left - this.x) / s), i = Math.floor((e.clientY - box.top - this.y) / s);
    if (i < 0 || j < 0 || i >= this.film.rows || j >= this.film.cols) return null;
    const y = e.clientY - box.top - this.y - i * s, band = this.bands.find((b) => !b.strip && y >= b.top && y < b.top + b.high);
    return {pe: [i, j], plane: band ? band.plane : null};
  }

  draw(t, part, look) {
    const pen = this.pen, tone = ink();
    pen.fillStyle = tone.paper;
    pen.fillRect(0, 0, this.wide, this.high);
    this.frames(t, tone);
    // What moves is drawn over what stays; the tensor that is looked at under the others' labels.
    const rank = ({plane}) => (plane.tensor === look.colour ? 0 : plane.way === "stays" ? 1 : 2);
    for (const band of [...this.bands].sort((a, b) => rank(a) - rank(b))) this.band(band, t, part, look);
    if (this.cell >= 14) this.marks(t, tone);
    if (this.cell >= 14) this.lines(t, part, look, tone);
    this.numbers(tone);
    this.outlines(t, look, tone);
  }

  // A PE's frame says what it does: green multiplies, pale green multiplies padding, grey rests.
  frames(t, tone) {
    const film = this.film, pen = this.pen, s = this.cell, gap = s >= 6 ? 1 : 0;
    for (let i = 0; i < film.rows; i++) {
      for (let j = 0; j < film.cols; j++) {
        const k = film.at(t, i, j), works = film.state[k] & MAC;
        pen.fillStyle = !works ? tone.idle : film.padded(k) ? tone.zero : tone.mac;
        pen.fillRect(this.x + j * s, this.y + i * s, s - gap, s - gap);
      }
    }
  }

  // One register of every PE. Its words slide on to the next PE if that is where they go.
  band(band, t, part, look) {
    const film = this.film, {plane} = band, s = this.cell, tone = ink();
    if (band.strip && (s < 14 || (look.colour !== "all" && look.colour !== plane.tensor))) return;
    const coloured = look.colour === "all" || look.colour === plane.tensor;
    const dx = plane.way === "right" ? part * s : 0, dy = plane.way === "down" ? part * s : 0;
    const hidden = band.next ? film.planes.find((p) => p.label === plane.label.slice(5)) : null;
    const whole = look.colour === plane.tensor && !band.strip && film.main.includes(plane);
    for (let i = 0, k = t * film.size; i < film.rows; i++) {
      for (let j = 0; j < film.cols; j++, k++) {
        const word = plane.words[k];
        if (word === NOTHING || !coloured || (hidden && hidden.words[k] === word)) continue;
        this.chip(band, word, this.x + j * s + dx, this.y + i * s + dy, whole);
      }
    }
    if (coloured) this.sides(band, t, dx, dy);
    if (s >= 26 && look.labels !== "none" && !band.strip) this.labels(band, t, dx, dy, coloured, look, tone);
  }

  // A word in its colour; padding hatched. Of the tensor that is looked at it fills the PE.
  chip(band, word, x, y, whole) {
    const pen = this.pen, s = this.cell, inset = this.inset;
    pen.fillStyle = band.plane.isPadding(word) ? this.padding : colours.of(band.plane.tensor, word);
    if (band.next) pen.fillRect(x + inset, y + band.top, s * 0.14, band.high - 1);
    else if (whole) pen.fillRect(x + inset, y + inset, s - 2 * inset - 1, s - 2 * inset - 1);
    else pen.fillRect(x + inset, y + band.top, s - 2 * inset - 1, band.high);
  }

  // Index or value of every word, in one size for the whole register.
  labels(band, t, dx, dy, coloured, look, tone) {
    const film = this.film, {plane} = band, s = this.cell, pen = this.pen, values = look.labels === "value";
    const px = Math.min(band.high * 0.86, 13, (s - 2 * this.inset - 3) / (0.6 * this.longest(plane, values)));
    if (px < 5.5) return;
    pen.font = `${px.toFixed(1)}px ui-monospace, "DejaVu Sans Mono", monospace`;
    pen.textAlign = "center";
    pen.textBaseline = "middle";
    const middle = band.top + band.high / 2;
    const text = (k) => (values ? String(plane.values[k]) : this.name(plane, plane.words[k]));
    const plain = coloured || look.colour !== "all" ? ON_WORD : tone.ink;
    for (let i = 0, k = t * film.size; i < film.rows; i++) {
      for (let j = 0; j < film.cols; j++, k++) {
        if (plane.words[k] === NOTHING) continue;
        pen.fillStyle = plane.isPadding(plane.words[k]) ? tone.ink : this.onWord(k, look) ? plain : tone.ink;
        pen.fillText(text(k), this.x + j * s + s / 2 + dx, this.y + i * s + middle + dy);
      }
    }
    for (const [k, x, y] of this.beside(plane, t)) {
      pen.fillStyle = coloured && !plane.isPadding(plane.words[k]) ? ON_WORD : tone.ink;
      pen.fillText(text(k), x + s / 2 + dx, y + middle + dy);
    }
  }

  // Whether a PE's words stand on a word's colour: with one tensor looked at, only where it is there.
  onWord(k, look) {
    if (look.colour === "all") return true;
    const plane = this.film.main.find((p) => p.tensor === look.colour);
    return plane !== undefined && plane.words[k] !== NOTHING && !plane.isPadding(plane.words[k]);
  }

  // "w3,0,1": whose word it is and its index; the index alone where PEs are small.
  name(plane, word) {
    const {film} = this, index = film.short(plane.tensor, word);
    return this.cell < LETTERED || plane.isPadding(word) ? index : LETTER[plane.tensor] + index;
  }

  // Characters of a register's longest label.
  longest(plane, values) {
    const key = values ? "longestValue" : this.cell < LETTERED ? "longestIndex" : "longestName";
    if (plane[key] === undefined) {
      let n = 1, low = 0, high = 0;
      if (values) {
        for (const v of plane.values) { low = Math.min(low, v); high = Math.max(high, v); }
        n = Math.max(String(low).length, String(high).length);
      } else for (const word of colours.order[plane.tensor].keys()) n = Math.max(n, this.name(plane, word).length);
      plane[key] = Math.max(n, 2);
    }
    return plane[key];
  }

  // Words that come in next, and those that have just left: [cell, x, y] of each.
  beside(plane, t) {
    const film = this.film, s = this.cell, there = [], lead = this.lead;
    const side = (name, when) => {
      if (!name || !lead[name] || when < 0 || when >= film.frames) return;
      const flat = name === "left" || name === "right", far = name === "left" || name === "top" ? -1 : 1;
      for (let n = 0; n < (flat ? film.rows : film.cols); n++) {
        const i = flat ? n : name === "top" ? 0 : film.rows - 1, j = !flat ? n : name === "left" ? 0 : film.cols - 1;
        const k = film.at(when, i, j);
        const same = plane.way === "stays" && when && plane.words[k] === plane.words[k - film.size];
        if (plane.words[k] !== NOTHING && !same) there.push([k, this.x + (j + (flat ? far : 0)) * s, this.y + (i + (flat ? 0 : far)) * s]);
      }
    };
    side(plane.enters, t + 1);
    side(plane.leaves, t - 1);
    return there;
  }

  sides(band, t, dx, dy) {
    if (band.strip && !band.next) return;
    this.pen.globalAlpha = 0.75;
    const whole = {...band, next: false};
    for (const [k, x, y] of this.beside(band.plane, t)) this.chip(whole, band.plane.words[k], x + dx, y + dy, false);
    this.pen.globalAlpha = 1;
  }

  // A corner where a word is latched to be held or a sum begins, a foot where a result leaves.
  marks(t, tone) {
    const film = this.film, pen = this.pen, s = this.cell, size = Math.max(3, s * 0.16);
    for (let i = 0; i < film.rows; i++) {
      for (let j = 0; j < film.cols; j++) {
        const state = film.state[film.at(t, i, j)], x = this.x + j * s, y = this.y + i * s;
        if (state & OUT) {
          pen.fillStyle = tone.out;
          pen.fillRect(x, y + s - 1 - Math.max(2, s * 0.07), s - 1, Math.max(2, s * 0.07));
        }
        if (!(state & FILL)) continue;
        pen.fillStyle = tone.fill;
        pen.beginPath();
        pen.moveTo(x, y);
        pen.lineTo(x + size, y);
        pen.lineTo(x, y + size);
        pen.fill();
      }
    }
  }

  // Buses: a line through the PEs that a word comes to at this edge; between edges the next words
  // run along theirs.
  lines(t, part, look, tone) {
    const film = this.film, pen = this.pen, next = part > 0.02 && t + 1 < film.frames, when = next ? t + 1 : t;
    if (this.groups.t !== when) this.groups = {t: when, lines: this.carried(when)};
    for (const {tensor, word, pes} of this.groups.lines) {
      if ((look.colour !== "all" && look.colour !== tensor) || (pes.length === 1 && !next)) continue;
      const at = pes.map((pe) => this.port(tensor, pe));
      const start = this.origin(pes, at);
      pen.strokeStyle = tone.bus;
      pen.globalAlpha = (look.colour === "all" ? 0.45 : 1) * (next ? part : 1);
      pen.lineWidth = look.colour === "all" ? 1 : 1.5;
      pen.beginPath();
      pen.moveTo(...start);
      for (const p of at) pen.lineTo(...p);
      pen.stroke();
      pen.globalAlpha = 1;
      pen.fillStyle = colours.of(tensor, word);
      pen.lineWidth = 1;
      for (const p of next ? at : []) {
        const x = next ? start[0] + (p[0] - start[0]) * part : p[0], y = next ? start[1] + (p[1] - start[1]) * part : p[1];
        pen.beginPath();
        pen.arc(x, y, Math.max(2.5, this.cell * 0.08), 0, 7);
        pen.fill();
        pen.stroke();
      }
    }
  }

  // Words on buses at a frame with the PEs that have them: only what more than one PE takes is a line.
  carried(t) {
    const film = this.film, {starts, inward, tensor, word} = film.buses, lines = [];
    const holders = TENSORS.map(() => null);
    for (let n = starts[t]; n < starts[t + 1]; n++) {
      if (!inward[n]) continue;
      const kind = TENSORS[tensor[n]], plane = film.operands.find((p) => p.tensor === kind);
      if (!plane) continue;
      const map = holders[tensor[n]] || (holders[tensor[n]] = this.holders(plane, t)), pes = map.get(word[n]);
      if (pes) lines.push({tensor: kind, word: word[n], pes});
    }
    return lines;
  }

  holders(plane, t) {
    const film = this.film, map = new Map();
    for (let pe = 0, k = t * film.size; pe < film.size; pe++, k++) {
      const word = plane.words[k];
      if (word < 0) continue;
      const list = map.get(word);
      if (list) list.push(pe); else map.set(word, [pe]);
    }
    return map;
  }

  // Where a bus meets a PE's register.
  port(tensor, pe) {
    const band = this.bands.find((b) => b.plane.tensor === tensor && !b.strip), s = this.cell;
    return [this.x + (pe % this.film.cols) * s + s * 0.5, this.y + Math.floor(pe / this.film.cols) * s + band.top + band.high];
  }

  // Where a word comes from: the left of a row, the top of a column, the lower end of a diagonal.
  origin(pes, at) {
    const s = this.cell, how = this.film.lies(pes);
    if (how === "row") return [this.x - 6, at[0][1]];
    if (how === "diagonal") {
      const low = at[at.length - 1], high = at[0]; // PEs are in the order of their rows
      return [high[0] + (high[0] > low[0] ? 0.4 : -0.4) * s, high[1] - 0.4 * s];
    }
    return pes.length === 1 ? [at[0][0], at[0][1] - s] : [at[0][0], this.y - 4];
  }

  numbers(tone) {
    const film = this.film, pen = this.pen, s = this.cell;
    if (s < 12) return;
    pen.fillStyle = tone.dim;
    pen.font = "10px sans-serif";
    pen.textBaseline = "middle";
    pen.textAlign = "right";
    for (let i = 0; i < film.rows; i++) pen.fillText(i, 15, this.y + i * s + s / 2);
    pen.textAlign = "center";
    const every = s < 16 && film.cols > 10 ? 2 : 1;
    for (let j = 0; j < film.cols; j += every) pen.fillText(j, this.x + j * s + s / 2, 7);
  }

  // The PE that is looked at, and all PEs that have the word that is pointed at.
  outlines(t, look, tone) {
    const film = this.film, pen = this.pen, s = this.cell;
    const box = (pe, colour, width) => {
      pen.strokeStyle = colour;
      pen.lineWidth = width;
      pen.strokeRect(this.x + (pe % film.cols) * s, this.y + Math.floor(pe / film.cols) * s, s - 1, s - 1);
    };
    const pointed = look.pointed;
    if (pointed && pointed.word >= 0) {
      for (const plane of film.planes) {
        if (plane.tensor !== pointed.tensor) continue;
        for (let pe = 0, k = t * film.size; pe < film.size; pe++, k++) if (plane.words[k] === pointed.word) box(pe, tone.ink, 3);
      }
    }
    box(look.pe[0] * film.cols + look.pe[1], tone.pick, this.canvas.dataset.focus ? 4 : 2);
  }
}
