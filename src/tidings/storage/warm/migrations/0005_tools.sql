-- The tools of tool servers as the operator has accepted them; `digest` is that of name,
-- description and schema. What a server lists otherwise is not called.
create table tool_pins (
    server text not null,
    tool text not null,
    digest text not null,
    description text not null,
    schema text not null,
    accepted_at double precision not null,
    primary key (server, tool)
);
