"""Colours with one meaning each, in every figure and widget (kit.css holds the same for browsers).

Okabe and Ito's blue, vermilion and green, darkened until text in them is easy to read on white;
they stay apart for colour-blind readers.
"""

SIGNAL = "#0068a8"  # data, and what is believed of them
NOISE = "#be4c00"
RESULT = "#007a5a"  # what comes out
