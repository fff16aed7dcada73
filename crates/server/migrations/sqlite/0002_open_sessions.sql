-- Idle sessions are looked for every few minutes, among all that were ever kept.
create index session_open on session (touched_at) where ended_at is null;
