"""Presses keys and moves the pointer of an X display, one command a line on standard input.

In: `key_down KEYSYM`, `key_up KEYSYM`, `pointer X Y`, `button_down N`, `button_up N`. Out: the same events on the display
named by DISPLAY, through the XTEST extension; "ready" once connected. Runs inside the node that has the display.
"""

import ctypes
import sys

KEY, BUTTON, DOWN, UP, NOW, ANY_SCREEN = "key", "button", 1, 0, 0, -1


def main():
    x11 = ctypes.CDLL("libX11.so.6")
    xtst = ctypes.CDLL("libXtst.so.6")
    x11.XOpenDisplay.restype = ctypes.c_void_p
    x11.XStringToKeysym.restype = ctypes.c_ulong
    display = ctypes.c_void_p(x11.XOpenDisplay(None))
    if not display.value:
        sys.exit("no X display")
    print("ready", flush=True)
    for line in sys.stdin:
        action, *value = line.split()
        if action == "pointer":
            xtst.XTestFakeMotionEvent(display, ANY_SCREEN, int(value[0]), int(value[1]), NOW)
        else:
            device, direction = action.split("_")
            state = DOWN if direction == "down" else UP
            if device == KEY:
                code = x11.XKeysymToKeycode(display, ctypes.c_ulong(x11.XStringToKeysym(value[0].encode())))
                xtst.XTestFakeKeyEvent(display, code, state, NOW)
            elif device == BUTTON:
                xtst.XTestFakeButtonEvent(display, int(value[0]), state, NOW)
        x11.XFlush(display)


main()
