"""How fast the space-time diagram of a long run is in a browser: first paint, scrubbing, highlighting.

    python tests/browser/measure_spacetime.py [EVENTS]

First paint: from the moment at which the page gets the HTML, as a notebook does it, until the frame with the live
picture is shown. Scrubbing and highlighting: from the input until the next frame, so a sixtieth of a second is best.
"""

from __future__ import annotations

import importlib.util
import json
import pathlib
import shutil
import statistics
import sys
import time

from playwright.sync_api import sync_playwright

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from labsupport.trace import Trace  # noqa: E402
from labsupport.view.spacetime_picture import SpaceTime  # noqa: E402

ROUNDS = 5
FIRST_PAINT = """async html => {
    const frame = () => new Promise(done => requestAnimationFrame(done)), box = document.createElement("div");
    document.body.replaceChildren(box);
    const began = performance.now();
    box.innerHTML = html;
    for (const old of box.querySelectorAll("script")) {
        const made = document.createElement("script");
        for (const { name, value } of old.attributes) made.setAttribute(name, value);
        made.textContent = old.textContent;
        old.replaceWith(made);
    }
    await frame(); await frame();
    return performance.now() - began;
}"""
MOVES = """async ([moves, wide]) => {
    const frame = () => new Promise(done => requestAnimationFrame(done)), spent = [];
    const scrub = document.querySelector(".lab-st-scrub"), stage = document.querySelector(".lab-st-stage");
    const press = key => stage.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
    if (wide) for (let step = 0; step < 12; step++) press("-");
    await frame(); await frame();
    for (let step = 0; step < 60; step++) {
        const began = performance.now();
        if (moves === "scrub") { scrub.value = scrub.max * step / 60; scrub.dispatchEvent(new Event("input")); }
        else press("ArrowLeft");
        await frame(); await new Promise(done => setTimeout(done));
        spent.push(performance.now() - began);
    }
    return spent;
}"""


def run_of(events: int) -> Trace:
    place = importlib.util.spec_from_file_location("runs", ROOT / "tests" / "view" / "conftest.py")
    runs = importlib.util.module_from_spec(place)
    place.loader.exec_module(runs)
    trace = runs.eventful(until_s=events / 900)
    return Trace(trace.nodes, trace.records[:events], trace.seed)


def main() -> None:
    trace = run_of(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000)
    began = time.perf_counter()
    html = SpaceTime(trace).html()
    figures = {"events": len(trace), "html_kB": len(html) // 1000, "python_s": round(time.perf_counter() - began, 2)}
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": 1200, "height": 800})
        paints = [page.evaluate(FIRST_PAINT, html) for _ in range(ROUNDS)]
        figures["first_paint_ms"] = [round(ms) for ms in sorted(paints)]
        for name, moves, wide in (
            ("scrub", "scrub", False),
            ("step", "step", False),
            ("scrub_zoomed_out", "scrub", True),
        ):
            spent = page.evaluate(MOVES, [moves, wide])
            figures[f"{name}_ms"] = {
                "best": round(min(spent), 1),
                "median": round(statistics.median(spent), 1),
                "worst": round(max(spent), 1),
            }
        browser.close()
    print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
