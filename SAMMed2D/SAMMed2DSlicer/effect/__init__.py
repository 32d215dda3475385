"""What the Segment Editor effect does: controller, status, preview, panel."""
