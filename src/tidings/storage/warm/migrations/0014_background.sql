-- 1 for a run that nobody waits for: others go before it.
alter table runs add column background integer not null default 0;
