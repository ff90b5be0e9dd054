-- One row: the lineage of this store. A new epoch begins when the store was restored or salvaged.
create table store (
    store_id text not null,
    epoch text not null,
    created_at double precision not null
);

create table users (
    user_id text primary key,
    tenant_id text not null,
    name text not null unique,
    password_hash text not null,
    disabled integer not null default 0,
    created_at double precision not null
);

create table sessions (
    session_id text primary key,
    user_id text not null references users (user_id),
    created_at double precision not null,
    expires_at double precision not null,
    revoked integer not null default 0
);
create index sessions_by_user on sessions (user_id);

-- A login's refresh tokens, by hash: one is fresh, the others were spent for their successor.
-- Presenting a spent one revokes the session.
create table refresh_tokens (
    token_hash text primary key,
    session_id text not null references sessions (session_id),
    spent integer not null default 0
);
create index refresh_tokens_by_session on refresh_tokens (session_id);

create table threads (
    thread_id text primary key,
    user_id text not null,
    title text not null,
    created_at double precision not null
);
create index threads_by_user on threads (user_id, thread_id);

-- The idempotency record of a command, scoped to its user.
create table commands (
    user_id text not null,
    command_id text not null,
    body_hash text not null,
    receipt text not null,
    created_at double precision not null,
    primary key (user_id, command_id)
);

create table streams (
    stream text primary key,
    user_id text not null,
    epoch text not null,
    head integer not null,
    first_offset integer not null
);
create index streams_by_user on streams (user_id);

-- `frame` is the event as it stands on the wire, encoded once.
create table events (
    stream text not null,
    "offset" integer not null,
    event_id text not null unique,
    type text not null,
    run_id text,
    frame blob not null,
    primary key (stream, "offset")
);
create index events_by_run on events (run_id) where run_id is not null;

create table runs (
    run_id text primary key,
    user_id text not null,
    tenant_id text not null,
    session_id text not null,
    thread_id text not null,
    agent text not null,
    request text not null,
    state text not null,
    status text,
    created_at double precision not null,
    deadline_at double precision not null,
    ended_at double precision,
    attempt integer not null default 0,
    fence integer not null default 0,
    owner text,
    lease_until double precision not null default 0,
    cancel_requested integer not null default 0,
    report_id text
);
create index runs_by_thread on runs (thread_id, run_id);
create index runs_open on runs (state, created_at) where state <> 'ended';

-- The journal: what a run has done. `result` is null while a step is under way; `emitted` lists the
-- keys of the events that committed with it.
create table steps (
    run_id text not null,
    key text not null,
    kind text not null,
    emitted text not null,
    result blob,
    primary key (run_id, key)
);

create table files (
    file_id text primary key,
    user_id text not null,
    name text not null,
    bytes integer not null,
    sha256 text not null,
    import_report text,
    created_at double precision not null
);
create index files_by_user on files (user_id, file_id);

create table reports (
    report_id text primary key,
    user_id text not null,
    run_id text not null,
    body blob not null,
    created_at double precision not null
);

-- How far each device has applied each stream.
create table positions (
    user_id text not null,
    device text not null,
    stream text not null,
    "offset" integer not null,
    acknowledged_at double precision not null,
    primary key (user_id, device, stream)
);
