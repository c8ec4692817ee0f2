"""Shadow traffic: copies of a live version's calls, answered by a candidate and compared.

`mirror` and `sender` are the live side, `call`, `message` and `comparison` the candidate's.
"""
