"""From a click in the browser to the mask in the picture, on the page of `sammed2d demo`, with the built-in model.

Slices of the chest CT in Chromium without a screen. The time is measured in the page, from pressing the mouse button to
the decoded picture with the mask, so that queue, model, drawing, transfer and decoding all count: with the first one,
which for a first click may be coarse, and with the last one. "rested" is the first click on a slice where the mouse had
been for a second, "moved" one right after the mouse came there, "at once" one on a slice that just came as well;
"further" a correcting click; "undo" takes it back; "box" one that is drawn on a slice without prompts, from the moment
in which the button is let go.

    python Testing/benchmarks/bench_demo_page.py [--slices 10]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "Testing" / "lib")]
from demo_browser import OPTIONS, DemoPageDriver, chromium, serving  # noqa: E402

HELD_MS = 80  # how long a person holds the button
PLACES = ((0.32, 0.45), (0.5, 0.42), (0.68, 0.5))
WATCH = """
window.began = 0; window.took = [];
for (const kind of ["pointerdown", "keydown"])
  document.addEventListener(kind, () => { window.began = performance.now(); }, true);
const picture = document.querySelector("#slice-view img");
new MutationObserver(async () => { await picture.decode(); window.took.push(performance.now() - window.began); })
  .observe(picture, { attributes: true, attributeFilter: ["src"] });
"""


def took(driver: DemoPageDriver, act) -> tuple[float, float]:
    """Seconds from the event to the first new picture, and to the last one."""
    before = driver.page.evaluate("window.took.length")
    driver.after(act)
    driver.page.wait_for_function("n => window.took.length > n", arg=before, polling=10)
    time.sleep(0.05)  # until the last one is decoded
    first, *_, last = driver.page.evaluate("n => [window.took[n], ...window.took.slice(n)]", before)
    return first / 1000, last / 1000


def measured(driver: DemoPageDriver, slices: int) -> dict[str, list[tuple[float, float]]]:
    """The seconds of each kind of click."""
    page = driver.page
    page.evaluate(WATCH)
    kinds = ("rested", "moved", "at once", "further", "undo", "box")
    seconds: dict[str, list[tuple[float, float]]] = {kind: [] for kind in kinds}
    for number in range(slices):
        kind = kinds[number % 3]
        x, y = PLACES[number // 3 % len(PLACES)]
        page.mouse.move(*driver.place(0.5, 0.9))
        driver.after(lambda number=number: page.mouse.wheel(0, -100 if number < slices // 2 else 100))
        time.sleep(0 if kind == "at once" else 2)
        page.mouse.move(*driver.place(x, y))
        time.sleep(1 if kind == "rested" else 0)
        seconds[kind].append(took(driver, lambda x=x, y=y: page.mouse.click(*driver.place(x, y), delay=HELD_MS)))
        seconds["further"].append(
            took(driver, lambda x=x, y=y: page.mouse.click(*driver.place(x, y + 0.12), button="right"))
        )
        seconds["undo"].append(took(driver, lambda: driver.press("z")))
        driver.press("x")
        page.mouse.move(*driver.place(x - 0.08, y - 0.1))
        page.mouse.down()
        page.mouse.move(*driver.place(x + 0.08, y + 0.1), steps=5)
        time.sleep(0.2)
        page.evaluate("window.began = performance.now()")
        seconds["box"].append(took(driver, page.mouse.up))
        driver.press("x")
    return seconds


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slices", type=int, default=10)
    slices = parser.parse_args().slices
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as folder, serving(Path(folder)) as server, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=list(OPTIONS))
        seconds = measured(DemoPageDriver.at(browser, server.address), slices)
        browser.close()
    print("| click | first picture, p50 s | p90 s | last picture, p50 s | p90 s | n |\n|---|---|---|---|---|---|")
    for kind, values in seconds.items():
        cells = [f"{of(values):.2f}" for values in zip(*values, strict=True) for of in (np.median, _p90)]
        print(f"| {kind} | {' | '.join(cells)} | {len(values)} |")


def _p90(values: tuple[float, ...]) -> float:
    return float(np.quantile(values, 0.9))


if __name__ == "__main__":
    main()
