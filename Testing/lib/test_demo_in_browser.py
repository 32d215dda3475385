"""The page of `sammed2d demo` in Chromium: all that a visitor does, and that nothing comes from or goes elsewhere.

It is skipped only where there is no Chromium, and never in CI.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import SimpleITK
from demo_browser import OPTIONS, ROOT, DemoPageDriver, DemoServer, chromium, serving

from SAMMed2DLib.__main__ import OK, main
from SAMMed2DLib.io.segmentation_io import read_segmentation

SHAPE = (20, 128, 160)


@pytest.fixture(scope="module")
def browser():
    program = chromium()
    if program is None and not os.environ.get("CI"):
        pytest.skip("there is no Chromium to try the page in: apt-get install chromium")
    assert program is not None, "CI needs Chromium"
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=list(OPTIONS))
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def server(browser, tmp_path_factory: pytest.TempPathFactory):
    with serving(tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.fixture
def visitor(browser, server: DemoServer):
    driver = DemoPageDriver.at(browser, server.address)
    yield driver
    driver.page.context.close()
    assert driver.elsewhere == [] and driver.complaints == []


def write_image(path: Path, shape: tuple[int, int, int] = SHAPE, noise: int = 60) -> Path:
    """A ball at a quarter and a rod at three quarters of the width, in noise."""
    k, y, x = np.ogrid[: shape[0], : shape[1], : shape[2]]
    ball = (3 * (k - shape[0] // 2)) ** 2 + (y - shape[1] / 2) ** 2 + (x - shape[2] / 4) ** 2 < (shape[1] / 5) ** 2
    rod = (abs(x - 0.75 * shape[2]) < shape[2] / 12) & (abs(y - shape[1] / 2) < shape[1] / 4) & (k > 2)
    values = (300 * ball + 200 * rod).astype(np.int16)
    values += np.random.default_rng(0).integers(0, noise, shape, np.int16) if noise else 0
    picture = SimpleITK.GetImageFromArray(values)
    picture.SetSpacing((1.0, 1.0, 3.0))
    SimpleITK.WriteImage(picture, str(path), useCompression=True)
    return path


def test_what_is_downloaded_is_what_the_command_line_gives_for_the_same_prompts(visitor, server, tmp_path):
    image = write_image(tmp_path / "my image.nrrd")
    visitor.upload(image)
    assert visitor.legend == f"axial slice 10 of 0 to {SHAPE[0] - 1}"
    assert "my image.nrrd is open" in visitor.page.inner_text("#upload")
    assert visitor.page.input_value("#example input") == ""
    assert not [path for path in server.files if "my image" in path.name]  # it is read, and gone

    visitor.click(0.25, 0.5)
    assert "expected overlap" in visitor.message
    visitor.press("l")
    visitor.click(0.5, 0.15, button="right")
    visitor.page.click("[data-tool=outside]")
    visitor.click(0.1, 0.9)
    visitor.press_button("[data-do=undo]")
    visitor.press("Enter")
    assert "accepted on this slice" in visitor.message

    visitor.rename_segment("ball")
    visitor.add_segment("rod")
    visitor.drag((0.64, 0.22), (0.86, 0.78))  # a box, whatever the tool
    visitor.click(0.76, 0.3)  # after a box, clicks are inside again
    visitor.press_button("[data-do=accept]")
    visitor.propagate()
    assert "2 accepted" not in visitor.page.inner_text("#segments")

    visitor.press_button("#least-sure")
    assert "confidence" in visitor.message and "slice 10 of" not in visitor.legend
    visitor.press("z")
    assert "carried" not in visitor.page.inner_text("#segments")  # the propagation is taken back
    visitor.propagate()
    files = visitor.download(tmp_path)
    rod = json.loads(files["my image-prompts.json"].read_text(encoding="utf-8"))["segments"][1]
    assert rod["prompts"][0]["box"] and len(rod["prompts"][0]["points"]) == 1
    assert set(files) == {"my image.seg.nrrd", "my image-labels.nii.gz", "my image-prompts.json"}
    again = tmp_path / "again.seg.nrrd"
    prompts = files["my image-prompts.json"]
    assert main(["segment", str(image), "--prompts", str(prompts), "-o", str(again), "--device", "cpu"]) == OK
    found, expected = read_segmentation(files["my image.seg.nrrd"]), read_segmentation(again)
    assert [s.name for s in found.segments] == [s.name for s in expected.segments] == ["ball", "rod"]
    for segment in found.segments:
        mask = found.mask(segment.name)
        np.testing.assert_array_equal(mask, expected.mask(segment.name))
        assert mask.any(axis=(1, 2)).sum() > 3 and segment.color is not None


def test_a_click_shows_a_coarse_mask_until_its_answer_is_there(visitor, tmp_path):
    visitor.upload(write_image(tmp_path / "fresh.nrrd"))
    visitor.page.evaluate(
        """() => {
            const [picture, message] = document.querySelectorAll("#slice-view img, #slice-view .message");
            window.told = [];
            new MutationObserver(() => window.told.push([picture.src, message.innerText]))
                .observe(picture, { attributes: true, attributeFilter: ["src"] });
        }"""
    )
    place = visitor.place(0.25, 0.5)
    visitor.after(lambda: visitor.page.mouse.click(*place, delay=300))
    (coarse, first), (final, last) = visitor.page.evaluate("window.told")
    assert first == "A first look: the outline follows." and "expected overlap" in last and "overlap" in visitor.message
    assert coarse != final == visitor.page.get_attribute("#slice-view img", "src")
    visitor.press("z")
    sent: list[str] = []
    visitor.page.on("request", lambda request: sent.append(request.post_data or ""))
    visitor.page.mouse.move(*visitor.place(0.6, 0.2))
    visitor.page.mouse.down()
    visitor.page.mouse.move(*visitor.place(0.9, 0.8), steps=3)
    visitor.page.wait_for_timeout(500)  # the hand rests before it lets go, and the answer is prepared
    visitor.after(visitor.page.mouse.up)
    corners = r'"at":(\[\[[^]]+\],\[[^]]+\]\])'
    (asked,) = re.findall(f'"do":"box",{corners}', "".join(sent))
    assert re.findall(f"{{{corners}", "".join(sent))[-1] == asked
    # A press that became a box shows the mask of the box alone.
    assert "A first look" not in [words for _, words in visitor.page.evaluate("window.told.slice(2)")]


def test_examples_slices_and_axes_are_shown_and_a_result_in_3d(visitor, tmp_path):
    seen = [visitor.page.get_attribute("#slice-view img", "src")]

    def see_another() -> None:
        """Wait for a picture that was not shown yet: the page may show the one before once more in between."""
        unseen = "seen => !seen.includes(document.querySelector('#slice-view img').src)"
        visitor.page.wait_for_function(unseen, arg=seen)
        seen.append(visitor.page.get_attribute("#slice-view img", "src"))

    def scroll() -> None:
        visitor.page.mouse.move(*visitor.place(0.5, 0.5))
        visitor.page.mouse.wheel(0, -100)

    visitor.after(scroll)
    assert visitor.legend == "axial slice 18 of 0 to 33"
    see_another()
    visitor.press_button("#axis label:has-text('Coronal')")
    assert visitor.legend.startswith("coronal slice")
    see_another()
    for title in ("MR: brain", "Ultrasound", "Fundus"):
        visitor.page.click("#example input")
        visitor.press_button(f"[role=option]:has-text('{title}')")
        see_another()
    visitor.click(0.69, 0.49)
    visitor.press("Enter")
    visitor.page.click("#show-3d")
    visitor.page.wait_for_selector("#model-3d canvas")
    assert "fundus.png" in visitor.download(tmp_path)


def test_a_wheel_that_turns_fast_ends_where_it_was_turned_to_and_a_click_is_on_that_slice(visitor, tmp_path):
    visitor.upload(write_image(tmp_path / "scrolled.nrrd"))
    visitor.page.evaluate(
        """() => {
            const frame = document.querySelector("#slice-view .frame");
            for (let n = 0; n < 6; n++)
                frame.dispatchEvent(new WheelEvent("wheel", { deltaY: -100, bubbles: true, cancelable: true }));
        }"""
    )
    visitor.page.mouse.click(*visitor.place(0.75, 0.5))  # before that slice is shown
    visitor.page.wait_for_function("document.querySelector('#slice-view .message').innerText.includes('overlap')")
    visitor.page.wait_for_timeout(500)
    assert visitor.legend == f"axial slice 16 of 0 to {SHAPE[0] - 1}"
    assert visitor.page.input_value("#slice-view .slice") == "16"
    assert "expected overlap" in visitor.message


def test_the_box_tool_takes_two_clicks_and_what_is_no_image_is_refused_in_words_of_the_page(visitor, tmp_path):
    visitor.page.click("[data-tool=box]")
    visitor.page.mouse.click(*visitor.place(0.45, 0.35))
    visitor.click(0.6, 0.6)
    assert "expected overlap" in visitor.message
    masks = tmp_path / "masks.seg.nrrd"
    masks.write_text("NRRD0004\ntype: uchar\ndimension: 3\nsizes: 2 2 2\nencoding: raw\nSegment0_ID:=a\n\n........")
    visitor.upload(masks)
    assert visitor.message.endswith("is a segmentation of 3D Slicer, no image; open the image that it was drawn on")
    assert visitor.page.input_value("#example input") == "CT: chest"
    scanned = tmp_path / "IM00001"  # DICOM files of scanners have no suffix, and files of other kinds may come as well
    scanned.write_bytes(b"hello")
    visitor.upload(scanned)
    assert visitor.message.startswith("IM00001: cannot be read as an image (NIfTI, NRRD, MHA, DICOM")


def test_a_propagation_is_cancelled(visitor, tmp_path):
    slices = 2500  # between two keyframes, so that there is work until somebody cancels
    visitor.upload(write_image(tmp_path / "long.nrrd", (slices, 160, 160), noise=0))
    for index in (5, slices - 5):
        visitor.after(lambda index=index: visitor.page.fill("#slice-view .slice", str(index)))
        visitor.click(0.75, 0.5)
        visitor.press("Enter")
    assert "2 accepted" in visitor.page.inner_text("#segments")
    visitor.page.evaluate(
        """() => new MutationObserver((_, observer) => {
            if (!document.querySelector("#progress .bar")) return;
            observer.disconnect();
            document.querySelector("#cancel").click();
        }).observe(document.body, { childList: true, subtree: true })"""
    )
    visitor.page.click("#propagate")
    visitor.page.wait_for_function("/Cancelled|Done/.test(document.querySelector('#progress').innerText)")
    assert "Cancelled" in visitor.page.inner_text("#progress")
    assert "carried" not in visitor.page.inner_text("#segments")


def test_two_visitors_have_nothing_in_common_and_nothing_is_left_of_them(browser, server, tmp_path):
    one, other = (DemoPageDriver.at(browser, server.address) for _ in range(2))
    one.upload(write_image(tmp_path / "secret.nrrd"))
    one.click(0.25, 0.5)
    one.press("Enter")
    one.download(tmp_path)
    other.press_button("#axis label:has-text('Sagittal')")
    assert "accepted" in one.page.inner_text("#segments") and "accepted" not in other.page.inner_text("#segments")
    assert one.legend.startswith("axial") and other.legend.startswith("sagittal")
    assert [path for path in server.files if path.name == "secret.seg.nrrd"]
    for driver in (one, other):
        driver.page.context.close()
        assert driver.elsewhere == []
    until = time.monotonic() + 30
    while server.files and time.monotonic() < until:
        time.sleep(0.2)
    assert [path for path in server.files if path.is_file()] == []


def test_only_this_computer_and_so_many_visitors_can_open_it_and_its_folder_goes_with_it(browser, tmp_path):
    with serving(tmp_path, "--visitors", "1") as server:
        one, other = (DemoPageDriver.at(browser, server.address, waits=waits) for waits in (True, False))
        other.page.wait_for_function(
            "document.querySelector('#slice-view .message')?.innerText.includes('Too many people')"
        )
        for driver in (one, other):
            driver.page.context.close()
        port = int(server.address.rstrip("/").rpartition(":")[2])
        listening = [
            line.split()[1].split(":")[0]
            for table in ("/proc/net/tcp", "/proc/net/tcp6")
            for line in Path(table).read_text().splitlines()[1:]
            if line.split()[3] == "0A" and int(line.split()[1].split(":")[1], 16) == port
        ]
        assert listening == ["0100007F"]  # 127.0.0.1
        with pytest.raises(urllib.error.HTTPError, match="403"):
            urllib.request.urlopen(f"{server.address}gradio_api/file=/etc/hostname", timeout=30)
        with urllib.request.urlopen(f"{server.address}gradio_api/info", timeout=30) as answer:
            assert json.load(answer)["named_endpoints"] == {}
        assert list(tmp_path.glob("sammed2d-demo-*"))
    assert not list(tmp_path.glob("sammed2d-demo-*"))


def test_the_file_of_a_space_is_the_page_where_the_space_wants_it(browser, tmp_path):
    shutil.copy(ROOT / "SAMMed2DLib" / "demo_page" / "app.py", tmp_path / "app.py")
    with socket.socket() as free:
        free.bind(("127.0.0.2", 0))
        port = free.getsockname()[1]
    place = {"GRADIO_SERVER_NAME": "127.0.0.2", "GRADIO_SERVER_PORT": str(port), "SPACE_ID": "somebody/sam-med2d"}
    paths = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, **place, "TMPDIR": str(tmp_path), "PYTHONPATH": paths}
    process = subprocess.Popen([sys.executable, "app.py"], cwd=tmp_path, env=environment)
    try:
        until = time.monotonic() + 60
        while time.monotonic() < until and process.poll() is None:
            with suppress(OSError), urllib.request.urlopen(f"http://127.0.0.2:{port}/config", timeout=30) as answer:
                config = json.load(answer)
                # Where Gradio sees a Space, the page loads fonts from Google and asks huggingface.co about the Space.
                assert config["title"] == "SAM-Med2D demo" and not config["space_id"] and not config.get("is_space")
                break
            time.sleep(0.2)
        else:
            pytest.fail("the page did not come up")
        assert list(tmp_path.glob("sammed2d-demo-*"))
    finally:
        process.terminate()
        process.wait(30)
    assert not list(tmp_path.glob("sammed2d-demo-*"))
