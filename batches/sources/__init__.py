"""Ask metric sources, each at its own pace, and turn answers into readings."""
