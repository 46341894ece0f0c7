// A tensor as a map of its words, so that a window is seen to slide: in its colour a word that is in
// a register, a small square of its colour where it waits in the PEs' own memories, and pale where
// it is in a buffer outside them.
const LARGEST = 16, GAP = 3; // pixels of a word at most, and between two maps of a tensor

class TensorMap {
  constructor(film, tensor, canvas) {
    this.film = film;
    this.tensor = tensor;
    this.canvas = canvas;
    this.pen = canvas.getContext("2d");
    this.planes = film.planes.filter((p) => p.tensor === tensor);
    this.held = film.held.filter((h) => h.tensor === tensor);
    this.kept = film.kept.filter((k) => k.tensor === tensor);
    this.range = this.visited();
  }

  // First and last index along each axis of what the film shows in PEs; whole maps and filters.
  visited() {
    const film = this.film, shape = film.shapes[this.tensor], low = shape.map(() => Infinity), high = shape.map(() => -1);
    for (const words of [...this.planes, ...this.kept.map((k) => k.there)].map((x) => x.words)) {
      for (const word of new Set(words)) {
        if (word < 0) continue;
        this.digits(word).forEach((x, d) => { low[d] = Math.min(low[d], x); high[d] = Math.max(high[d], x + 1); });
      }
    }
    const whole = (n, d) => high[d] < 0 || (d > 2 && n <= 64) || (this.tensor === "weight" && n <= 16);
    return shape.map((n, d) => (whole(n, d) ? [0, n] : [low[d], high[d]]));
  }

  digits(word) {
    const shape = this.film.shapes[this.tensor], at = [];
    for (let d = shape.length - 1; d >= 0; d--) { at[d] = word % shape[d]; word = Math.floor(word / shape[d]); }
    return at;
  }

  // Blocks are filters, a row of them an output channel, or the channels' maps, wrapped to fit.
  measure(width, height) {
    const [a, b, c, d, e] = this.range.map(([from, to]) => to - from);
    this.block = [d, e];
    this.wrapped = this.tensor !== "weight" || c === 1;
    const blocks = this.wrapped ? [a * b * c, 1] : [a * b, c];
    // (a single map may be shown with words of a pixel)
    const fits = (up, across) => Math.min((width - (across - 1) * this.gap) / (across * e), (height - (up - 1) * this.gap) / (up * d));
    this.gap = d * e === 1 ? 0 : blocks[0] * blocks[1] > 64 ? 1 : GAP;
    if (!this.wrapped) {
      this.grid = [Math.min(blocks[0], this.most(height, d)), Math.min(blocks[1], this.most(width, e))];
    } else {
      const most = Math.max(1, this.most(height, d) * this.most(width, e)), shown = Math.min(blocks[0], most);
      let best = [shown, 1];
      for (let across = 1; across <= shown; across++) {
        const up = Math.ceil(shown / across);
        if (fits(up, across) > fits(...best)) best = [up, across];
      }
      this.grid = best;
    }
    this.px = Math.max(Math.min(LARGEST, Math.floor(fits(...this.grid))), 1);
    this.shownWide = this.grid[1] * (e * this.px + this.gap) - this.gap;
    this.shownHigh = this.grid[0] * (d * this.px + this.gap) - this.gap;
    const ratio = window.devicePixelRatio || 1, w = Math.min(this.shownWide, 4000) + 2, h = Math.min(this.shownHigh, 4000) + 2;
    this.canvas.width = Math.round(w * ratio);
    this.canvas.height = Math.round(h * ratio);
    this.canvas.style.width = w + "px";
    this.canvas.style.height = h + "px";
    this.pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    this.pen.translate(1, 1);
  }

  // Blocks of so many words that fit into some pixels, two or three of them a word at least.
  most(pixels, words) {
    const least = this.wrapped ? 2 : 3;
    return Math.max(1, Math.floor((pixels + this.gap) / (words * least + this.gap)));
  }

  // Number of the block a word lies in: [down, across].
  blockOf(at) {
    const r = this.range, n = (d) => r[d][1] - r[d][0], x = (d) => at[d] - r[d][0];
    if (!this.wrapped) return [x(0) * n(1) + x(1), x(2)];
    return [(x(0) * n(1) + x(1)) * n(2) + x(2), 0];
  }

  // Place of a word in pixels, or null if it is on another page.
  place(at) {
    let [down, across] = this.blockOf(at);
    if (!this.wrapped) { down -= this.page[0]; across -= this.page[1]; } else {
      const n = down - this.page[0];
      down = Math.floor(n / this.grid[1]);
      across = n - down * this.grid[1];
    }
    if (down < 0 || across < 0 || down >= this.grid[0] || across >= this.grid[1]) return null;
    return [across * (this.block[1] * this.px + this.gap) + (at[4] - this.range[4][0]) * this.px,
      down * (this.block[0] * this.px + this.gap) + (at[3] - this.range[3][0]) * this.px];
  }

  // The page on which the first lit word is.
  turn(first) {
    const [down, across] = first ? this.blockOf(first) : [0, 0], [up, wide] = this.grid;
    const start = (n, size) => Math.floor(n / size) * size;
    this.page = !this.wrapped ? [start(down, up), start(across, wide)] : [start(down, up * wide), 0];
  }

  draw(t, look) {
    const places = (words) => new Map([...words].map((word) => [word, this.digits(word)]));
    this.lit = places(this.film.inRegisters(this.tensor, t));
    this.waiting = places(this.film.waiting(this.tensor, t));
    const first = this.lit.values().next().value || this.waiting.values().next().value;
    if (first || !this.page) this.turn(first);
    this.ground(t);
    this.dots();
    this.light(look);
  }

  // All words of the page, and over them those that buffers hold.
  ground(t) {
    const pen = this.pen, tone = ink(), [d, e] = this.block;
    pen.fillStyle = tone.paper;
    pen.fillRect(-1, -1, this.shownWide + 2, this.shownHigh + 2);
    pen.fillStyle = tone.empty;
    this.eachBlock((x, y) => pen.fillRect(x, y, e * this.px, d * this.px));
    pen.fillStyle = tone.held;
    for (const h of this.held) {
      if (!h.words[t]) continue;
      if (h.there) { this.runs(h.there.at(t)); continue; }
      const low = this.range.map(([from], n) => Math.max(from, h.low[t * 5 + n]));
      const high = this.range.map(([, to], n) => Math.min(to, h.high[t * 5 + n]));
      if (low.every((x, n) => x < high[n])) this.fill(low, high);
    }
    if (this.px < 6) return;
    pen.strokeStyle = tone.paper;
    pen.lineWidth = 1;
    this.eachBlock((x, y) => this.raster(x, y));
  }

  // Every block of the page: its corner, and the first three indices of its words.
  eachBlock(act) {
    const [a, b, c] = this.range.map(([from, to]) => to - from), names = (n, k) => [Math.floor(n / b), n % b, k];
    for (let down = 0; down < this.grid[0]; down++) {
      for (let across = 0; across < this.grid[1]; across++) {
        const n = this.page[0] + (this.wrapped ? down * this.grid[1] + across : down), k = this.wrapped ? n % c : this.page[1] + across;
        const row = this.wrapped ? Math.floor(n / c) : n;
        if (row >= a * b || k >= c) continue;
        act(across * (this.block[1] * this.px + this.gap), down * (this.block[0] * this.px + this.gap),
          names(row, k).map((x, d) => x + this.range[d][0]));
      }
    }
  }

  // Words of a set that stand on the page, those side by side at once.
  runs(words) {
    const shape = this.film.shapes[this.tensor], [d, e] = this.block, s = this.px;
    this.eachBlock((x, y, [a, b, c]) => {
      for (let i = 0; i < d; i++) {
        const first = ((((a * shape[1] + b) * shape[2] + c) * shape[3]) + this.range[3][0] + i) * shape[4] + this.range[4][0];
        for (let j = 0; j < e; j++) {
          const from = j;
          while (j < e && words.has(first + j)) j++;
          if (j > from) this.pen.fillRect(x + from * s, y + i * s, (j - from) * s, s);
        }
      }
    });
  }

  // Words that wait in the PEs' own memories.
  dots() {
    const s = this.px, side = Math.max(1, Math.round(0.6 * s)), off = Math.floor(s / 2) - Math.floor(side / 2);
    for (const [word, at] of this.waiting) {
      const p = this.place(at);
      if (!p || this.planes[0].isPadding(word)) continue;
      this.pen.fillStyle = colours.of(this.tensor, word);
      this.pen.fillRect(p[0] + off, p[1] + off, side, side);
    }
  }

  raster(x, y) {
    const [d, e] = this.block, pen = this.pen, s = this.px;
    pen.beginPath();
    for (let n = 1; n < e; n++) { pen.moveTo(x + n * s - 0.5, y); pen.lineTo(x + n * s - 0.5, y + d * s); }
    for (let n = 1; n < d; n++) { pen.moveTo(x, y + n * s - 0.5); pen.lineTo(x + e * s, y + n * s - 0.5); }
    pen.stroke();
  }

  // A box of indices, block by block.
  fill(low, high) {
    for (let a = low[0]; a < high[0]; a++) for (let b = low[1]; b < high[1]; b++) for (let c = low[2]; c < high[2]; c++) {
      const corner = this.place([a, b, c, low[3], low[4]]);
      if (corner) this.pen.fillRect(...corner, (high[4] - low[4]) * this.px, (high[3] - low[3]) * this.px);
    }
  }

  light(look) {
    const pen = this.pen, s = this.px, gap = s >= 6 ? 1 : 0, tone = ink();
    for (const [word, at] of this.lit) {
      const p = this.place(at);
      if (!p) continue;
      pen.fillStyle = this.planes[0].isPadding(word) ? tone.empty : colours.of(this.tensor, word);
      pen.fillRect(...p, s - gap, s - gap);
    }
    const own = look.words.find((w) => w.tensor === this.tensor);
    const pointed = look.pointed && look.pointed.tensor === this.tensor ? look.pointed : null;
    for (const [mark, colour] of [[own, tone.pick], [pointed, tone.ink]]) {
      const p = mark && mark.word >= 0 ? this.place(this.digits(mark.word)) : null;
      if (!p) continue;
      pen.strokeStyle = colour;
      pen.lineWidth = 2;
      pen.strokeRect(p[0] - 1, p[1] - 1, s + 1, s + 1);
    }
  }

  // The word under a pointer, or null.
  find(e) {
    const box = this.canvas.getBoundingClientRect(), x = e.clientX - box.left - 1, y = e.clientY - box.top - 1;
    for (const [word, at] of [...(this.lit || []), ...(this.waiting || [])]) {
      const p = this.place(at);
      if (p && x >= p[0] && y >= p[1] && x < p[0] + this.px && y < p[1] + this.px) return {tensor: this.tensor, word};
    }
    return null;
  }

  // Which part of the tensor the page shows.
  says() {
    const names = AXES[this.tensor], shape = this.film.shapes[this.tensor];
    const part = ([from, to], d) => (to - from < shape[d] ? `${names[d]} ${from}\u2013${to - 1} of ${shape[d]}` : "");
    const blocks = this.range.slice(0, 3).reduce((n, [from, to]) => n * (to - from), 1), shown = this.grid[0] * this.grid[1];
    const page = shown < blocks ? `${shown} of ${blocks} at a time` : "";
    return [...this.range.map(part), page].filter(Boolean).join(", ");
  }
}
