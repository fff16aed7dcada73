//! The four devices: who they are, and what their makers and owners put into them.

use serde_json::{Map, Value};

use crate::args::Cast;

/// Who a device is; the demo expects to read just this from it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Facts {
    pub(super) dev_id: &'static str,
    pub(super) model: &'static str,
    pub(super) dev_type: &'static str,
    pub(super) fw_v: &'static str,
    pub(super) sw_v: &'static str,
    pub(super) hw_v: &'static str,
}

/// Maker of all four.
const MAN: &str = "Example Devices";

impl Cast {
    /// Who this device is. The IMEIs are of the range for tests.
    pub(super) fn facts(self) -> Facts {
        let facts = |dev_id, model, dev_type, fw_v, sw_v, hw_v| Facts { dev_id, model, dev_type, fw_v, sw_v, hw_v };
        match self {
            Self::Sim => facts("IMEI:001017000000011", "Meter 3", "meter", "3.1.0", "7.2", "B"),
            Self::Factory => facts("IMEI:001017000000029", "Gateway 1", "gateway", "1.0.4", "2.0", "A"),
            Self::Network => facts("IMEI:001017000000037", "Tracker 2", "tracker", "2.8.1", "5.5", "C"),
            Self::MixedUp => facts("IMEI:001017000000045", "Meter 3", "meter", "3.0.9", "7.1", "A"),
        }
    }

    /// The ICCID of its card, if it has one.
    pub(super) fn iccid(self) -> Option<&'static str> {
        match self {
            Self::Sim => Some("8988000000000000016"),
            Self::Factory => None,
            Self::Network => Some("8988000000000000024"),
            Self::MixedUp => Some("8988000000000000032"),
        }
    }

    /// What it has, for people.
    pub(super) fn has(self) -> &'static str {
        match self {
            Self::Sim => "has a card with a Bootstrap Message, behind a PIN",
            Self::Factory => "has no card, but a factory file",
            Self::Network => "has a card without a message, no factory file, and a bootstrap server's address",
            Self::MixedUp => "has a card whose message is damaged, and a factory file",
        }
    }

    /// Whence its account has to come in the end, by the word for the method.
    pub(super) fn expected_source(self) -> &'static str {
        match self {
            Self::Sim => "smartcard",
            Self::Factory | Self::MixedUp => "factory",
            Self::Network => "bootstrap-server",
        }
    }

    /// Whether it has a factory file.
    pub(super) fn has_factory_file(self) -> bool {
        match self {
            Self::Factory | Self::MixedUp => true,
            Self::Sim | Self::Network => false,
        }
    }
}

impl Facts {
    /// DevInfo as the server has to read it.
    pub(super) fn dev_info(&self) -> Map<String, Value> {
        [
            ("DevID", self.dev_id),
            ("Man", MAN),
            ("Mod", self.model),
            ("DmV", "2.0"),
            ("Lang", "en"),
            ("DevType", self.dev_type),
            ("OEM", MAN),
            ("FwV", self.fw_v),
            ("SwV", self.sw_v),
            ("HwV", self.hw_v),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), Value::from(value)))
        .collect()
    }

    /// The first part of the client's configuration.
    pub(super) fn configuration(&self) -> String {
        let Self { dev_id, model, dev_type, fw_v, sw_v, hw_v } = self;
        format!(
            "state = \"state\"\ndev_id = \"{dev_id}\"\nman = \"{MAN}\"\nmod = \"{model}\"\ndev_type = \"{dev_type}\"\n\
             oem = \"{MAN}\"\nfw_v = \"{fw_v}\"\nsw_v = \"{sw_v}\"\nhw_v = \"{hw_v}\"\nlang = \"en\"\nexample_mo = true\n"
        )
    }
}
