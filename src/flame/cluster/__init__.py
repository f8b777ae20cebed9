"""One machine's cluster: the supervisor and the verbs `up`, `down`, `find`. The same processes run elsewhere under other supervisors."""
