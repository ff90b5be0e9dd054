-- Who owns the schema and who serves, made once by a superuser with psql; the passwords are read from files.
-- Neither has the rights of the two roles but while it takes one: before PostgreSQL 16 logins say so, since then grants.
\set owner_password `cat /run/secrets/owner_password`
\set serving_password `cat /run/secrets/serving_password`
create role tidings login noinherit createrole password :'owner_password';
create role serving login noinherit password :'serving_password';
create role tidings_user nologin;
create role tidings_server nologin;
select current_setting('server_version_num')::int >= 160000 as modern \gset
\if :modern
  grant tidings_user, tidings_server to tidings with inherit false, set true;
  grant tidings_user, tidings_server to serving with inherit false, set true;
\else
  grant tidings_user, tidings_server to tidings, serving;
\endif
create database tidings owner tidings;
