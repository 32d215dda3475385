"""Slices with masks and prompts, contact sheets and charts. Text and axes are matplotlib's, the extra `plots`."""
