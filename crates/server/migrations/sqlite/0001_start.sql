create table meta (
    key text primary key,
    value blob not null
) strict, without rowid;

create table profile (
    name text primary key,
    content text not null,
    changed_at integer not null
) strict;

create table device (
    id integer primary key,
    dev_id text not null unique,
    user text not null unique,
    enrolment blob,
    state text not null check (state in ('known', 'bootstrapped', 'managed')),
    source text,
    srv_id text,
    devinfo text,
    added_at integer not null
) strict;

create table credential (
    id integer primary key,
    user text not null unique,
    secret blob not null,
    device_id integer references device (id) on delete cascade,
    source text not null check (source in ('smartcard', 'factory', 'bootstrap-server')),
    label text not null,
    profile text not null,
    srv_id text not null,
    made_at integer not null,
    used_at integer
) strict;
create index credential_device on credential (device_id);

create table session (
    id integer primary key,
    device_id integer not null references device (id) on delete cascade,
    user text not null,
    account text not null,
    cookie blob not null unique,
    version integer not null,
    state text not null,
    alerts text not null,
    commands text not null,
    agreed integer not null,
    started_at integer not null,
    touched_at integer not null,
    ended_at integer,
    outcome text not null
) strict;
create index session_device on session (device_id, id);

create table job (
    id integer primary key,
    device_id integer not null references device (id) on delete cascade,
    kind text not null check (kind in ('read-devinfo', 'operator')),
    commands text not null,
    data text not null,
    state text not null check (state in ('waiting', 'sent', 'done', 'failed')),
    session_id integer,
    tries integer not null,
    results text,
    made_at integer not null,
    done_at integer
) strict;
create index job_device on job (device_id, id);
create index job_session on job (session_id);

create table item (
    token text primary key,
    device_id integer not null references device (id) on delete cascade,
    job_id integer not null references job (id) on delete cascade,
    name text not null,
    upload integer not null,
    content blob,
    made_at integer not null,
    used_at integer
) strict, without rowid;
create index item_job on item (job_id);

-- Requests of devices that proved who they are.
create table request (
    id integer primary key,
    device_id integer not null references device (id) on delete cascade,
    dev_key integer,
    at integer not null,
    endpoint text not null,
    status integer,
    code text not null,
    dev_id text,
    remote text not null,
    detail text not null
) strict;
create index request_device on request (device_id, id);
create index request_key on request (dev_key);

-- A ring: everybody else's requests, whatever DevID they claim. The slot is the running number modulo its size.
create table stranger (
    slot integer primary key,
    dev_key integer,
    number integer not null,
    at integer not null,
    endpoint text not null,
    status integer,
    code text not null,
    dev_id text,
    remote text not null,
    detail text not null
) strict;
create index stranger_key on stranger (dev_key) where dev_key is not null;

create table ring (
    next integer not null
) strict;
insert into ring (next) values (0);
