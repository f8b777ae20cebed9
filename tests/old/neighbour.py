"""Run with the code of another release: 500 tasks on the cluster at argv[1]."""

import sys

import flame

with flame.connect(sys.argv[1]) as client, client.session("flmping") as session:
    print(len([future.result() for future in [session.run() for _ in range(500)]]))
