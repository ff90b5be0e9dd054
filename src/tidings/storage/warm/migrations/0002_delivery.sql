-- A compacted row stands for itself and the `joined` rows before it, which keep their ids, for the
-- check of cursors and of repeated appends, and have an empty frame.
alter table events add column joined integer not null default 0;

-- When the event was appended, in seconds since 1970: retention goes by it.
alter table events add column appended_at double precision not null default 0;
create index events_by_age on events (appended_at);

-- When the answer's pieces of an ended run were joined; null: not yet.
alter table runs add column compacted_at double precision;
create index runs_to_compact on runs (ended_at) where state = 'ended' and compacted_at is null;

-- The store's lineage: a new epoch begins when older data took the place of newer.
-- `lost_events` is how many events the data before had beyond these; null when nobody could tell.
create table epochs (
    epoch text primary key,
    began_at double precision not null,
    why text not null,
    lost_events integer
);
insert into epochs (epoch, began_at, why, lost_events)
select epoch, created_at, 'created', 0 from store;

-- Grows with every start and every backup, here and in a file beside: a store that is behind the
-- file is an older one.
alter table store add column generation integer not null default 0;
