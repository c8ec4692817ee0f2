"""What padding does for an embedding model whose calls are of many lengths.

`calls.py` says what is asked, `bare.py` runs it in the engine alone, `asking.py` asks a server,
`answers.py` judges what came, `page.py` tells.
"""
