-- Who may see how the server is. No token says so: it is looked up for each request.
alter table users add column admin integer not null default 0;

-- How agents did of late, and whether more is asked than can be done, is read once a second.
create index runs_by_end on runs (ended_at) where state = 'ended';
