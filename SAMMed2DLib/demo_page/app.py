"""The page as Gradio's own tools take it: `python app.py`, and the file of a Space, without a change."""

from SAMMed2DLib.demo_page.page import build, launch

demo = build()

if __name__ == "__main__":
    launch(demo)
    demo.block_thread()
