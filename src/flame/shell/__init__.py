"""What every process of Flame is made of: connections, a driver that runs a reactor, a way to live and die.

Between the ports (`wire`, `store`, `security`, `ops`, `platform`) and the processes (`manager`, `allocation`, `agent`) and the SDK.
"""
