-- Who owns the schema and who serves, made once by a superuser with psql; the passwords are read from files.
\set owner_password `cat /run/secrets/owner_password`
\set serving_password `cat /run/secrets/serving_password`
create role tidings login createrole password :'owner_password';
create role serving login noinherit password :'serving_password';
create role tidings_user nologin;
create role tidings_server nologin;
grant tidings_user, tidings_server to tidings with inherit false, set true;
grant tidings_user, tidings_server to serving with inherit false, set true;
create database tidings owner tidings;
