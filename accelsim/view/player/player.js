// The page: one view a film, one clock for all of them, keys and controls.
const $ = (id) => document.getElementById(id);
const still = matchMedia("(prefers-reduced-motion: reduce)");
// Room for all panels on one screen: a desk's, wider for three films.
const roomy = (films) => innerHeight >= 640 && innerWidth >= (films > 2 ? 1300 : 1240);
let colours = new WordColours();

const SECTION = `<h2></h2>
<div class="left"><p class="story"></p><div class="stage"><canvas tabindex="0" role="application"></canvas></div>
  <p class="said" role="status"></p><div class="reuses" role="group" aria-label="Words used at once"></div></div>
<div class="middle"><div class="maps"></div>
  <section class="panel inspector"><h3></h3><p class="what"></p><table class="registers"><tbody></tbody></table><p class="equation"></p>
  <details><summary>Last ten cycles</summary><table class="history"><thead></thead><tbody></tbody></table></details></section></div>
<div class="right"><div class="told"><section class="panel"><h3>Loop nest</h3><div class="nest"></div></section>
  <section class="panel holds"><h3>Buffers</h3><table class="buffers"><tbody></tbody></table></section></div>
  <section class="panel counted"><h3>Counts</h3><table class="counts"><thead><tr><th>words</th><th>so far</th><th>whole run</th><th>this cycle</th></tr></thead><tbody></tbody></table></section></div>`;

class View {
  // ``colour``: the tensor whose words alone colour this film's array, or "all".
  constructor(film, section, colour = "all") {
    section.className = "film";
    section.innerHTML = SECTION;
    const find = (q) => section.querySelector(q);
    Object.assign(this, {film, section, colour, pe: this.busiest(film), hover: null, stamp: ""});
    find("h2").textContent = film.title;
    find(".story").dataset.film = film.title.slice(shared(player.films.map((f) => f.title)));
    [this.canvas, this.said, this.story, this.left, this.middle, this.stage] = [".stage canvas", ".said", ".story", ".left", ".middle", ".stage"].map(find);
    this.picture = new ArrayPicture(film, this.canvas);
    this.maps = film.main.map((plane) => this.map(plane, find(".maps")));
    this.reuse = new ReusePanel(film, find(".reuses"), (tensor) => {
      this.colour = this.colour === tensor ? "all" : tensor;
      player.draw();
    });
    if (film.kind !== "layer") find(".right h3").textContent = "Vector unit";
    find(".holds").hidden = !film.held.length;
    this.panels = [new NestPanel(film, find(".nest"), player.films.length > 1), new PePanel(film, find(".inspector")), new BufferPanel(film, find(".buffers tbody")),
      new CountPanel(film, find(".counts tbody"))];
    this.listen();
  }

  // The first PE that multiplies where the film opens.
  busiest(film) {
    for (let k = 0; k < film.size; k++) {
      const at = film.opens * film.size + k;
      if (film.state[at] & MAC && !film.padded(at)) return [Math.floor(k / film.cols), k % film.cols];
    }
    return [0, 0];
  }

  map(plane, place) {
    const figure = add(place, "figure"), caption = add(figure, "figcaption"), canvas = add(figure, "canvas");
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", `Map of the ${plane.tensor}: words in registers in their colours, those that wait in PEs as small squares, those in buffers pale`);
    const map = new TensorMap(this.film, plane.tensor, canvas);
    canvas.addEventListener("mousemove", (e) => player.point(map.find(e)));
    canvas.addEventListener("mouseleave", () => player.point(null));
    return {map, caption, label: `${plane.tensor} ${this.film.pattern(plane.tensor)}`};
  }

  listen() {
    const film = this.film;
    this.canvas.addEventListener("mousemove", (e) => {
      const at = this.picture.find(e);
      this.hover = at && at.pe;
      player.point(at ? this.pointed(at) : null);
    });
    this.canvas.addEventListener("mouseleave", () => { this.hover = null; player.point(null); });
    this.canvas.addEventListener("click", (e) => {
      const at = this.picture.find(e);
      if (!at) return;
      this.pe = at.pe;
      player.draw();
      this.say();
    });
    this.canvas.addEventListener("focus", () => { this.canvas.dataset.focus = "1"; this.say(); player.draw(); });
    this.canvas.addEventListener("blur", () => { delete this.canvas.dataset.focus; player.draw(); });
    this.canvas.addEventListener("keydown", (e) => {
      const step = {ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0]}[e.key];
      if (!step || e.ctrlKey || e.altKey || e.metaKey) return;
      const within = (x, size) => Math.min(size - 1, Math.max(0, x));
      this.pe = [within(this.pe[0] + step[0], film.rows), within(this.pe[1] + step[1], film.cols)];
      this.hover = null;
      e.preventDefault();
      e.stopPropagation();
      player.draw();
      this.say();
    });
  }

  // The word that is pointed at in a PE: of the tensor that colours the array, wherever in the PE,
  // since it fills it; else that of the register's band.
  pointed({pe, plane}) {
    const chosen = this.film.main.find((p) => p.tensor === this.colour) || plane;
    const word = chosen ? chosen.words[this.film.at(this.frame(), ...pe)] : NOTHING;
    return word >= 0 ? {tensor: chosen.tensor, word} : null;
  }

  // All of it on one screen where there is room, else the array at the page's width.
  measure() {
    this.picture.measure(...this.room(), $("size").value === "large");
    const [wide, high, column] = this.roomOfMaps();
    for (const {map} of this.maps) map.measure(wide - 4, high);
    if (column) this.share(wide - 4, high);
    this.stamp = "";
  }

  // Width and height for the array.
  room() {
    const films = player.films.length, one = document.body.classList.contains("one");
    if (one && films > 1) return [this.stage.clientWidth, Math.max(120, this.stage.clientHeight)];
    const width = this.left.clientWidth, taken = this.left.querySelector(".reuses").offsetHeight + this.story.offsetHeight + 8;
    const height = one ? this.left.clientHeight - taken : Math.min(width, innerHeight * (films > 2 ? 0.46 : 0.56));
    return [width, Math.max(120, height)];
  }

  // The same for each map, and whether they stand in a column.
  roomOfMaps() {
    const n = this.maps.length, place = this.middle.querySelector(".maps"), wide = place.clientWidth;
    if (!document.body.classList.contains("one")) return [(wide - 8 * (n - 1)) / n, 150, false];
    if (player.films.length > 1) return [wide, Math.max(30, place.clientHeight / n - 22), true];
    const pe = this.middle.querySelector(".inspector").offsetHeight;
    return [wide, Math.max(60, (this.middle.clientHeight - pe - 12) / n - 26), true];
  }

  // Height that one map leaves goes to those whose words are small.
  share(wide, high) {
    const small = this.maps.filter(({map}) => map.px < 8), left = this.maps.reduce((n, {map}) => n + Math.max(0, high - map.shownHigh), 0);
    const used = small.reduce((n, {map}) => n + Math.max(0, high - map.shownHigh), 0);
    for (const {map} of small) map.measure(wide, high + (left - used) / small.length);
  }

  // The frame this film is at: of the common clock, or where it has done as many MACs as the slowest.
  frame() {
    const film = this.film, t = Math.min(player.t, film.frames - 1);
    if (!player.byMac || player.films[0] === film) return t;
    return film.frameOfMacs(player.films[0].counts.macs[Math.min(player.t, player.films[0].frames - 1)]);
  }

  draw(part) {
    const film = this.film, t = this.frame(), pe = this.hover || this.pe, k = film.at(t, ...pe);
    const look = {...player.look, colour: this.colour, pe, words: film.main.map((p) => ({tensor: p.tensor, word: p.words[k]}))};
    this.picture.draw(t, t < film.frames - 1 ? part : 0, look);
    const stamp = JSON.stringify([t, look]);
    if (stamp === this.stamp) return;
    this.stamp = stamp;
    for (const {map, caption, label} of this.maps) { map.draw(t, look); put(caption, [label, map.says()].filter(Boolean).join(", ")); caption.title = caption.textContent; }
    this.reuse.draw(t, look);
    for (const panel of this.panels) panel.draw(t, pe);
    put(this.story, this.tells(t) + this.ends(t));
  }

  // What goes on, in a sentence or two.
  tells(t) {
    const film = this.film, chapter = film.chapters.filter((c) => c.frame <= t).pop(), padded = film.busy[t] - film.real[t];
    if (film.kind !== "layer") return `${chapter.name}: ${number(film.busy[t])} of ${number(film.size)} lanes work.`;
    const work = `${number(film.busy[t])} of ${number(film.size)} PEs multiply${padded ? `, ${number(padded)} of them padding` : ""}.`;
    const lag = film.lag ? ` A sum has the product of ${film.lag === 1 ? "the edge before" : `${film.lag} edges ago`}.` : "";
    return `${chapter ? `${chapter.name}: ` : ""}${work}${lag}`;
  }

  // Why this film stands still where another goes on.
  ends(t) {
    const film = this.film, first = player.films[0];
    if (t < film.frames - 1 || player.films.length < 2) return "";
    const behind = player.byMac ? first.counts.macs[Math.min(player.t, first.frames - 1)] - film.counts.macs[t] : player.t - t;
    if (behind <= 0) return "";
    return film.first + t === film.cycles ? " The run is over." : ` The film ends here, ${number(behind)} ${player.byMac ? "MAC" : "cycle"}s behind.`;
  }

  say() {
    const t = this.frame(), [i, j] = this.pe, k = this.film.at(t, i, j);
    const words = this.film.planes.filter((p) => p.words[k] !== NOTHING)
      .map((p) => `${p.label} ${this.film.word(p.tensor, p.words[k])}: ${p.values[k]}`);
    put(this.said, `PE row ${i}, column ${j}, cycle ${this.film.first + t}: ${this.film.states(t, i, j).join(", ")}. ${words.join(", ")}`);
    this.canvas.setAttribute("aria-label", `PE array of ${this.film.rows} rows and ${this.film.cols} columns. ${this.said.textContent}`);
  }
}

const player = {
  t: 0, part: 0, playing: false, frames: 0, films: [], views: [], nodes: [], last: 0, byMac: false, timeline: null,
  look: {labels: "index", pointed: null},
  get speed() { return Number($("speed").value); },
  show(t) {
    this.t = Math.min(this.last, Math.max(0, Math.round(t)));
    this.part = 0;
    this.draw();
    if (!this.playing) this.views.forEach((v) => v.say());
  },
  draw() {
    const slow = this.playing && this.speed <= 5 && !still.matches;
    this.views.forEach((v) => v.draw(slow ? this.part : 0));
    this.frames++;
    if (Number($("scrub").value) !== this.t) $("scrub").value = this.t;
    this.timeline.draw(this.t);
    const film = this.films[0], text = `cycle ${number(film.first + this.t)} of ${number(film.cycles)}`;
    if ($("now").textContent === text) return;
    $("now").textContent = text;
    $("scrub").setAttribute("aria-valuetext", text);
    const chapter = film.chapters.findLastIndex((c) => c.frame <= this.t);
    $("chapter").selectedIndex = chapter;
  },
  point(word) {
    const same = JSON.stringify(word) === JSON.stringify(this.look.pointed);
    this.look.pointed = word;
    if (!same || word === null) this.draw();
  },
  play(on) {
    if (on === this.playing) return;
    if (on && this.t >= this.last) this.t = 0;
    this.playing = on;
    this.part = 0;
    $("play").textContent = on ? "Pause" : "Play";
    if (!on) { this.show(this.t); return; }
    let before = performance.now();
    const tick = (now) => { if (!this.playing) return; this.on(now - before); before = now; requestAnimationFrame(tick); };
    requestAnimationFrame(tick);
  },
  on(milliseconds) {
    this.part += (Math.min(milliseconds, 250) * this.speed) / 1000;
    const whole = Math.floor(this.part);
    this.part -= whole;
    this.t = Math.min(this.last, this.t + whole);
    if (this.t >= this.last) this.play(false);
    else this.draw();
  },
  step(n) { this.play(false); this.show(this.t + n); },
  faster(n) { const s = $("speed"); s.selectedIndex = Math.min(s.options.length - 1, Math.max(0, s.selectedIndex + n)); },
  // To the chapter before or after.
  turn(way) {
    const marks = this.films[0].chapters.map((c) => c.frame).filter((f) => (way < 0 ? f < this.t : f > this.t));
    if (marks.length) this.step((way < 0 ? marks[marks.length - 1] : marks[0]) - this.t);
  },
  measure() {
    document.body.classList.toggle("one", roomy(this.films.length));
    document.body.classList.toggle("several", this.films.length > 1);
    const slider = $("scrub").clientWidth;
    this.timeline.measure(slider);
    this.views.forEach((v) => v.measure());
    this.draw();
  },
  // Put a node of a network on the stage.
  stage(n) {
    this.play(false);
    const node = this.nodes[n];
    node.ready = node.ready || node.films.map((head) => new Film(head, this.block));
    this.node = n;
    this.films = node.ready;
    colours = new WordColours();
    this.films.forEach((film) => colours.learn(film));
    this.last = Math.max(...this.films.map((f) => f.frames)) - 1;
    $("scrub").max = this.last;
    $("films").className = this.films.length > 1 ? `many n${this.films.length}` : "single";
    $("films").textContent = "";
    const before = this.views; // of the node that leaves: its colours are kept
    this.views = this.films.map((film, n) => {
      const section = add($("films"), "section");
      section.setAttribute("aria-label", film.title);
      return new View(film, section, before[n] && before[n].colour);
    });
    this.timeline = new Timeline(this.films[0], $("timeline"));
    this.offer();
    this.t = Math.min(this.last, Math.max(...this.films.map((f) => f.opens)));
    this.measure();
    this.measure(); // with the texts that the first drawing put in
    this.show(this.t);
  },
  // Chapters and clocks to choose from.
  offer() {
    $("chapter").textContent = "";
    for (const c of this.films[0].chapters) { const option = add($("chapter"), "option", "", c.name); option.title = c.told; }
    $("step").closest("label").hidden = this.films.length < 2;
    for (const [n, button] of [...$("nodes").children].entries()) button.setAttribute("aria-current", String(n === this.node));
  },
};

// How many characters titles begin with together, whole words of them; none of a single title.
function shared(titles) {
  let n = 0;
  while (titles.length > 1 && titles.every((t) => n < t.length && t[n] === titles[0][n])) n++;
  return titles[0].lastIndexOf(" ", n) + 1 && n ? titles[0].slice(0, n).lastIndexOf(" ") + 1 : 0;
}

function keys(e) {
  if (e.ctrlKey || e.altKey || e.metaKey || ["SELECT", "TEXTAREA"].includes(e.target.tagName)) return;
  const slider = e.target.id === "scrub";
  const does = {
    " ": () => player.play(!player.playing), ",": () => player.step(-1), ".": () => player.step(1),
    PageUp: () => player.step(-50), PageDown: () => player.step(50), Home: () => player.step(-Infinity), End: () => player.step(Infinity),
    "[": () => player.turn(-1), "]": () => player.turn(1), "+": () => player.faster(1), "=": () => player.faster(1), "-": () => player.faster(-1),
    ...(slider ? {} : {ArrowLeft: () => player.step(-1), ArrowRight: () => player.step(1)}),
  }[e.key];
  if (!does || (e.key === " " && ["BUTTON", "SUMMARY"].includes(e.target.tagName))) return;
  e.preventDefault();
  does();
}

// What colours, frames and marks mean.
function legend() {
  const tone = ink();
  $("legend").textContent = "";
  const entries = [
    ["frame", tone.mac, "multiplies"], ["frame", tone.zero, "multiplies padding"], ["hatch", "", "padding, 0"],
    ["fill", tone.fill, "holds a new word, begins a sum"], ["fill", tone.out, "a result leaves"],
    ...(player.nodes.some((node) => node.films.some((head) => head.kept.length)) ? [["dot", "", "waits in a PE's memory"]] : []),
    ["fill", tone.held, "in a buffer"],
  ];
  for (const [kind, colour, words] of entries) {
    const item = add($("legend"), "li"), box = add(item, "i", kind);
    if (kind === "frame") box.style.borderColor = colour; else if (kind === "fill") box.style.background = colour;
    item.append(words);
  }
  add($("legend"), "li", "", "A word has one colour, a tensor its hues.").title = "Weights red, ifmap blue, sums green to yellow";
}

function wire() {
  $("play").onclick = () => player.play(!player.playing);
  $("back").onclick = () => player.step(-1);
  $("on").onclick = () => player.step(1);
  $("first").onclick = () => player.step(-Infinity);
  $("last").onclick = () => player.step(Infinity);
  $("scrub").oninput = () => { player.play(false); player.show(Number($("scrub").value)); };
  $("chapter").onchange = () => { player.play(false); player.show(player.films[0].chapters[$("chapter").selectedIndex].frame); };
  $("timeline").onclick = (e) => { player.play(false); player.show(player.timeline.frame(e)); };
  $("labels").onchange = () => { player.look.labels = $("labels").value; player.draw(); };
  $("step").onchange = () => { player.byMac = $("step").value === "mac"; player.show(player.t); };
  $("size").onchange = () => player.measure();
  addEventListener("resize", () => player.measure());
  dark.addEventListener("change", () => { legend(); player.measure(); });
  document.addEventListener("keydown", keys);
}

async function start() {
  if (typeof DecompressionStream === "undefined") {
    throw new Error("this browser cannot decompress the data (DecompressionStream is missing); one of 2023 or later can");
  }
  const head = JSON.parse($("head").textContent);
  player.block = await inflate($("block").textContent);
  player.nodes = head.nodes.map((node) => ({...node, films: node.films.map((n) => head.films[n])}));
  for (const id of ["controls", "legend", "keys"]) $(id).hidden = false;
  $("summary").open = false;
  $("nodes").hidden = player.nodes.length < 2;
  player.nodes.forEach((node, n) => {
    const button = add($("nodes"), "button", node.kind, node.name);
    button.title = node.kind;
    button.onclick = () => player.stage(n);
  });
  legend();
  wire();
  player.stage(0);
  window.accelsim = player;
  document.body.dataset.ready = "1";
}

start().catch((error) => {
  $("trouble").hidden = false;
  $("trouble").textContent = "The player could not start: " + error.message;
  throw error;
});
