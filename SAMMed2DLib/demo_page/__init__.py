"""The demo page: a slice in the browser, prompts by clicks, masks at once. `page` and `handlers` import Gradio."""
