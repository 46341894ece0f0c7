// The run under the slider: how many PEs multiply, cycle by cycle, with the chapters.
class Timeline {
  constructor(film, canvas) {
    this.film = film;
    this.canvas = canvas;
    this.pen = canvas.getContext("2d");
  }

  measure(width) {
    const ratio = window.devicePixelRatio || 1;
    this.wide = Math.max(60, Math.floor(width));
    this.high = 34;
    this.canvas.width = Math.round(this.wide * ratio);
    this.canvas.height = this.high * ratio;
    this.canvas.style.width = this.wide + "px";
    this.canvas.style.height = this.high + "px";
    this.pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    this.base = null;
  }

  // A frame's place along the slider, whose knob stays 8 pixels off the ends.
  x(t) { return 8 + ((this.wide - 16) * t) / Math.max(1, player.last); }
  frame(e) { const box = this.canvas.getBoundingClientRect(); return ((e.clientX - box.left - 8) / (this.wide - 16)) * player.last; }

  draw(t) {
    const pen = this.pen;
    if (!this.base) this.paint();
    pen.drawImage(this.base, 0, 0, this.wide, this.high);
    pen.fillStyle = ink().pick;
    pen.fillRect(this.x(t) - 1, 12, 2, this.high - 12);
  }

  // All that does not change: the area, a tick and a name for each chapter.
  paint() {
    const film = this.film, pen = this.pen, tone = ink(), deep = this.high - 12;
    pen.fillStyle = tone.paper;
    pen.fillRect(0, 0, this.wide, this.high);
    pen.fillStyle = tone.idle;
    pen.fillRect(8, 12, this.wide - 16, deep);
    for (const [series, colour] of [[film.busy, tone.zero], [film.real, tone.mac]]) {
      pen.fillStyle = colour;
      for (let x = 8; x < this.wide - 8; x++) {
        const at = (pixel) => Math.floor(((pixel - 8) / (this.wide - 16)) * player.last);
        const a = at(x), b = Math.max(a + 1, at(x + 1));
        let most = 0;
        for (let t = a; t < Math.min(b, film.frames); t++) most = Math.max(most, series[t]);
        pen.fillRect(x, this.high - (deep * most) / film.size, 1, (deep * most) / film.size);
      }
    }
    this.names(tone);
    this.base = document.createElement("canvas");
    this.base.width = this.canvas.width;
    this.base.height = this.canvas.height;
    this.base.getContext("2d").drawImage(this.canvas, 0, 0);
  }

  names(tone) {
    const pen = this.pen;
    let free = 0;
    pen.font = "11px system-ui, sans-serif";
    pen.textBaseline = "middle";
    pen.textAlign = "left";
    for (const c of this.film.chapters) {
      const x = this.x(c.frame), wide = pen.measureText(c.name).width, left = Math.min(x, this.wide - wide);
      pen.fillStyle = tone.ink;
      pen.fillRect(x, 10, 1, this.high - 10);
      if (left < free) continue;
      pen.fillText(c.name, left, 5);
      free = left + wide + 8;
    }
  }
}
