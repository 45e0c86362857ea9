"""What a token costs on these GPUs: the counters of model servers beside the meter's figures.

`engines` reads a server's page, `economics` sets tokens against money and energy over a
window, `reader` asks in a thread of its own.
"""
