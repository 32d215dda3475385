"""What all tests of the library rely on."""

from __future__ import annotations

import signal

# A shell starts background jobs with Ctrl+C ignored, and processes pass that on to the ones they start: the tests
# that send it would then wait for nothing.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
