"""Child processes, and what the kernel lets them open.

`forkserver` starts children in milliseconds and measures them; `landlock` leaves a process the files that it
needs and no others; `rights` lists these for plugins.

May import: the ground.
"""
