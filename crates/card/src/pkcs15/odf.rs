//! EF(ODF): where the directory files are.

use crate::file::tlv::{Objects, find, object};
use crate::pkcs15::StructureError;
use crate::pkcs15::path::Path;

/// The directory files that matter here, those of one kind in order of priority.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Odf {
    /// Data object directories (A7).
    pub dodfs: Vec<Path>,
    /// PIN directories (A8).
    pub aodfs: Vec<Path>,
    /// The first damage that was met; what came before it counts.
    pub damage: Option<StructureError>,
}

/// At most this many directory files are looked at.
const MAX_FILES: usize = 8;

impl Odf {
    /// Reads the file. Entries of other kinds are passed over.
    pub fn parse(bytes: &[u8]) -> Self {
        let mut odf = Self::default();
        for entry in Objects::new(bytes) {
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) => {
                    odf.damage.get_or_insert(error.into());
                    break;
                }
            };
            let list = match entry.tag {
                0xA7 => &mut odf.dodfs,
                0xA8 => &mut odf.aodfs,
                _ => continue,
            };
            let path = find(entry.value, 0x30)
                .map_err(StructureError::from)
                .and_then(|path| Path::parse(path.ok_or(StructureError::Missing("the path of a directory file"))?));
            match path {
                Ok(path) if list.len() < MAX_FILES => list.push(path),
                Ok(_) => {}
                Err(error) => {
                    odf.damage.get_or_insert(error);
                }
            }
        }
        odf
    }

    /// Reads the file from its records.
    pub fn parse_parts(parts: &[Vec<u8>]) -> Self {
        let mut odf = Self::default();
        for next in parts.iter().map(|part| Self::parse(part)) {
            odf.dodfs.extend(next.dodfs);
            odf.aodfs.extend(next.aodfs);
            odf.damage = odf.damage.or(next.damage);
        }
        odf.dodfs.truncate(MAX_FILES);
        odf.aodfs.truncate(MAX_FILES);
        odf
    }

    /// Whether it lists data objects and is not damaged.
    pub fn is_sound(&self) -> bool {
        self.damage.is_none() && !self.dodfs.is_empty()
    }

    /// The file as we write it.
    pub fn encode(&self) -> Vec<u8> {
        let entries =
            |tag, paths: &[Path]| paths.iter().flat_map(|path| object(tag, &path.encode())).collect::<Vec<_>>();
        [entries(0xA7, &self.dodfs), entries(0xA8, &self.aodfs)].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hex::decode;

    #[test]
    fn the_files_of_the_examples() {
        let open = decode("A70630040402 6430 FFFFFF").unwrap();
        let odf = Odf::parse(&open);
        assert_eq!(odf, Odf { dodfs: vec![Path::bare(0x6430)], ..Odf::default() });
        assert_eq!(odf.encode(), open[..8]);
        let private = decode("A706300404026430 A806300404026431").unwrap();
        let odf = Odf::parse(&private);
        assert_eq!(odf.aodfs, [Path::bare(0x6431)]);
        assert_eq!(odf.encode(), private);
    }

    #[test]
    fn what_precedes_the_damage_counts() {
        let odf = Odf::parse(&decode("A706300404026430 A706300404").unwrap());
        assert!(odf.dodfs.len() == 1 && odf.damage.is_some());
    }
}
