"""How good a mask probably is: the evidence, and the calibration that makes an expected IoU of it."""
