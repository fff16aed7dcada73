//! The first step: who asks, how authenticated, from where. Nothing is decided here.

use http::request::Parts;
use omadm_core::bootstrap::request::BootstrapQuery;
use omadm_core::web::DEV_ID_HEADER;
use std::sync::Arc;

use crate::app::App;
use crate::auth::{self, Shown};
use crate::body::header;
use crate::device_port::Case;
use crate::problem::Refusal;
use crate::store::Device;

/// What is known about a bootstrap request.
#[derive(Debug, Clone)]
pub(crate) struct Facts {
    /// What it says about itself.
    pub(crate) query: BootstrapQuery,
    /// What it proves.
    pub(crate) identity: Identity,
}

/// Who a request proves to be.
#[derive(Debug, Clone)]
pub(crate) enum Identity {
    /// It shows no credentials.
    Nobody,
    /// It shows some that prove nothing.
    Unproven {
        /// What is wrong with them.
        why: &'static str,
    },
    /// The device that enrols by these credentials.
    Enrolled(Device),
}

impl Facts {
    /// Reads the request and looks its sender up. What cannot be read is refused with 400.
    pub(crate) async fn gather(app: &App, case: &mut Case, request: &Parts) -> Result<Self, Refusal> {
        let dev_id_header = header(&request.headers, DEV_ID_HEADER)?;
        let query = BootstrapQuery::parse(request.uri.query(), dev_id_header)
            .map_err(|error| Refusal::bad(error.to_string()))?;
        case.dev_id = query.dev_id.as_ref().map(ToString::to_string);
        let peer = Arc::clone(&case.peer);
        let shown = auth::shown(&request.headers, &peer);
        let identity = match auth::enrolled(app, case.remote, &shown).await? {
            Some(device) => Identity::Enrolled(device),
            None => match shown {
                Shown::Nothing => Identity::Nobody,
                Shown::Unusable(why) => Identity::Unproven { why },
                Shown::Basic(_) => Identity::Unproven { why: "the user is not known here, or the password is wrong" },
                Shown::Psk(..) => Identity::Unproven { why: "no device enrols by this pre-shared key" },
                Shown::Certificate(_) => Identity::Unproven { why: "no device enrols by this certificate" },
            },
        };
        if let Identity::Enrolled(device) = &identity {
            case.dev_id.get_or_insert_with(|| device.dev_id.to_string());
            case.belongs_to(app, device.id)?;
        }
        Ok(Self { query, identity })
    }
}
