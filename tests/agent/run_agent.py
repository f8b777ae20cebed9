"""`python run_agent.py OPTIONS-AS-JSON`: one real agent with its zygote, as a supervisor forks them."""

import json
import sys
from pathlib import Path

from flame.agent import confinement, zygote
from flame.cluster import children
from flame.ops.config import ClusterConfig
from flame.platform.death import die_with_parent
from flame.shell.address import Address

if __name__ == "__main__":
    options = json.loads(sys.argv[1])
    parent, allocator = options.pop("parent"), Address(path=options.pop("allocator"))
    config = ClusterConfig(**(options | {"data_dir": Path(options["data_dir"])}))
    die_with_parent(parent)
    ground = confinement.prepare(config)
    _, sock = zygote.spawn(1, ground)
    children.live("agent", config, lambda: children.agent(config, sock, [allocator], (), ground), print)
