"""Slides from the teaching pages, one deck a lecture:  python docs/teaching/decks.py [FOLDER]

They are written to dist/decks, unless a folder is given; the teacher's bundle of the course and the
site have them, too.  A deck is one HTML file with its pictures inside and nothing from outside.
Each page begins with a title slide that lists its sections; each of its sections is a slide, so
page and slide have the same words.  A slide's picture stands beside its text or above it, whichever
shows it larger, and nothing passes the footer.  Arrow keys, space, and a tap on the right or left
half turn the slides; the number after # is the slide, so a slide has a link; printing gives a slide
a sheet.
"""

from __future__ import annotations

import base64
import html
import re
import struct
import sys
from pathlib import Path

from make import png

HERE = Path(__file__).resolve().parent
FINE = 240  # dots an inch: a slide is a screen wide
LECTURES = {
    "1_convolution": ("Convolution", ("sliding_window", "convolution", "im2col")),
    "2_networks": ("Networks", ("layer_by_layer", "receptive_fields", "other_layers")),
    "3_training": ("Training", ("backward",)),
    "4_dataflows": ("Dataflows", ("reuse", "skew", "row_stationary")),
}

STYLE = """
:root { color-scheme: light dark; --ink: #222; --paper: #fff; --grey: #666; --line: #ccc; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #eee; --paper: #1b1d20; --grey: #aaa; --line: #444; }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font-family: sans-serif; }
section { display: none; min-height: 100vh; padding: 5vh 6vw 9vh; }
section { font-size: clamp(15px, 1.5vw, 24px); }
section.now { display: block; }
section.title { padding-top: 20vh; } section.title h1 { margin-bottom: .6em; }
.words .body { font-size: 1.35em; }
h1 { font-size: 2.2em; margin: 0; } li { margin: .25em 0; }
h2 { font-size: 1.6em; margin: 0 0 .7em; }
p, ul, ol, table { max-width: 62em; line-height: 1.45; }
figure { margin: 0 0 1em; }
img { display: block; max-width: 100%; height: auto; background: #fff; border-radius: 6px; }
@media screen and (min-width: 800px) {
  section.now { display: flex; flex-direction: column; height: 100vh; }
  .body { flex: 1 1 0; min-height: 0; display: flex; flex-direction: column; gap: 1em; }
  .beside .body { flex-direction: row; gap: 2.5em; }
  figure { flex: 1 1 0; min-height: 0; min-width: 0; margin: 0; }
  .beside figure { flex: 1.7 1 0; } .beside .text { flex: 1 1 0; min-width: 0; }
  .text > :first-child { margin-top: 0; } .text > :last-child { margin-bottom: 0; }
  img { width: 100%; height: 100%; object-fit: contain; object-position: left top; }
}
pre { border: 1px solid var(--line); border-radius: 6px; padding: .7em; white-space: pre-wrap; }
pre, code { font-size: .9em; }
table { border-collapse: collapse; } td, th { border-bottom: 1px solid var(--line); }
td, th { padding: .3em .8em .3em 0; text-align: left; vertical-align: top; }
footer { position: fixed; bottom: 1.5vh; left: 6vw; right: 6vw; color: var(--grey); }
footer { font-size: 13px; background: var(--paper); }
footer span { float: right; }
@media print { section { display: block; break-after: page; } footer { display: none; } }
"""

SCRIPT = """
const slides = [...document.querySelectorAll("section")];
let at = 0;
const footer = document.querySelector("footer");
function turn(to, keep) {
  at = Math.max(0, Math.min(slides.length - 1, to));
  slides.forEach((slide, k) => slide.classList.toggle("now", k === at));
  footer.querySelector("span").textContent = (at + 1) + " of " + slides.length;
  if (!keep) history.replaceState(null, "", "#" + (at + 1));
  scrollTo(0, 0);
  fit(slides[at]);
}
// How much larger than life a picture is shown, beside the text or above it.
function scale(slide, picture, beside) {
  slide.classList.toggle("beside", beside);
  picture.parentNode.style.flex = "";
  const room = picture.getBoundingClientRect();
  return Math.min(room.width / picture.dataset.width, room.height / picture.dataset.height);
}
// Lay a slide out; the text takes what the picture leaves.
function lay(slide, picture) {
  const beside = scale(slide, picture, true) > scale(slide, picture, false);
  const { width, height } = picture.dataset, times = scale(slide, picture, beside);
  picture.parentNode.style.flex = "0 0 " + times * (beside ? width : height) + "px";
}
// Text that is too long for a slide is set smaller until it ends above the footer.
function fit(slide) {
  const picture = slide.querySelector("img"), parts = slide.querySelectorAll(".text > *");
  const end = () => Math.max(0, ...[...parts].map((part) => part.getBoundingClientRect().bottom));
  slide.style.fontSize = "";
  if (innerWidth < 800) return;
  const size = parseFloat(getComputedStyle(slide).fontSize);
  for (let part = 1; part > 0.5; part -= 0.05) {
    slide.style.fontSize = part * size + "px";
    if (picture) lay(slide, picture);
    if (end() <= footer.getBoundingClientRect().top) return;
  }
}
addEventListener("resize", () => fit(slides[at]));
addEventListener("keydown", (event) => {
  if (["ArrowRight", "PageDown", " "].includes(event.key)) { turn(at + 1); event.preventDefault(); }
  if (["ArrowLeft", "PageUp"].includes(event.key)) { turn(at - 1); event.preventDefault(); }
  if (event.key === "Home") turn(0);
  if (event.key === "End") turn(slides.length - 1);
});
addEventListener("click", (event) => {
  if (!event.target.closest("a, pre")) turn(at + (event.clientX > innerWidth / 2 ? 1 : -1));
});
addEventListener("hashchange", () => turn((parseInt(location.hash.slice(1)) || 1) - 1, true));
turn((parseInt(location.hash.slice(1)) || 1) - 1, true);
"""


def deck(title: str, pages: tuple[str, ...]) -> str:
    """One lecture's deck as HTML."""
    texts = [(HERE / f"{page}.md").read_text(encoding="utf-8") for page in pages]
    heads = [text.partition("\n")[0][2:] for text in texts]
    named = [f"**{h}**: {'; '.join(_sections(t))}" for h, t in zip(heads, texts, strict=True)]
    slides = [_slide(f"<h1>{title}</h1>", _listed(named), "title")]
    for text in texts:
        slides += page_slides(text)
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title}</title><style>{STYLE}</style></head><body>\n"
        + "\n".join(slides)
        + f"\n<footer>{title}<span></span></footer><script>{SCRIPT}</script></body></html>\n"
    )


def page_slides(text: str) -> list[str]:
    """A title slide of a page, with what stands before its first section and its sections' names,
    and a slide a section.
    """
    head, *sections = re.split(r"^## ", text, flags=re.M)
    title, _, lead = head.strip().partition("\n")
    named = [section.partition("\n")[::2] for section in sections]
    listed = _listed(_sections(text))
    slides = [_slide(f"<h1>{_inline(title[2:])}</h1>", "".join(_blocks(lead)) + listed, "title")]
    for name, body in named:
        blocks = _blocks(body)
        pictures = "".join(block for block in blocks if block.startswith("<figure"))
        rest = "".join(block for block in blocks if not block.startswith("<figure"))
        slides.append(_slide(f"<h2>{_inline(name)}</h2>", rest, "", pictures))
    return slides


def _sections(text: str) -> list[str]:
    return re.findall(r"^## (.+)$", text, flags=re.M)


def _slide(head: str, text: str, kind: str = "", pictures: str = "") -> str:
    kind = kind or ("" if pictures else "words")
    body = f'{pictures}<div class="text">{text}</div>'
    return f'<section class="{kind}">{head}<div class="body">{body}</div></section>'


def _listed(names: list[str]) -> str:
    return "<ol>" + "".join(f"<li>{_inline(name)}</li>" for name in names) + "</ol>"


def _blocks(text: str) -> list[str]:
    """What the pages use of Markdown: paragraphs, pictures, lists, tables and code.  Raises
    ValueError for a block of a kind that is not known here.
    """
    made = []
    for block in re.findall(r"```\w*\n.*?```|(?:(?!```).+\n?)+", text, re.S | re.M) or []:
        for part in [block] if block.startswith("```") else re.split(r"\n\s*\n", block):
            if part.strip():
                made.append(_block(part.strip("\n")))
    return made


def _block(part: str) -> str:
    if part.startswith("```"):
        return f"<pre>{html.escape(part.split(chr(10), 1)[1].removesuffix('```').strip())}</pre>"
    if part.startswith("    "):
        lines = (line[4:] for line in part.splitlines())
        return f"<pre>{html.escape(chr(10).join(lines))}</pre>"
    if picture := re.fullmatch(r"!\[([^\]]*)\]\(([^)]+)\)", part.strip()):
        return _picture(picture[1], png(Path(picture[2]).stem, FINE))
    if part.startswith("- "):
        items = re.split(r"^- ", part, flags=re.M)[1:]
        return "<ul>" + "".join(f"<li>{_inline(item)}</li>" for item in items) + "</ul>"
    if part.startswith("|"):
        return _table(part)
    if re.match(r"[#>+<]|\* ", part):
        raise ValueError(f"a slide cannot show: {part[:60]}")
    return f"<p>{_inline(part)}</p>"


def _picture(alt: str, data: bytes) -> str:
    """A picture with its size in dots, which a PNG's first chunk begins with."""
    width, height = struct.unpack(">II", data[16:24])
    size = f'data-width="{width}" data-height="{height}"'
    source = f"data:image/png;base64,{base64.b64encode(data).decode()}"
    return f'<figure><img alt="{html.escape(alt)}" {size} src="{source}"></figure>'


def _table(part: str) -> str:
    head, _, *rows = (
        [cell.strip() for cell in line.strip().strip("|").split("|")] for line in part.splitlines()
    )
    lines = ["".join(f"<th>{_inline(cell)}</th>" for cell in head)]
    lines += ["".join(f"<td>{_inline(cell)}</td>" for cell in row) for row in rows]
    return "<table>" + "".join(f"<tr>{line}</tr>" for line in lines) + "</table>"


def _inline(text: str) -> str:
    """Code, bold and italic; a link to another page is its words."""
    text = html.escape(" ".join(text.split()), quote=False)
    text = re.sub(r"`([^`]+)`", r"<code>\1</code>", text)
    text = re.sub(r"\*\*([^*]+)\*\*", r"<b>\1</b>", text)
    text = re.sub(r"\[([^\]]+)\]\([^)]+\)", r"\1", text)
    return text


def main(folder: Path) -> None:
    """Write every deck."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, (title, pages) in LECTURES.items():
        path = folder / f"{name}.html"
        path.write_text(deck(title, pages), encoding="utf-8")
        print(f"wrote {path}", file=sys.stderr)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if sys.argv[1:] else HERE.parents[1] / "dist" / "decks")
