"""Whether EGL can be used at all: without a driver VTK's render window ends the process instead of raising."""

import ctypes

PLATFORM_DEVICE, MAX_DEVICES = 0x313F, 16


def _function(egl, name, result, *arguments):
    """An EGL function, or an extension's; None where there is none."""
    egl.eglGetProcAddress.restype, egl.eglGetProcAddress.argtypes = ctypes.c_void_p, [ctypes.c_char_p]
    address = egl.eglGetProcAddress(name.encode())
    return ctypes.CFUNCTYPE(result, *arguments)(address) if address else None


def can_render(load=ctypes.CDLL):
    """True where one of EGL's devices can be initialized, as VTK does it."""
    egl, pointer, integer = load("libEGL.so.1"), ctypes.c_void_p, ctypes.c_int
    query = _function(egl, "eglQueryDevicesEXT", integer, integer, pointer, pointer)
    display_of = _function(egl, "eglGetPlatformDisplayEXT", pointer, integer, pointer, pointer)
    initialize = _function(egl, "eglInitialize", integer, pointer, pointer, pointer)
    if not (query and display_of and initialize):
        return False
    devices, count = (pointer * MAX_DEVICES)(), integer(0)
    if not query(MAX_DEVICES, ctypes.cast(devices, pointer), ctypes.cast(ctypes.byref(count), pointer)):
        return False
    displays = [display_of(PLATFORM_DEVICE, device, None) for device in devices[: count.value]]
    return any(display and initialize(display, None, None) for display in displays)
