//! Data objects to be put on a card: the Bootstrap Message, that of LwM2M, or any other.

use crate::pkcs15::dodf::{DataObject, Form};
use crate::pkcs15::oid::ObjectId;
use crate::pkcs15::path::Path;

/// The longest name of an object or of its application, in bytes.
const MAX_NAME: usize = 32;

/// A data object to be put on a card, in a file of its own.
#[derive(Clone, PartialEq, Eq)]
pub struct NewObject {
    /// What it is.
    pub oid: ObjectId,
    /// Its name for people, at most 32 bytes; more are left out.
    pub label: String,
    /// The name of the application that it belongs to, likewise.
    pub application: String,
    /// All its bytes, 1 to [`crate::read::MAX_MESSAGE`].
    pub content: Vec<u8>,
}

impl NewObject {
    /// The OMA DM bootstrap object with this Bootstrap Message.
    pub fn dm(message: Vec<u8>) -> Self {
        let (label, application) = ("DM Bootstrap".to_owned(), "OMA DM".to_owned());
        Self { oid: ObjectId::dm_bootstrap(), label, application, content: message }
    }

    /// The bootstrap object of LwM2M with this content.
    pub fn lwm2m(content: Vec<u8>) -> Self {
        let (label, application) = ("LwM2M Bootstrap".to_owned(), "LwM2M".to_owned());
        Self { oid: ObjectId::lwm2m_bootstrap(), label, application, content }
    }

    /// Any object, called by its identifier.
    pub fn new(oid: ObjectId, content: Vec<u8>) -> Self {
        Self { label: oid.to_string(), application: oid.to_string(), oid, content }
    }

    /// How a directory lists it.
    pub(crate) fn listed(&self, id: u16, auth_id: Option<&[u8]>, form: Form) -> DataObject {
        DataObject {
            label: Some(short(&self.label)),
            private: auth_id.is_some(),
            auth_id: auth_id.map(<[u8]>::to_vec),
            application: Some(short(&self.application)),
            oids: vec![self.oid.content().to_vec()],
            path: Path::bare(id),
            form,
        }
    }
}

impl std::fmt::Debug for NewObject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "object {} of {} bytes", self.oid, self.content.len())
    }
}

fn short(name: &str) -> String {
    let end = name.char_indices().map(|(at, c)| at + c.len_utf8()).take_while(|end| *end <= MAX_NAME).last();
    name.get(..end.unwrap_or(0)).unwrap_or_default().to_owned()
}
