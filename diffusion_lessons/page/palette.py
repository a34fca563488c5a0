"""Colours with one meaning each, in every figure and widget (kit/frame.css has them for browsers).

Okabe and Ito's blue, vermilion and green, darkened until text in them is easy to read on white,
with a violet and a plum that stay apart from them for colour-blind readers too.
"""

SIGNAL = "#0068a8"  # what is left of the data, and what is believed of it
NOISE = "#be4c00"  # noise, and nothing else
RESULT = "#007a5a"  # what comes out
DATA = "#7f54d4"  # what the data set holds
CLASS = "#81096e"  # what a label asks for, or a classifier says

CLASSES = (
    *("#354d18", "#797515", "#347a93", "#be1178", "#3d0cf8"),
    *("#7e00c3", "#075fff", "#6158ab", "#740c3b", "#51188e"),
)
"""One for each of ten classes, where they are told apart. Write the class beside it as well."""

# Without a meaning: text, text that stands back, lines behind the data. What has none of the
# meanings above is drawn in these, and told apart by its line or marker.
INK, SOFT, LINE = "#22272e", "#5c6570", "#e2e6ea"
