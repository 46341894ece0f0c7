"use strict";
// How numbers are written: four digits and an SI prefix everywhere, or every digit where "exact numbers" is ticked.
// Loaded first; charts.js, controls.js and explorer.js write no number in another way.

const PREFIXES = ["f", "p", "n", "\u00b5", "m", "", "k", "M", "G", "T", "P", "E"];
const THIN = "\u2009", NONE = "\u2013";
let exact = false;

// 2034096 -> 2.034 M; 0.01017 with "s" -> 10.17 ms; whole numbers below 10 000 as they are.  Units of letters stand
// behind the prefix (GMAC/s); nothing is a dash.
function si(v, unit = "", digits = 4) {
  if (v === null || v === undefined) return NONE;
  const join = (text, prefix) => text + (prefix + unit ? THIN + prefix + unit : "");
  if (v === 0 || (Number.isInteger(v) && Math.abs(v) < 1e4)) return join(grouped(v), "");
  const rounded = Number(v.toPrecision(digits)), power = Math.floor(Math.log10(Math.abs(rounded)) / 3);
  const at = Math.min(PREFIXES.length - 1, Math.max(0, power + 5));
  return join(Number((rounded / 1000 ** (at - 5)).toPrecision(digits)).toString(), PREFIXES[at]);
}

const grouped = (v) => String(v).replace(/\B(?=(\d{3})+(?!\d))/g, THIN);

// Every digit: whole numbers in groups of three, others as they are stored.
function digits(v, unit = "") {
  if (v === null || v === undefined) return NONE;
  return (Number.isInteger(v) && Math.abs(v) < 1e15 ? grouped(v) : String(v)) + (unit ? THIN + unit : "");
}

const number = (v, unit = "") => exact ? digits(v, unit) : si(v, unit);
const percent = (x) => x === null || x === undefined ? NONE : `${Number((100 * x).toPrecision(3))}${THIN}%`;
// Energies come in pJ, or in energies of one MAC where the table is a relative one.
const energy = (v, unit) => v === null || v === undefined ? NONE : unit === "pj" ? exact ? digits(v, "pJ") : si(v * 1e-12, "J") : number(v, "MAC");
