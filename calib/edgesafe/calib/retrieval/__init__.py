"""Retrieval that knows what is safe: indexes, redirected queries, and the papers' protocol.

``traversal``   moves a query toward the root, onto the shell of safe content
``vectors``     exact nearest neighbours in the Lorentz model or by cosine
``index``       an index on disk: vectors, items, and what package made them
``embed``       from pictures and texts to points and verdicts
``answer``      a query's answer, and what redirection and filtering did to it
``protocol``    recalls of quadruplets as in the papers; ``published`` their rows
"""
