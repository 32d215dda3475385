"""Files of volumes, pictures, segmentations and markups."""
