"""Everything that processes say to each other, as values: the map of the system, a file for each way that something is said.

    client  --sessions, frames-->  session manager  --executors, frames-->  executor
    client  --administration, objects-->  session manager  --placement-->  allocator  --nodes, replicas-->  agent

`connection` is how all of them begin, `nouns` what they speak about. The reactors and peers of `core` speak these values; `wire.codec`
turns them into `flame.plane.v1` protobuf and back, field by field and by name. Commands are imperatives, facts are past participles.

Units: times are seconds since the epoch (float); resources are int64 by name (`cpu` in milli-CPU, `memory` in bytes,
`gpu` in milli-GPU); a *run* is five integers `first, count, epoch, lease, attempt` naming consecutive tasks of one hand-out.
`lengths` is a little-endian u32 array, one per task (`ABSENT` = no payload); `blob` is the payloads end to end.
"""

from flame.core.model.messages.administration import *
from flame.core.model.messages.base import *
from flame.core.model.messages.connection import *
from flame.core.model.messages.executors import *
from flame.core.model.messages.frames import *
from flame.core.model.messages.nodes import *
from flame.core.model.messages.nouns import *
from flame.core.model.messages.objects import *
from flame.core.model.messages.placement import *
from flame.core.model.messages.replicas import *
from flame.core.model.messages.sessions import *
