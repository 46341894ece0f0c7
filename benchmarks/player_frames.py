"""How large the player's page is and how fast it draws: a 16 x 16 array over 2 000 cycles.

    python benchmarks/player_frames.py           needs Playwright and a Chromium

The page draws in software and measures itself: the time that drawing a frame takes on its own
thread (``performance.now`` around it), array, maps and panels together, and the time from one
animation frame to the next while it plays at 60 cycles a second.  Beside it stands what other work
on the machine cannot lengthen: the CPU time that the browser takes a frame, painting and putting
together included, of its busiest thread and of all (Linux; elsewhere nothing).  Prints CSV: what,
bytes, frames, the median and the 95th percentile of drawing in ms, frames a second that drawing
alone allows and that came; CPU ms a frame of the busiest thread and of all, and the frames a second
that one core allows if it does everything.
"""

from __future__ import annotations

import contextlib
import csv
import os
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


FILMS = {
    "ws": ("systolic", BUSY),
    "os": ("systolic", BUSY),
    "rs": ("eyeriss", acc.Conv2d(M=64, C=32, H=26, W=26, R=3, S=3, padding=1, name="busy")),
}
SIZE = {"array.rows": 16, "array.cols": 16}
HEAD = "film bytes frames draw_ms_median draw_ms_p95 draw_fps fps cpu_ms_thread cpu_ms cpu_fps"


def main() -> None:
    """Measure weight- and output-stationary films of a systolic array, row-stationary of Eyeriss'
    PEs, whose words wait in scratchpads.
    """
    from playwright.sync_api import sync_playwright

    where = shutil.which("chromium") or shutil.which("google-chrome")
    out = csv.writer(sys.stdout)
    out.writerow(HEAD.split())
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=where, args=["--no-sandbox", "--disable-gpu"]
        )
        for flow, (arch, layer) in FILMS.items():
            film = acc.animate(layer, arch, flow, overrides=SIZE, cycles=2000)
            path = film.save(Path(folder) / f"{flow}.html")
            page = browser.new_page(viewport={"width": 1440, "height": 900})
            page.goto(path.as_uri())
            page.wait_for_selector("body[data-ready]")
            before = _cpu_ms()
            drawn, came = page.evaluate(MEASURED)
            spent = [(ms - before.get(thread, 0)) / len(came) for thread, ms in _cpu_ms().items()]
            total = sum(spent)
            cpu = [round(v, 1) for v in (max(spent), total, 1000 / total)] if total else []
            out.writerow([flow, path.stat().st_size, *_summed(drawn, came), *cpu])
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


def _cpu_ms() -> dict[tuple[int, int], float]:
    """CPU time of each thread of the processes that this one started, in ms, by process and
    thread; of processes that ended none.
    """
    if not Path("/proc/self/task").is_dir():
        return {}
    tick, stats = 1000 / os.sysconf("SC_CLK_TCK"), {}
    for path in Path("/proc").glob("[0-9]*/task/[0-9]*/stat"):
        with contextlib.suppress(OSError, ValueError):
            parts = path.read_text().rpartition(")")[2].split()
            at = int(path.parts[2]), int(path.parts[4])
            stats[at] = int(parts[1]), tick * (int(parts[11]) + int(parts[12]))
    ours, grown = {os.getpid()}, True
    while grown:
        more = {process for (process, _), (parent, _) in stats.items() if parent in ours} - ours
        ours, grown = ours | more, bool(more)
    ours.discard(os.getpid())
    return {at: ms for at, (_, ms) in stats.items() if at[0] in ours}


if __name__ == "__main__":
    main()
