-- What a run waits for that holds no worker: an answer, or leave to make a call. `step` is the key
-- of the journal's step that the answer completes; `asked` is what was asked, as its event told it.
create table pauses (
    run_id text not null,
    request_id text not null,
    user_id text not null,
    kind text not null,
    step text not null,
    asked text not null,
    asked_at double precision not null,
    expires_at double precision not null,
    primary key (run_id, request_id)
);
create index pauses_by_expiry on pauses (expires_at);

-- How often the run has waited: those attempts do not count as lost ones.
alter table runs add column paused integer not null default 0;

-- How long it has waited, in seconds: the deadline has moved by as much.
alter table runs add column waited_seconds double precision not null default 0;

-- Why the run was asked to stop; null: by the user.
alter table runs add column cancel_reason text;

-- What a message does that comes while a run in the thread is open; see docs/runs.md.
alter table threads add column if_busy text not null default 'enqueue';

-- What a user lets a tool do: `allow`, `ask` or `deny`. Without a row the default of the tool holds.
create table tool_permissions (
    user_id text not null,
    tool text not null,
    permission text not null,
    primary key (user_id, tool)
);

-- What a user's runs have taken on a day (UTC). Requests without a known price add no cost.
create table usage_days (
    user_id text not null,
    day text not null,
    tokens integer not null default 0,
    cost_usd double precision not null default 0,
    model_requests integer not null default 0,
    tool_calls integer not null default 0,
    primary key (user_id, day)
);

-- What calls under way may still take: counted with the day's usage until they are settled.
create table reservations (
    run_id text not null,
    step text not null,
    user_id text not null,
    day text not null,
    tokens integer not null,
    cost_usd double precision not null,
    primary key (run_id, step)
);
create index reservations_by_user on reservations (user_id, day);
