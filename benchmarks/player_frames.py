"""How large the player's page is and how fast it draws: a 16 x 16 array over 2 000 cycles.

    python benchmarks/player_frames.py           needs Playwright and a Chromium

The page draws in software and measures itself: the time that drawing a frame takes on its own
thread (``performance.now`` around it), array, maps and panels together, and the time from one
animation frame to the next while it plays at 60 cycles a second.  Prints CSV: what, bytes, frames,
the median and the 95th percentile of drawing in ms, frames a second that drawing alone allows, and
frames a second that came, which other work on the machine lowers.
"""

from __future__ import annotations

import csv
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import accelsim as acc

BUSY = acc.Conv2d(M=32, C=32, H=24, W=24, R=3, S=3, padding=1, name="busy")
MEASURED = """async () => {
  const drawn = [], came = [], draw = accelsim.draw.bind(accelsim);
  accelsim.draw = () => {
    const at = performance.now();
    draw();
    drawn.push(performance.now() - at);
  };
  document.getElementById("speed").value = "60";
  accelsim.show(100);
  accelsim.play(true);
  await new Promise((done) => {
    let before = 0;
    const tick = (now) => {
      if (before) came.push(now - before);
      before = now;
      if (came.length < 150) requestAnimationFrame(tick);
      else done();
    };
    requestAnimationFrame(tick);
  });
  accelsim.play(false);
  return [drawn, came];
}"""


def main() -> None:
    """Measure weight- and output-stationary films."""
    from playwright.sync_api import sync_playwright

    where = shutil.which("chromium") or shutil.which("google-chrome")
    out = csv.writer(sys.stdout)
    out.writerow(["film", "bytes", "frames", "draw_ms_median", "draw_ms_p95", "draw_fps", "fps"])
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=where, args=["--no-sandbox", "--disable-gpu"]
        )
        for flow in ("ws", "os"):
            path = acc.animate(BUSY, "systolic", flow, cycles=2000).save(
                Path(folder) / f"{flow}.html"
            )
            page = browser.new_page(viewport={"width": 1440, "height": 900})
            page.goto(path.as_uri())
            page.wait_for_selector("body[data-ready]")
            out.writerow([flow, path.stat().st_size, *_summed(*page.evaluate(MEASURED))])
            page.close()
        browser.close()


def _summed(drawn: list[float], came: list[float]) -> list[Any]:
    drawn = sorted(drawn)
    middle, late = drawn[len(drawn) // 2], drawn[int(0.95 * len(drawn))]
    mean = sum(drawn) / len(drawn)
    return [
        len(drawn), round(middle, 2), round(late, 2), round(1000 / mean, 1),
        round(1000 * len(came) / sum(came), 1),
    ]  # fmt: skip


if __name__ == "__main__":
    main()
