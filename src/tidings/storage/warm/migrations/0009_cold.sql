-- When the run with its events was in the cold tier; null: not yet, and the log keeps it for a while.
alter table runs add column exported_at double precision;
create index runs_to_export on runs (ended_at) where state = 'ended' and exported_at is null;

-- Threads that were deleted here, and shall be in the cold tier; `rounds` counts how often they were.
create table erasures (
    thread_id text primary key,
    user_id text not null,
    due_at double precision not null default 0,
    rounds integer not null default 0
);
create index erasures_by_due on erasures (due_at);
