-- Ends that someone should hear of: written with the event, looked at when it is due.
create table outbox (
    event_id text primary key,
    tenant_id text not null,
    user_id text not null,
    stream text not null,
    "offset" integer not null,
    thread_id text not null,
    run_id text not null,
    kind text not null,
    status text not null,
    happened_at double precision not null,
    due_at double precision not null
);
create index outbox_by_due on outbox (due_at);
create index outbox_by_thread on outbox (thread_id);

create table inbox (
    item_id text primary key,
    user_id text not null,
    event_id text not null unique,
    thread_id text not null,
    run_id text not null,
    "offset" integer not null,
    kind text not null,
    status text not null,
    title text not null,
    created_at double precision not null,
    read_at double precision
);
create index inbox_by_user on inbox (user_id, item_id);
create index inbox_by_thread on inbox (thread_id);

-- What a user wants to hear of, as JSON; without a row, everything.
create table preferences (
    user_id text primary key,
    body text not null
);

-- `secret` is kept as it is, for every delivery is signed with it.
create table webhooks (
    webhook_id text primary key,
    user_id text not null,
    url text not null,
    secret text not null,
    enabled integer not null default 1,
    created_at double precision not null
);
create index webhooks_by_user on webhooks (user_id, webhook_id);

-- `attempts` counts the claims and fences them: only the newest one may say how it went. A claim is
-- over at `claimed_until`, whatever became of who made it.
create table webhook_deliveries (
    webhook_id text not null references webhooks (webhook_id),
    event_id text not null,
    thread_id text not null,
    body text not null,
    state text not null,
    attempts integer not null default 0,
    created_at double precision not null,
    next_attempt_at double precision not null,
    claimed_until double precision not null default 0,
    last_status integer,
    last_error text,
    primary key (webhook_id, event_id)
);
create index webhook_deliveries_due on webhook_deliveries (next_attempt_at)
    where state = 'pending';
create index webhook_deliveries_by_thread on webhook_deliveries (thread_id);

-- "Has any device of the user applied this?" is asked for every end.
create index positions_by_stream on positions (stream, user_id);
