"""Colours with one meaning each, in every figure and widget (kit/frame.css has them for browsers).

Okabe and Ito's blue, vermilion and green, darkened until text in them is easy to read on white;
they stay apart for colour-blind readers.
"""

SIGNAL = "#0068a8"  # data, and what is believed of them
NOISE = "#be4c00"
RESULT = "#007a5a"  # what comes out

# Without a meaning: text, text that stands back, lines behind the data.
INK, SOFT, LINE = "#22272e", "#5c6570", "#e2e6ea"
