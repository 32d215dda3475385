"""The page of `sammed2d demo` in a process of its own, and Chromium to use it as a person does."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
# As root in a container, without a screen, with WebGL in software; every address but this computer's leads nowhere.
OPTIONS = (
    "--no-sandbox",
    "--use-gl=angle",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
)
WAIT_MS = 180_000


def chromium() -> str | None:
    """Where Chromium is; None for nowhere."""
    return next((found for name in PROGRAMS if (found := shutil.which(name))), None)


@dataclass(frozen=True)
class DemoServer:
    """A running page.

    Attributes:
        address: of the page.
        folder: that holds its temporary files.
        process: its own.
    """

    address: str
    folder: Path
    process: subprocess.Popen[str]

    @property
    def files(self) -> list[Path]:
        """All temporary files and folders that it has now, but for the examples."""
        return [path for path in self.folder.glob("sammed2d-demo-*/**/*") if "examples" not in path.parts]


@contextmanager
def serving(folder: Path, *words: str) -> Iterator[DemoServer]:
    """Run `sammed2d demo` until the end of the block.

    Args:
        folder: for its temporary files.
        words: more options.
    """
    command = [sys.executable, "-m", "SAMMed2DLib", "demo", "--no-browser", "--device", "cpu", *words]
    paths = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "TMPDIR": str(folder), "PYTHONPATH": paths}
    environment.pop("GRADIO_SERVER_NAME", None)
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        assert "http" in line, f"the page did not come up: {line!r}"
        yield DemoServer(line.split()[4], folder, process)
    finally:
        process.terminate()
        process.wait(30)


@dataclass
class DemoPageDriver:
    """A visitor with a browser.

    Attributes:
        page: Playwright's.
        elsewhere: addresses outside of this computer that the page asked for.
        complaints: errors in the page's scripts.
    """

    page: Any
    elsewhere: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    @classmethod
    def at(
        cls, browser: Any, address: str, size: tuple[int, int] = (1400, 950), *, waits: bool = True
    ) -> DemoPageDriver:
        """Come to the page.

        Args:
            browser: Playwright's.
            address: of the page.
            size: of the window, px.
            waits: until the first slice is shown.
        """
        context = browser.new_context(viewport={"width": size[0], "height": size[1]}, accept_downloads=True)
        context.set_default_timeout(WAIT_MS)
        driver = cls(context.new_page())
        driver.page.on("request", lambda request: driver._note(request.url))
        driver.page.on("pageerror", lambda error: driver.complaints.append(str(error)))
        driver.page.goto(address)
        if not waits:
            return driver
        driver.page.wait_for_selector("#slice-view img[src^=data]")
        driver.page.wait_for_function("!document.querySelector('#slice-view .frame').classList.contains('waiting')")
        return driver

    def _note(self, url: str) -> None:
        if not url.startswith(("http://127.0.0.1:", "data:", "blob:")):
            self.elsewhere.append(url)

    @property
    def serial(self) -> int:
        """The number of what the view shows; it grows with every answer."""
        return int(self.page.get_attribute("#slice-view [data-serial]", "data-serial"))

    @property
    def message(self) -> str:
        """What is told below the slice."""
        return self.page.inner_text("#slice-view .message")

    @property
    def legend(self) -> str:
        """Which slice is shown."""
        return self.page.inner_text("#slice-view .legend")

    def after(self, act: Callable[[], object]) -> float:
        """Do something, and wait until the view shows the answer; returns how long it took, s."""
        before, began = self.serial, time.perf_counter()
        act()
        self.page.wait_for_function(
            "n => Number(document.querySelector('#slice-view [data-serial]').dataset.serial) > n "
            "&& document.querySelector('#slice-view img').complete",
            arg=before,
            polling=10,
        )
        return time.perf_counter() - began

    def place(self, x: float, y: float) -> tuple[float, float]:
        """Where in the window a place of the picture is, given as shares of its width and height."""
        area = self.page.locator("#slice-view img").bounding_box()
        return area["x"] + x * area["width"], area["y"] + y * area["height"]

    def click(self, x: float, y: float, button: str = "left") -> float:
        """Click in the picture; returns the seconds until the mask is there.

        Args:
            x: share of the picture's width.
            y: share of its height.
            button: "left", or "right" for a point outside.
        """
        return self.after(lambda: self.page.mouse.click(*self.place(x, y), button=button))

    def drag(self, start: tuple[float, float], end: tuple[float, float]) -> float:
        """Draw a box with the mouse; returns the seconds until the mask is there."""

        def act() -> None:
            self.page.mouse.move(*self.place(*start))
            self.page.mouse.down()
            self.page.mouse.move(*self.place((start[0] + end[0]) / 2, end[1]))
            self.page.mouse.move(*self.place(*end))
            self.page.mouse.up()

        return self.after(act)

    def press(self, key: str) -> float:
        """Press a key over the slice; returns the seconds until the answer."""
        self.page.focus("#slice-view .frame")
        return self.after(lambda: self.page.keyboard.press(key))

    def press_button(self, selector: str) -> float:
        """Press a button that changes the view; returns the seconds until it did."""
        return self.after(lambda: self.page.click(selector))

    def upload(self, path: Path) -> float:
        """Open a file."""
        return self.after(lambda: self.page.set_input_files("input[type=file]", str(path)))

    def add_segment(self, name: str) -> None:
        """Add a segment."""
        self.page.fill("#new-name input, #new-name textarea", name)
        self.press_button("#add-segment")

    def rename_segment(self, name: str) -> None:
        """Rename the selected segment."""
        self.page.fill("#new-name input, #new-name textarea", name)
        self.press_button("#rename-segment")

    def propagate(self) -> None:
        """Press Propagate and wait for its end."""
        self.after(lambda: self.page.click("#propagate"))
        self.page.wait_for_function("document.querySelector('#progress').innerText.includes('Done')")

    def download(self, folder: Path) -> dict[str, Path]:
        """Make the files and download each; by their names."""
        self.page.click("#make-files")
        self.page.wait_for_selector("#files a[download]")
        links = self.page.locator("#files a[download]")
        found = {}
        for number in range(links.count()):
            with self.page.expect_download() as waiting:
                links.nth(number).click()
            target = folder / waiting.value.suggested_filename
            waiting.value.save_as(target)
            found[target.name] = target
        return found
