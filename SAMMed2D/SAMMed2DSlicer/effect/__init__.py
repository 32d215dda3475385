"""What the Segment Editor effect does: controller, updater, display, preview, panel; `context` is what it goes by."""
