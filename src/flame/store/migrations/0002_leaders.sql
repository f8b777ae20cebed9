-- Who leads in a role: the session that holds the role's advisory lock writes this row, and its beat says that it lives.
CREATE TABLE flame.leaders (
    role      text PRIMARY KEY,
    holder    uuid NOT NULL,
    addresses text[] NOT NULL,
    pid       integer NOT NULL,          -- of the server's process behind the leader's connection
    beat      timestamptz NOT NULL,      -- on the server's clock
    epoch     bigint NOT NULL            -- raised at every change of leader
) WITH (fillfactor = 50);
