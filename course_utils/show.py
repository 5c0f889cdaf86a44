"""Tables that a notebook shows."""

import pandas as pd

LEFT = {"text-align": "left", "vertical-align": "top", "white-space": "pre-wrap"}


def long_text(frame: pd.DataFrame):
    """A table whose long texts are read whole and begin at the left, without the index; a `Styler`."""
    return frame.style.hide().set_properties(**LEFT).set_table_styles([{"selector": "th", "props": "text-align: left"}])
