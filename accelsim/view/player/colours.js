// Colours. A word has one colour wherever and whenever it is shown. Each tensor has hues of its own,
// so that words of two tensors are never taken for one; in them a word's place in the order in which
// words of its tensor appear decides, so words that are there together are far apart in hue and in
// lightness (which tells them apart without colour vision, too).
const LIGHT = {paper: "#ffffff", idle: "#e6e6e3", mac: "#007d5a", zero: "#a9d5c6", ink: "#1a1a1a", dim: "#5a5a5a", rule: "#bdbdb8",
  pick: "#0058a3", held: "#cdcdc8", empty: "#f1f1ee", fill: "#d55e00", out: "#9c3f78", bus: "#1a1a1a", hatch: "#8a8a86"};
const DARK = {paper: "#17191b", idle: "#2b2f32", mac: "#00b98a", zero: "#2f5a4c", ink: "#ececec", dim: "#b0b0b0", rule: "#4c5256",
  pick: "#6fc2ff", held: "#4b5155", empty: "#25282b", fill: "#ff8f33", out: "#e79bc6", bus: "#ffffff", hatch: "#8a8a86"};
const ON_WORD = "#111111"; // ink on a word's colour, which is light in both schemes
const dark = matchMedia("(prefers-color-scheme: dark)");
const ink = () => (dark.matches ? DARK : LIGHT);

class WordColours {
  constructor() { this.order = {weight: new Map(), ifmap: new Map(), ofmap: new Map()}; this.made = {weight: [], ifmap: [], ofmap: []}; }

  // Take the words of a film in, in the order in which they appear.
  learn(film) {
    for (let t = 0; t < film.frames; t++) {
      for (const plane of film.planes) {
        const order = this.order[plane.tensor], words = plane.words, end = (t + 1) * film.size;
        for (let k = t * film.size; k < end; k++) {
          const word = words[k];
          if (word >= 0 && (t === 0 || words[k - film.size] !== word) && !order.has(word)) order.set(word, order.size);
        }
      }
      for (const {tensor, there} of film.kept) {
        const order = this.order[tensor];
        for (let n = there.starts[t]; n < there.starts[t + 1]; n++) if (!order.has(there.words[n])) order.set(there.words[n], order.size);
      }
    }
  }

  of(tensor, word) {
    const n = this.order[tensor].get(word);
    if (n === undefined) return ink().held;
    const made = this.made[tensor];
    return made[n] || (made[n] = wordColour(tensor, n));
  }
}

// Hues of each tensor, in degrees of Oklch: reds, blues, and from yellow to green.
const HUES = {weight: [-25, 52], ifmap: [195, 292], ofmap: [85, 163]};
// Steps of an additive sequence in hue, lightness and chroma: the golden ratio in lightness, the
// others searched for the largest distance (in Oklab) between the nearest of any 9, 16 and 40
// colours that follow each other.
const STEPS = [0.4354771765, 0.6180339887, 0.15490461];

// The n-th colour of a tensor; pale ones have less chroma, which a screen has less of there.
function wordColour(tensor, n) {
  const [hue, light, chroma] = STEPS.map((step) => (0.5 + n * step) % 1), [low, high] = HUES[tensor];
  const l = 0.62 + 0.31 * light;
  return oklch(l, (0.065 + 0.1 * chroma) * (1.5 - l), ((low + (high - low) * hue) * Math.PI) / 180);
}

// Oklch to #rrggbb (Ottosson 2020), cut to what a screen shows.
function oklch(l, c, h) {
  const a = c * Math.cos(h), b = c * Math.sin(h);
  const x = (l + 0.3963377774 * a + 0.2158037573 * b) ** 3, y = (l - 0.1055613458 * a - 0.0638541728 * b) ** 3;
  const z = (l - 0.0894841775 * a - 1.291485548 * b) ** 3;
  const linear = [4.0767416621 * x - 3.3077115913 * y + 0.2309699292 * z, -1.2684380046 * x + 2.6097574011 * y - 0.3413193965 * z,
    -0.0041960863 * x - 0.7034186147 * y + 1.707614701 * z];
  return "#" + linear.map((v) => {
    const u = Math.min(1, Math.max(0, v)), s = u <= 0.0031308 ? 12.92 * u : 1.055 * u ** (1 / 2.4) - 0.055;
    return Math.round(255 * s).toString(16).padStart(2, "0");
  }).join("");
}

// Padding is hatched, so that it never looks like a word.
function hatching() {
  const tile = document.createElement("canvas"), pen = tile.getContext("2d");
  tile.width = tile.height = 6;
  pen.fillStyle = ink().paper;
  pen.fillRect(0, 0, 6, 6);
  pen.strokeStyle = ink().hatch;
  pen.lineWidth = 1.2;
  for (const x of [-3, 3]) { pen.beginPath(); pen.moveTo(x, 6.5); pen.lineTo(x + 7, -0.5); pen.stroke(); }
  return pen.createPattern(tile, "repeat");
}
