"""The servers from outside, over real sockets: cases, a file for each subject. `make test` runs them all on
the six stages, and the ladder of tests/judge.py is an order over the same cases."""
