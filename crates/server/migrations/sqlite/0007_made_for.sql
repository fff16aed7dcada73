-- What factory runs made for a device is found by its DevID, which stands behind the run: removing the device ends it too.
create index credential_made_for on credential (substr(issue, instr(issue, '/') + 1)) where issue is not null;
