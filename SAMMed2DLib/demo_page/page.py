"""The page itself: which controls there are, and how it is opened."""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

import gradio as gr

from SAMMed2DLib.demo_page.handlers import CUSTOM, NOTHING, OPEN, WINDOWS, DemoPage
from SAMMed2DLib.demo_page.opening import Limits
from SAMMed2DLib.registry.built_in import BUILT_IN

NOT_A_DIAGNOSIS = "For research and teaching only: not a medical device, not for diagnosis or treatment."
_OWN = Path(__file__).parent
# Fonts of the computer itself: nothing is loaded from elsewhere.
_FONTS = {"font": ["system-ui", "sans-serif"], "font_mono": ["ui-monospace", "monospace"]}
_QUIET: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
# Prompts of all visitors in their order; the model answers one at a time anyway.
_IN_ORDER: dict[str, Any] = {**_QUIET, "concurrency_limit": 1, "concurrency_id": "prompts"}


_SEGMENTS_JS = """
element.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (button) trigger("select", { number: Number(button.dataset.number), do: button.dataset.do ?? "select" });
});
"""


def build(*, model: str = BUILT_IN, device: str = "auto", limits: Limits | None = None) -> gr.Blocks:
    """Build the page; `launch` opens it.

    Args:
        model: that is asked at first.
        device: of the models.
        limits: on visitors and files.
    """
    folder = Path(tempfile.mkdtemp(prefix="sammed2d-demo-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # so that the folder goes then, too
    os.environ["GRADIO_TEMP_DIR"] = str(folder)  # uploads too are in this folder, which nobody else can read
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    page = DemoPage(folder, model=model, device=device, limits=limits or Limits())
    with gr.Blocks(title="SAM-Med2D demo", analytics_enabled=False, delete_cache=(600, 3600), fill_width=True) as demo:
        _lay_out(page, model)
        demo.unload(page.leave)
    demo.page = page
    demo.space_id = None  # as a Space too, the page asks nobody else for fonts or about itself
    demo.queue(api_open=False, default_concurrency_limit=4)
    return demo


def launch(demo: gr.Blocks, *, host: str | None = None, port: int | None = None, **options: Any) -> tuple[Any, str]:
    """Open a page that `build` made: without analytics, fonts or scripts from elsewhere.

    Args:
        demo: the page.
        host: address to listen on; None takes GRADIO_SERVER_NAME, or this computer alone.
        port: None takes the first free one from 7860 on.
        options: of Gradio's `launch`.

    Returns:
        Gradio's application, and the page's address on this computer.
    """
    app, address, _ = demo.launch(
        server_name=host or os.environ.get("GRADIO_SERVER_NAME", "127.0.0.1"),
        server_port=port,
        theme=gr.themes.Base(**_FONTS),
        css=(_OWN / "page.css").read_text(encoding="utf-8"),
        max_file_size=f"{demo.page.limits.upload_mb}mb",
        footer_links=[],
        run_history=False,
        ssr_mode=False,
        share=False,
        mcp_server=False,
        enable_monitoring=False,
        quiet=True,
        prevent_thread_lock=True,
        **options,
    )
    return app, address


def _lay_out(page: DemoPage, model: str) -> None:
    """All controls, and what they call."""
    gr.HTML(f"<h1>SAM-Med2D</h1><p>{NOT_A_DIAGNOSIS}</p>", elem_id="head")
    with gr.Row():
        with gr.Column(scale=2, min_width=255):
            titles = list(page.examples)
            example = gr.Dropdown(titles, value=titles[0], label="Example", elem_id="example")
            upload = gr.UploadButton(OPEN, elem_id="upload", size="sm")
            with gr.Accordion("More", open=False):
                frame = gr.Number(None, label="Frame", info="of a 4D image, from 0", precision=0, minimum=0)
                series = gr.Textbox("", label="Series", info="of a DICOM archive: its number or UID")
                gr.Markdown("NIfTI, NRRD, MHA, PNG, JPEG, DICOM, or a ZIP archive of a DICOM series.")
            axis = gr.Radio([], label="Slices", visible=False, elem_id="axis")
            window = gr.Dropdown([*WINDOWS, CUSTOM], label="Window", elem_id="window")
            with gr.Row():
                level = gr.Number(label="Level", elem_id="level", min_width=90)
                width = gr.Number(label="Width", elem_id="width", min_width=90)
            names = page.shelf.names()
            names += [] if model in names else [model]
            chosen = gr.Dropdown(names, value=model, label="Model", elem_id="model")
        with gr.Column(scale=6, min_width=420):
            read = (_OWN / "slice_view.html").read_text(encoding="utf-8")
            view = gr.HTML(
                dict(NOTHING, trouble=False),
                html_template=read,
                css_template=(_OWN / "slice_view.css").read_text(encoding="utf-8"),
                js_on_load=(_OWN / "slice_view.js").read_text(encoding="utf-8"),
                elem_id="slice-view",
            )
        with gr.Column(scale=3, min_width=330):
            segments = gr.HTML("", js_on_load=_SEGMENTS_JS, elem_id="segments")
            with gr.Row():
                name = gr.Textbox(placeholder="Name", container=False, elem_id="new-name", min_width=90)
                add = gr.Button("Add", elem_id="add-segment", size="sm", min_width=50, scale=0)
                rename = gr.Button("Rename", elem_id="rename-segment", size="sm", min_width=70, scale=0)
            with gr.Row():
                propagate = gr.Button("Propagate", variant="primary", elem_id="propagate", size="sm", min_width=90)
                cancel = gr.Button("Cancel", elem_id="cancel", size="sm", min_width=60)
                least_sure = gr.Button("Least sure slice", elem_id="least-sure", size="sm", min_width=120)
            progress = gr.HTML("", elem_id="progress")
            with gr.Row():
                show_3d = gr.Button("3D view", elem_id="show-3d", size="sm", min_width=80)
                make = gr.Button("Files", elem_id="make-files", size="sm", min_width=80)
            model_3d = gr.Model3D(label="3D view", elem_id="model-3d", height=260, interactive=False)
            files = gr.Files(label="Download", elem_id="files", interactive=False, height=190)
    both = [view, segments]
    opened = [view, segments, axis, window, level, width, files, example, upload]
    done = view.select(page.prompt, None, both, trigger_mode="multiple", **_IN_ORDER)
    done.then(page.candidates, None, view, trigger_mode="multiple", concurrency_limit=4, **_QUIET)
    view.focus(page.rest, None, view, trigger_mode="multiple", concurrency_limit=4, **_QUIET)
    # Not "always_last": Gradio repeats the first event then, not the last one. The page itself waits between slices.
    view.input(page.scroll, None, view, trigger_mode="multiple", **_IN_ORDER)
    example.input(page.open_example, example, opened, concurrency_limit=2, **_QUIET)
    upload.upload(page.open_file, [upload, frame, series], opened, concurrency_limit=2, api_visibility="private")
    axis.input(page.choose_axis, axis, view, **_IN_ORDER)
    window.input(page.choose_window, window, [view, level, width], **_IN_ORDER)
    for number in (level, width):
        number.submit(page.set_window, [level, width], [view, window], **_IN_ORDER)
        number.blur(page.set_window, [level, width], [view, window], **_IN_ORDER)
    chosen.input(page.choose_model, chosen, [view, chosen], **_IN_ORDER)
    segments.select(page.segment, None, both, trigger_mode="multiple", **_IN_ORDER)
    gr.on([add.click, name.submit], page.add_segment, name, [*both, name], **_IN_ORDER)
    rename.click(page.rename_segment, name, [*both, name], **_IN_ORDER)
    propagate.click(page.propagate, None, [*both, progress], concurrency_limit=4, **_QUIET)
    cancel.click(page.cancel, None, None, queue=False, **_QUIET)
    least_sure.click(page.least_sure, None, [*both, axis], **_IN_ORDER)
    show_3d.click(page.surfaces, None, [model_3d, view], concurrency_limit=2, api_visibility="private")
    make.click(page.files, None, [files, view], concurrency_limit=2, api_visibility="private")
    gr.on(None, page.begin, None, opened, **_QUIET)
