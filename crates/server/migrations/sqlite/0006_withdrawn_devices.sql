-- A device that is blocked is refused, whatever it proves itself by.
alter table device add column blocked_at integer;

-- Devices that were removed, so that whoever asks why their requests are refused is told.
create table removal (
    dev_id text primary key,
    at integer not null
) strict, without rowid;
