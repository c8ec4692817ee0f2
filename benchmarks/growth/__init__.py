"""Whether cost grows linearly or better: with models, with idle connections, with rows a request.

`models.py`, `idle.py` and `batches.py` measure, `page.py` and `plots.py` tell.
"""
