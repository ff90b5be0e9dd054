-- There is one row in `store`: of two servers that begin on an empty database, one is told so.
create unique index store_is_one on store ((1));
