-- What a factory run made for a device is found again when the run is: the same is given then, and nothing twice.
alter table credential add column issue text;
create unique index credential_issue on credential (issue) where issue is not null;
alter table device add column factory_run text;
