"""What Ray's workers import as they start.

The garbage collector is off meanwhile, and never looks at these objects again: they are most of a worker's objects, and
none is garbage. Otherwise it takes a fifth of the time of these imports, and of torch's after them.
"""

import gc
from importlib import import_module

gc.disable()
try:
    import_module("pipelines.flow")
finally:
    gc.freeze()
    gc.enable()
