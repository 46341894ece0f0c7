// The panels beside the pictures, one class a panel: made once, then told what to show.
const number = (v) => String(v).replace(/\B(?=(\d{3})+(?!\d))/g, "\u2009");
const put = (node, text) => { if (node.textContent !== text) node.textContent = text; };
const add = (parent, tag, name, text) => {
  const node = document.createElement(tag);
  if (name) node.className = name;
  if (text !== undefined) node.textContent = text;
  parent.append(node);
  return node;
};
const HISTORY = 10;
const WHERE = {
  row: "each along a row", column: "each down a column", diagonal: "each along a diagonal", block: "each in several PEs",
  alone: "each in one PE",
};

// The loops, lit where a PE is in them.
class NestPanel {
  constructor(film, place, narrow) {
    this.film = film;
    this.lines = film.nest.filter((line) => !narrow || !line.text.includes("+=")).map((line) => {
      const row = add(place, "span"), short = this.short(line.text, narrow);
      const text = add(row, "span", "loop", short), where = add(row, "b");
      text.title = line.text;
      return {...line, row, where};
    });
  }

  // Less indented; in a narrow column in few words, too: "rows: c by 4".
  short(text, narrow) {
    const line = text.replace(/^ +/, (all) => " ".repeat(all.length / (narrow ? 4 : 2)));
    if (!narrow) return line;
    return line.replace(/parallel-for (\S+) in \d+ pieces? of (\S+) over (\w+)/, "$3: $1 by $2")
      .replace(/for (\S+) in \d+ pieces? of (\S+)/, "for $1 by $2")
      .replace(/(\w+) keeps/, "$1:").replace(/(w)eight |(i)fmap |(o)fmap /g, "$1$2$3 ").replaceAll(", ", " ");
  }

  draw(t, [i, j]) {
    const at = this.film.iteration(t, i, j);
    for (const line of this.lines) {
      const on = line.loop !== null && at !== null;
      line.row.classList.toggle("lit", on);
      put(line.where, on ? `${this.film.loops[line.loop]} ${at[line.loop] + 1} of ${this.film.trips[line.loop]}` : "");
      if (on) line.row.setAttribute("aria-current", "step"); else line.row.removeAttribute("aria-current");
    }
  }
}

// How often each word on the array is used at once, and how its PEs lie: what a dataflow is about.
class ReusePanel {
  constructor(film, place, choose) {
    this.film = film;
    this.rows = film.main.map((plane) => {
      const button = add(place, "button", "reuse"), swatch = add(button, "i"), name = add(button, "b", "", plane.label);
      add(button, "code", "", film.pattern(plane.tensor));
      button.setAttribute("aria-pressed", "false");
      button.title = `Colour the array by ${plane.label} words alone, or by all again`;
      button.onclick = () => choose(plane.tensor);
      return {plane, button, swatch, name, text: add(button, "span")};
    });
  }

  draw(t, look) {
    for (const row of this.rows) {
      const {plane} = row, use = this.film.reuse(plane, t);
      const place = this.film.kind === "layer" ? "PE" : "lane", many = (n, what) => `${number(n)} ${what}${n === 1 ? "" : "s"}`;
      const words = `${many(use.words, "word")} in ${many(use.pes, place)}`;
      const wait = this.film.waiting(plane.tensor, t).length, kept = this.film.kept.find((k) => k.tensor === plane.tensor);
      const rest = wait ? `; ${number(wait)} wait in ${kept.level}` : "";
      put(row.text, (use.words ? `${words}, ${this.how(plane, use.how).replace("PE", place)}` : "none now") + rest);
      row.button.setAttribute("aria-pressed", String(look.colour === plane.tensor));
      const own = look.words.find((w) => w.tensor === plane.tensor);
      row.swatch.style.background = own && own.word >= 0 && !plane.isPadding(own.word) ? colours.of(plane.tensor, own.word) : "transparent";
    }
  }

  how(plane, kind) {
    if (plane.way !== "stays") return `moving ${plane.way === "right" ? "along the rows" : "down the columns"}`;
    const sums = plane === this.film.sums;
    if (sums && kind === "column") return "each the sum of a column";
    if (sums && kind === "row") return "each the sum of a row";
    return WHERE[kind];
  }
}

// One PE: its registers, what its sum is made of, its last cycles.
class PePanel {
  constructor(film, section) {
    const find = (q) => section.querySelector(q);
    this.film = film;
    [this.title, this.what, this.equation] = ["h3", ".what", ".equation"].map(find);
    this.rows = film.planes.map((plane) => {
      const row = find(".registers tbody").insertRow();
      add(row, "th", "", plane.label);
      return {plane, name: row.insertCell(), value: row.insertCell()};
    });
    const head = find(".history thead").insertRow();
    for (const text of ["cycle", "PE", ...film.planes.map((p) => p.label)]) add(head, "th", "", text);
    this.history = Array.from({length: HISTORY}, () => {
      const row = find(".history tbody").insertRow();
      add(row, "th");
      for (let n = 0; n <= film.planes.length; n++) row.insertCell();
      return row;
    });
    this.open = find("details");
    this.open.addEventListener("toggle", () => player.measure()); // the maps give it room
  }

  draw(t, [i, j]) {
    const film = this.film, k = film.at(t, i, j);
    const layer = film.kind === "layer";
    put(this.title, `${layer ? `PE (${i}, ${j})` : `Lane ${i * film.cols + j}`} after cycle ${number(film.first + t)}`);
    put(this.what, film.states(t, i, j).join(", "));
    for (const {plane, name, value} of this.rows) {
      const none = plane.words[k] === NOTHING;
      put(name, none ? "\u2013" : film.word(plane.tensor, plane.words[k]));
      put(value, none ? "" : String(plane.values[k]));
      const lit = plane.words[k] >= 0 && !plane.isPadding(plane.words[k]);
      name.style.background = lit ? colours.of(plane.tensor, plane.words[k]) : "transparent";
      name.style.color = lit ? ON_WORD : "";
    }
    put(this.equation, this.sum(film.equation(t, i, j)));
    if (this.open.open) this.past(t, i, j);
  }

  // "o[0,1,2] = 6 (from the PE above) + 2 x 3 = 12", and how long ago its words were here.
  sum(made) {
    const film = this.film;
    if (film.kind !== "layer") return "";
    if (!made) return "no sum is made here in this cycle";
    const sign = (v) => (v < 0 ? `(${v})` : String(v));
    const product = made.factors.map((f) => sign(f.value)).join(" \u00d7 ");
    const late = film.lag ? ` The product is of cycle ${number(film.first + made.then)}, ${film.lag} edge${film.lag > 1 ? "s" : ""} ago: ` +
      made.factors.map((f) => film.word(f.tensor, f.word)).join(" \u00d7 ") + "." : "";
    return `${film.word(film.sums.tensor, made.word)} = ${made.before} (from ${made.from}) + ${product} = ${made.after}.${late}`;
  }

  past(t, i, j) {
    const film = this.film;
    this.history.forEach((row, back) => {
      const when = t - back;
      row.hidden = when < 0;
      if (when < 0) return;
      const at = film.at(when, i, j);
      put(row.cells[0], number(film.first + when));
      put(row.cells[1], film.states(when, i, j).join(", "));
      film.planes.forEach((p, n) => put(row.cells[n + 2], p.words[at] === NOTHING ? "\u2013" : String(p.values[at])));
    });
  }
}

// What levels outside the PEs hold.
class BufferPanel {
  constructor(film, body) {
    this.rows = film.held.map((h) => {
      const row = body.insertRow();
      add(row, "th", "", `${h.level} ${h.tensor}`);
      const bar = add(row.insertCell(), "span", "bar"), fill = add(bar, "i"), text = row.insertCell(), bytes = row.insertCell();
      bytes.textContent = h.capacity_bytes ? `${number(h.tile_bytes)} of ${number(h.capacity_bytes)} B` : `${number(h.tile_bytes)} B`;
      bytes.title = "bytes of the largest tile, and of the buffer";
      return {...h, fill, text};
    });
  }

  draw(t) {
    for (const h of this.rows) {
      h.fill.style.width = Math.min(100, (100 * h.words[t]) / Math.max(1, h.tile_words)) + "%";
      put(h.text, `${number(h.words[t])} of ${number(h.tile_words)} words`);
    }
  }
}

// Counts up to this cycle, as the model counts them.
class CountPanel {
  constructor(film, body) {
    this.film = film;
    const busy = film.kind === "layer" ? "PEs that multiply" : "lanes that work";
    this.rows = [["cycle"], [busy], ...Object.entries(film.counts)].map(([name, values]) => {
      const row = body.insertRow();
      add(row, "th", "", name);
      const [now, whole, more] = [row.insertCell(), row.insertCell(), row.insertCell()];
      if (values) whole.textContent = number(film.totals[name]);
      return {values, row, now, whole, more};
    });
    this.rows[0].whole.textContent = number(film.cycles);
  }

  draw(t) {
    const film = this.film;
    put(this.rows[0].now, number(film.first + t));
    put(this.rows[1].now, number(film.busy[t]));
    for (const {values, row, now, more} of this.rows) {
      if (!values) continue;
      const plus = values[t] - (t ? values[t - 1] : film.first === 1 ? 0 : values[t]);
      put(now, number(values[t]));
      put(more, plus ? "+" + number(plus) : "");
      row.classList.toggle("now", plus > 0);
    }
  }
}
