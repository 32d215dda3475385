"""The panels of the module, and what it gives to Slicer's other modules."""
