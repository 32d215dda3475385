"""The network: one part per file, sizes in `build`, the way of pixels and prompts into it in `preprocessing`."""
