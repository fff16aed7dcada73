-- A device may enrol by a pre-shared key or by the key of a certificate (SHA-256 of it), beside or instead of its secret.
alter table device add column psk_identity text;
alter table device add column psk blob;
alter table device add column key_digest blob;
create unique index device_psk on device (psk_identity) where psk_identity is not null;
create unique index device_key on device (key_digest) where key_digest is not null;

-- What was given out. Its user is the name of a pre-shared key, or the SHA-256 of a certificate's key in hexadecimal.
alter table credential add column scheme text not null default 'basic' check (scheme in ('basic', 'psk', 'x509'));
