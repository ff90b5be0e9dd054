-- Who may see how the server is. No token says so: it is looked up for each request.
alter table users add column admin integer not null default 0;
