-- The processes that work on this store, as each has told of itself last. `report` is JSON.
create table nodes (
    node_id text primary key,
    name text not null,
    role text not null,
    version text not null,
    started_at double precision not null,
    heard_at double precision not null,
    report text not null
);

-- What all of them must have alike, by a fingerprint that says nothing else of it.
create table agreements (
    name text primary key,
    fingerprint text not null,
    agreed_at double precision not null
);
