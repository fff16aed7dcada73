-- What is looked for when a credential is given out stands in the index itself.
drop index credential_device;
create index credential_device on credential (device_id, srv_id, source, used_at);

-- The key serves to find who else claims to be a device; its own requests are found by the device.
drop index request_key;
update request set dev_key = null where dev_id = (select dev_id from device where device.id = request.device_id);
create index request_key on request (dev_key) where dev_key is not null;
