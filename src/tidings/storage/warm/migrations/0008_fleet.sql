-- What one process does at a time, of all that work on this store: whose it is, and until when.
create table duties (
    name text primary key,
    owner text not null,
    held_until double precision not null
);

-- When a scheduler was last asked to bring the run to a worker, and at which fence; the run is not
-- brought yet while they are equal. Null: nobody was asked.
alter table runs add column dispatched_at double precision;
alter table runs add column dispatched_fence integer;

-- Which copy of the data this is, where an engine keeps them for several processes: another one
-- after a failover or a restore. A new epoch begins then.
alter table store add column origin text;
