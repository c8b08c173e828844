"""A synthetic twin of LINEMOD: an object that never moves on its marker board.

``board`` and ``part`` say what is filmed, ``views`` from where, ``pictures`` draws a view as each
kind of counterfactual, ``samples`` makes training samples of them and ``sets`` the test sets of an
audit, ``training`` trains, ``measuring`` audits, ``table`` says what came out.
"""
