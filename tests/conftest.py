"""What holds for every test.

Hypothesis fails an example that takes long unless it is told not to. How long something takes is no
promise of a test: on a busy machine that alone would make good code fail.
"""

from hypothesis import settings

settings.register_profile("bascule", deadline=None, print_blob=True)
settings.load_profile("bascule")
