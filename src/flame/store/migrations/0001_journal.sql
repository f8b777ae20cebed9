-- Several journals live side by side, each under its name.

-- One row a journal. An append holds a share lock on it, and goes through only while epoch and writer are still its own:
-- `epoch` is raised by every process that opens the journal, `writer` by every connection that the same process writes with.
CREATE TABLE flame.meta (
    name       text PRIMARY KEY,
    epoch      bigint NOT NULL,
    writer     bigint NOT NULL,
    history    text NOT NULL,
    durability text NOT NULL,
    timeline   text NOT NULL,            -- of the server when the journal was opened; '' where it cannot be told
    guarded    boolean NOT NULL,         -- commits waited for a synchronous standby: a promotion loses none
    lost       boolean NOT NULL DEFAULT false, -- committed rows were found missing: the next open begins a new history
    covered    bigint NOT NULL DEFAULT 0,      -- position that the snapshot covers
    opened     timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 50);

CREATE TABLE flame.journal (
    name     text NOT NULL,
    position bigint NOT NULL,
    session  text NOT NULL,              -- whose payload it is, '' for a control row
    version  integer NOT NULL,
    crc      bigint NOT NULL,            -- CRC32C over position and body
    body     bytea NOT NULL,
    PRIMARY KEY (name, position)
);

CREATE TABLE flame.snapshot (
    name    text NOT NULL,
    seq     bigint NOT NULL,             -- from 1; -1 while somebody tries whether there is room
    version integer NOT NULL,
    crc     bigint NOT NULL,
    body    bytea NOT NULL,
    PRIMARY KEY (name, seq)
);

-- Frames are packed already or not worth it; compressing them would cost more than writing them.
ALTER TABLE flame.journal ALTER COLUMN body SET STORAGE EXTERNAL;
ALTER TABLE flame.snapshot ALTER COLUMN body SET STORAGE EXTERNAL;
